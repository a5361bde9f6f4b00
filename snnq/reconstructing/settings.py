"""Every knob of post-training quantisation, with the values that were found to work."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.base.errors import UsageError, nearest
from snnq.base.parsing import check_seed

# From the plainest to the best: grids alone, rounding chosen layer by layer, and block by block (the last two).
METHODS = ("rtn", "clip", "awq", "quantease", "adaround", "tesseraq")
RECONSTRUCTING = ("adaround", "tesseraq")
# Of a model that is quantised already: nothing is chosen.
KEPT = "kept"
TARGETS = ("output", "current", "both")
NORMS = ("kept", "matched", "live")
BATCHNORM = ("auto", "on", "off")
# Share of each layer's weights that may still be rounded either way, in each round of progressive rounding; at the end
# of the last round the rest is decided too. TesseraQ (Li & Panda 2024, arXiv:2410.19103), its two schedules.
SCHEDULES: dict[int, tuple[float, ...]] = {
    10: (0.75, 0.5, 0.375, 0.25, 0.125, 0.09, 0.06, 0.04, 0.02, 0.005),
    20: (
        *(0.8, 0.65, 0.5, 0.43, 0.38, 0.34, 0.3, 0.27, 0.24, 0.21),
        *(0.18, 0.15, 0.12, 0.1, 0.08, 0.06, 0.04, 0.02, 0.01, 0.005),
    ),
}


@dataclass(frozen=True)
class PtqSettings:
    """Settings of post-training quantisation.

    ``samples`` unlabelled training samples in full batches of ``batch_size``. ``start`` is the method whose grids
    reconstruction begins with. ``norms``: a block's folded norms are kept, or matched to the moments the float model's
    have before and after reconstruction, or (live) at every step of it too: what is learned then need not fear shifted
    currents, nor can it gain by smaller ones. Reconstruction takes ``rounds`` of ``steps`` Adam steps each a block;
    ``rounding`` learns which way weights are rounded, ``scales`` a factor for every output channel, ``offsets`` what is
    added behind it (in the folded norm). ``target``: what a block must reproduce, its output, the currents of its
    neurons, or both. ``batchnorm``: whether BN statistics are estimated anew at the end (auto: if the logits come
    nearer to the float model's on the calibration samples). ``memory_mib`` is for cached inputs and targets; beyond it
    they are computed again at every step.
    """

    method: str = "quantease"
    samples: int = 256
    batch_size: int = 16
    seed: int = 0
    start: str = "awq"
    target: str = "current"
    rounds: int = 10
    steps: int = 20
    rounding: bool = True
    scales: bool = True
    offsets: bool = False
    rounding_rate: float = 1e-2
    scale_rate: float = 1e-3
    scale_decay: float = 1e-4
    norms: str = "live"
    batchnorm: str = "auto"
    memory_mib: int = 2048

    def __post_init__(self) -> None:
        choices = {
            "method": (*METHODS, KEPT),
            "start": METHODS[:3],
            "target": TARGETS,
            "batchnorm": BATCHNORM,
            "norms": NORMS,
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise UsageError(f"--{name} {value}: there is {', '.join(allowed)}{nearest(value, allowed)}")
        if self.rounds not in SCHEDULES:
            raise UsageError(f"--rounds {self.rounds}: there are schedules of {' and '.join(map(str, SCHEDULES))}")
        for name in ("samples", "batch_size", "steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: at least 1 is needed")
        if self.memory_mib < 0:
            raise UsageError(f"--memory-mib {self.memory_mib}: it must not be negative")
        check_seed(self.seed)

    @property
    def reconstructs(self) -> bool:
        """Whether anything is learned."""
        return self.method in RECONSTRUCTING

    @property
    def descends(self) -> bool:
        """Whether rounding is chosen layer by layer."""
        return self.method == "quantease"

    @property
    def clip(self) -> str:
        """The method that chooses the grids: the method itself, or where rounding starts."""
        return self.start if self.reconstructs or self.descends else self.method

    @property
    def learns_rounding(self) -> bool:
        """Whether rounding is learned."""
        return self.method == "adaround" or (self.method == "tesseraq" and self.rounding)

    @property
    def learns_scales(self) -> bool:
        """Whether a factor of every channel's scale is learned."""
        return self.method == "tesseraq" and self.scales

    @property
    def steps_per_block(self) -> int:
        """How many optimizer steps a block takes."""
        return self.rounds * self.steps if self.reconstructs else 0
