"""Every knob of the finetuning, with the values that were found to work."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.base.errors import UsageError
from snnq.base.parsing import check_seed
from snnq.training.augmentation import changes_text, parse_changes


@dataclass(frozen=True)
class FinalizeSettings:
    """Settings of quantisation-aware training.

    Loss: (1 - δ) · CE + δ · τ² · KL(teacher ‖ student) with δ = ``distillation`` (0 turns it off) and τ =
    ``distillation_temperature`` (Hinton et al. 2015); the teacher is the float checkpoint. AdamW with warm-up from
    ``rate_start`` to ``rate_peak`` and a cosine to ``rate_floor``. ``augment`` names what is done to the training
    frames (see ``training.augmentation``), nothing by default; it is kept in its shortest form.
    """

    epochs: int = 15
    batch_size: int = 32
    seed: int = 0
    distillation: float = 0.5
    distillation_temperature: float = 2.0
    rate_start: float = 1e-4
    rate_peak: float = 1e-3
    rate_floor: float = 1e-5
    weight_decay: float = 0.01
    augment: str = ""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise UsageError(f"--epochs {self.epochs}, --batch-size {self.batch_size}: at least 1 and 2 are needed")
        if not 0 <= self.distillation <= 1:
            raise UsageError(f"--distillation is {self.distillation}, it must lie between 0 (off) and 1")
        check_seed(self.seed)
        object.__setattr__(self, "augment", changes_text(parse_changes(self.augment)))
