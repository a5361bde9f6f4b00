"""What a model that is finetuned learns from: labels, and the float model's logits."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


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
