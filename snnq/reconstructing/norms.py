"""Folded norms that give their neurons currents of the float model's mean and variance, channel by channel.

Rounded weights shift and scale a layer's sums. Batch normalisation estimated anew undoes that, nearly free and without
labels (``reestimated``). This is the same for one block: in a pass over the calibration samples every norm normalises
by the batch's own statistics,

    y = m_f + √v_f · sign · (x − μ) / √(σ² + ε),   m_f, v_f: of the float model's y

and keeps the mean of μ and σ², from which its new multiplier and offset follow. Channels whose sums never move keep
their multiplier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.checkpoints.opening import load_model
from snnq.data.dataset import Frames
from snnq.network.folding import ChannelAffine
from snnq.packed.coding import Coded
from snnq.packing.finish import fold
from snnq.schemes.scheme import scheme
from snnq.training.evaluation import predict, reestimate_batchnorm
from snnq.training.job import Job

EPSILON = 1e-5


class Norm(NamedTuple):
    """Multiplier and offset of a folded norm, (channels,) each."""

    multiplier: Tensor
    offset: Tensor


class ChannelMoments(NamedTuple):
    """Mean and variance of each channel, (channels,)."""

    mean: Tensor
    variance: Tensor


def moments(x: Tensor, leading: int) -> ChannelMoments:
    """Return the moments of x whose channels are dim ``leading``."""
    rows = x.movedim(leading, 0).flatten(1)
    return ChannelMoments(rows.mean(1), rows.var(1, correction=0))


@torch.no_grad()
def output_moments(norms: Mapping[str, nn.Module], run: Callable[[], None]) -> dict[str, ChannelMoments]:
    """Return the moments of what norms give while ``run`` runs, by name: the plain mean over their calls."""
    seen: dict[str, list[ChannelMoments]] = {name: [] for name in norms}

    def note(name: str, norm: ChannelAffine, given: object, output: Tensor) -> None:
        seen[name].append(moments(output, norm.leading))

    hooks = [norm.register_forward_hook(partial(note, name)) for name, norm in norms.items()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return {name: _mean(found) for name, found in seen.items() if found}


@contextmanager
def live(
    norms: Mapping[str, nn.Module], wanted: Mapping[str, ChannelMoments]
) -> Iterator[dict[str, list[ChannelMoments]]]:
    """Let norms normalise by the statistics of what they are given, to the ``wanted`` moments; differentiable.

    Yields the moments of what they were given, by name, call by call.
    """
    seen: dict[str, list[ChannelMoments]] = {name: [] for name in wanted}

    def normalise(name: str, norm: ChannelAffine, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = given[0]
        found = moments(x, norm.leading)
        seen[name].append(ChannelMoments(*(part.detach() for part in found)))
        one = _norm(norm, wanted[name], found)
        shape = (-1, *[1] * (x.ndim - norm.leading - 1))
        return x * one.multiplier.view(shape) + one.offset.view(shape)

    hooks = [norms[name].register_forward_hook(partial(normalise, name)) for name in wanted]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def matched(
    norms: Mapping[str, nn.Module], wanted: Mapping[str, ChannelMoments], run: Callable[[], None]
) -> dict[str, Norm]:
    """Return norms whose outputs have the ``wanted`` moments while ``run`` runs; those without any are left out."""
    with live(norms, wanted) as seen:
        run()
    return {name: _norm(norms[name], wanted[name], _mean(found)) for name, found in seen.items() if found}


def _norm(norm: nn.Module, wanted: ChannelMoments, found: ChannelMoments) -> Norm:
    """Return the norm that takes ``found`` moments of its input to the ``wanted`` ones of its output."""
    before = norm.get_buffer("multiplier")
    moves = found.variance > EPSILON * (wanted.variance / before.square().clamp_min(EPSILON)).clamp_min(1e-12)
    ratio = wanted.variance / found.variance.clamp_min(1e-30)
    # Of a channel that is constant, such as one whose weights are all masked, the root has no finite slope.
    root = torch.where(ratio > 0, ratio, torch.ones_like(ratio)).sqrt() * (ratio > 0)
    multiplier = torch.where(moves, root * before.sign(), before)
    return Norm(multiplier, wanted.mean - found.mean * multiplier)


def _mean(found: Sequence[ChannelMoments]) -> ChannelMoments:
    return ChannelMoments(*(torch.stack(parts).mean(0) for parts in zip(*found, strict=True)))


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
