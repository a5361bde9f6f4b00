"""Every knob of training a model whose attentions reuse."""

from __future__ import annotations

from dataclasses import dataclass, field

from snnq.base.errors import UsageError, nearest
from snnq.training.finetune import Finetune

NOISE = ("off", "on")


@dataclass(frozen=True)
class ReuseSettings:
    """How a plan is carried out.

    ``partial``: the share of the training samples on which each pattern is trained first; the best on validation is
    then trained in full, anew from the checkpoint. ``noise``: whether training sees what arrays do to sums.
    """

    partial: float = 0.2
    noise: str = "off"
    finetune: Finetune = field(default_factory=Finetune)

    def __post_init__(self) -> None:
        if not 0 < self.partial <= 1:
            raise UsageError(f"--partial {self.partial:g}: a share of the training samples is wanted, such as 0.2")
        if self.finetune.epochs < 1:
            raise UsageError("--epochs 0: a block that reuses has to be trained", "give at least 1")
        if self.noise not in NOISE:
            raise UsageError(f"--noise {self.noise}: there is off and on{nearest(self.noise, NOISE)}")
        if self.noise == "on":
            raise UsageError("--noise on: training with the noise of arrays is not there yet", "leave it away")
