"""Every knob of the search, with the values that were found to work."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.errors import UsageError
from snnq.schemes.names import NAMES, PAPER_SPACE


@dataclass(frozen=True)
class SearchSettings:
    """Settings of the bi-level search.

    ``trade_off`` is λ of L = CE + λ · E/E_float32. Latent weights: AdamW, learning rate from ``rate_start`` to
    ``rate_peak`` and down a cosine to ``rate_floor`` [paper]. Architecture parameters: Adam with ``architecture_rate``
    and β₁ = 0.5, one step on the validation split every ``architecture_every`` weight steps. The Gumbel temperature
    falls exponentially from ``temperature_high`` to ``temperature_low``. Every ``refresh_every`` weight steps the
    candidates' scales follow the weights. A layer counts as decided when one scheme has the share ``decided_at``.
    """

    trade_off: float = 0.5
    space: tuple[str, ...] = PAPER_SPACE
    epochs: int = 12
    batch_size: int = 32
    seed: int = 0
    rate_start: float = 1e-4
    rate_peak: float = 1e-3
    rate_floor: float = 1e-5
    weight_decay: float = 0.01
    architecture_rate: float = 0.05
    architecture_every: int = 2
    temperature_high: float = 5.0
    temperature_low: float = 0.1
    refresh_every: int = 50
    decided_at: float = 0.9

    def __post_init__(self) -> None:
        if self.trade_off < 0:
            raise UsageError(f"--trade-off is {self.trade_off}, it must not be negative")
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(f"--epochs {self.epochs}, --batch-size {self.batch_size}: at least 1 and 2 are needed")
        if len(set(self.space)) != len(self.space) or len(self.space) < 2 or set(self.space) - set(NAMES):
            raise UsageError(
                f"--space {','.join(self.space)}: give two or more different schemes out of {', '.join(NAMES)}"
            )
