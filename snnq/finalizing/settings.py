"""Every knob of the finetuning, with the values that were found to work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from snnq.base.errors import UsageError
from snnq.hardware.crossbars.variation import parse_variation
from snnq.training.augmentation import changes_text, parse_changes
from snnq.training.finetune import Finetune


@dataclass(frozen=True)
class FinalizeSettings(Finetune):
    """Settings of quantisation-aware training.

    ``augment`` names what is done to the training frames (see ``training.augmentation``), nothing by default; it is
    kept in its shortest form.

    ``rate`` is the price μ of a coded bit a weight in the loss (``training.rate``), or ``budget`` the bits that the
    price is steered to: by ``avg_bits`` of the plan, ``file_bits`` a weight of the whole file, ``file_kib``, or the
    plan's expected event energy (``event_energy_fraction`` of float32, ``expected_event_energy_pj``).
    ``vat``: the noise of analog arrays that it trains with (``hardware.crossbars.variation``), none by default.
    ``hold_rates``: every layer keeps the rate that its scheme names, where else their sum is kept.
    """

    epochs: int = 15
    augment: str = ""
    rate: float | None = None
    budget: Mapping[str, float] = field(default_factory=dict)
    hold_rates: bool = False
    vat: str = ""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(f"--epochs {self.epochs}, --batch-size {self.batch_size}: at least 1 and 2 are needed")
        super().__post_init__()
        if self.rate is not None and not (0 < self.rate < math.inf):
            raise UsageError(f"--rate is {self.rate:g}, it must be a positive price of a bit, such as 0.2")
        if self.rate is not None and self.budget:
            raise UsageError("--rate and --budget: give one of them", "the price of a budget is found while training")
        if self.hold_rates and (self.rate is not None or self.budget):
            raise UsageError("--hold-rates keeps the rates of the plan: it goes without --rate and --budget")
        if self.vat:
            parse_variation(self.vat)
        object.__setattr__(self, "augment", changes_text(parse_changes(self.augment)))
