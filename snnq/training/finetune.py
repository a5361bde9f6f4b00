"""How a model is finetuned: the words of it, and what it learns from: labels, and the float model's logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from snnq.base.errors import UsageError
from snnq.base.parsing import check_seed


@dataclass(frozen=True)
class Finetune:
    """Settings that all jobs share which finetune.

    Loss: (1 - δ) · CE + δ · τ² · KL(teacher ‖ student) with δ = ``distillation`` (0 turns it off) and τ =
    ``distillation_temperature`` (Hinton et al. 2015); the teacher is the float checkpoint. AdamW with warm-up from
    ``rate_start`` to ``rate_peak`` and a cosine to ``rate_floor``.
    """

    epochs: int = 5
    batch_size: int = 32
    seed: int = 0
    distillation: float = 0.5
    distillation_temperature: float = 2.0
    rate_start: float = 1e-4
    rate_peak: float = 1e-3
    rate_floor: float = 1e-5
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 2:
            raise UsageError(f"--epochs {self.epochs}, --batch-size {self.batch_size}: at least 0 and 2 are needed")
        if not 0 <= self.distillation <= 1:
            raise UsageError(f"--distillation is {self.distillation}, it must lie between 0 (off) and 1")
        check_seed(self.seed)


def distilled_loss(logits: Tensor, targets: Tensor, teacher: Tensor | None, share: float, heat: float) -> Tensor:
    """Return (1 - δ) · CE + δ · τ² · KL(softmax(teacher/τ) ‖ softmax(logits/τ)); logits (B, classes).

    ``targets`` are labels (B,) or, of mixed samples, shares (B, classes).
    """
    loss = F.cross_entropy(logits, targets)
    if teacher is None or share == 0:
        return loss
    divergence = F.kl_div(
        F.log_softmax(logits / heat, 1), F.log_softmax(teacher / heat, 1), log_target=True, reduction="batchmean"
    )
    return (1 - share) * loss + share * heat**2 * divergence
