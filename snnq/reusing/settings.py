"""Every knob of training a model whose attentions reuse."""

from __future__ import annotations

from dataclasses import dataclass, field

from snnq.base.errors import UsageError
from snnq.hardware.crossbars.variation import Variation, parse_variation
from snnq.training.finetune import Finetune

OFF = "off"


@dataclass(frozen=True)
class ReuseSettings:
    """How a plan is carried out.

    ``partial``: the share of the training samples on which each pattern is trained first; the best on validation is
    then trained in full, anew from the checkpoint. ``noise``: that of the arrays' cells on which it is trained, by the
    words of ``finalize --vat``, or ``off``.
    """

    partial: float = 0.2
    noise: str = OFF
    finetune: Finetune = field(default_factory=Finetune)

    def __post_init__(self) -> None:
        if not 0 < self.partial <= 1:
            raise UsageError(f"--partial {self.partial:g}: a share of the training samples is wanted, such as 0.2")
        if self.finetune.epochs < 1:
            raise UsageError("--epochs 0: a block that reuses has to be trained", "give at least 1")
        self.variation(None)

    def variation(self, target: str | None) -> Variation | None:
        """Return the noise that is trained with, on ``target`` where its words name none; None without noise."""
        if self.noise == OFF:
            return None
        named = target is None or "target=" in self.noise
        return parse_variation(self.noise if named else f"{self.noise},target={target}", "--noise")
