"""Batch normalisation estimated anew under quantised weights: nearly free, and without labels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.checkpoints.opening import load_model
from snnq.data.dataset import Frames
from snnq.packed.coding import Coded
from snnq.packing.finish import fold
from snnq.schemes.scheme import scheme
from snnq.training.evaluation import predict, reestimate_batchnorm
from snnq.training.job import Job


@torch.no_grad()
def reestimated(
    job: Job, coded: Mapping[str, Coded], samples: Frames, batch_size: int, seed: int, device: torch.device
) -> nn.Module:
    """Return the folded model of these codes whose norms' statistics are those of the samples under the codes.

    The norms are the checkpoint's own: factors and offsets that were learned for them are not in it.
    """
    model = load_model(job.checkpoint)
    for name, one in coded.items():
        weight = model.get_parameter(f"{name}.weight")
        weight.copy_(scheme(one.scheme).decode(one.codes, one.params).view_as(weight))
    model.to(device)
    reestimate_batchnorm(model, samples, batch_size, seed)
    return fold(model.cpu(), job)


@torch.no_grad()
def logits_of(model: nn.Module, samples: Frames, batch_size: int, device: torch.device) -> Tensor:
    """Return the logits (N, classes) of a model that is put on ``device`` for it; it comes back to the CPU."""
    found, _ = predict(model.to(device), samples, batch_size)
    model.cpu()
    return found


def divergence(floating: Tensor, found: Tensor) -> float:
    """Return the mean KL(float ‖ found) of logits (N, classes), in nats: how far a model is, without labels."""
    target, own = (F.log_softmax(one.double(), 1) for one in (floating, found))
    return float(F.kl_div(own, target, log_target=True, reduction="batchmean"))
