"""Scores that take no switching of layers: by the curvature of the loss, and by chance as a control."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snnq.base.progress import Progress
from snnq.schemes.scheme import scheme
from snnq.searching.constraints import Choices
from snnq.searching.judging import ROUNDING, Judge, rounding_errors
from snnq.searching.measuring import monotone
from snnq.training import processes
from snnq.training.seeding import generator

if TYPE_CHECKING:
    from jaxtyping import Float

# Random vectors for each batch: of 8 batches that is 64 of them.
PROBES = 8


def hessian(judge: Judge, progress: Progress) -> Float[np.ndarray, "L K"]:
    """Return scores (L, K) in nats: ½ · trace(H_l)/n_l · Σ(W − Q_k(W))², of a layer of n_l weights.

    Source: HAWQ-V2 (Dong et al. 2020, arXiv:1911.03852), with the Gauss–Newton form of the Hessian, which needs no
    second derivative of surrogate gradients. A little of the rounding error decides where the loss is flat.
    """
    model, choices = judge.floats, judge.choices
    traces = gauss_newton_traces(judge, progress)
    weights = [model.get_submodule(layer.name).get_parameter("weight").detach() for layer in choices.layers]
    sizes = np.array([float(weight.double().square().mean()) for weight in weights])
    errors = rounding_errors(model, choices, judge.nearest(model))
    return monotone((traces * sizes / 2)[:, None] * errors + ROUNDING * errors, choices.names)


def gauss_newton_traces(judge: Judge, progress: Progress) -> Float[np.ndarray, " L"]:
    """Return trace(Jᵀ (diag p − p pᵀ) J) of every layer's weight, (L,): the mean over the calibration samples.

    J are the derivatives of the logits, p their softmax. With B = diag(√p) − p √pᵀ and random signs ξ, the trace is the
    expectation of ‖Jᵀ B ξ‖² (Hutchinson 1990), since B Bᵀ = diag p − p pᵀ. Samples of a batch have signs of their own.
    """
    model = judge.floats
    parameters = [model.get_submodule(layer.name).get_parameter("weight") for layer in judge.choices.layers]
    before = [one.requires_grad for one in parameters]
    total, samples = torch.zeros(len(parameters), dtype=torch.float64), 0
    for one in parameters:
        one.requires_grad_(True)
    try:
        for number, (frames, _) in enumerate(judge.batches()):
            draw = generator(judge.settings.seed, "curvature", number, processes.rank())
            total += _probed(model(frames).float(), parameters, draw)
            samples += len(frames)
            progress("measuring curvature", number + 1, len(judge.order))
    finally:
        for one, wanted in zip(parameters, before, strict=True):
            one.requires_grad_(wanted)
    return processes.mean(total / samples).numpy()


def _probed(logits: Float[Tensor, "n C"], parameters: list[nn.Parameter], draw: torch.Generator) -> Float[Tensor, " L"]:
    """Return Σ over the samples of logits (n, C) of each parameter's trace, (L,), by ``PROBES`` random vectors."""
    shares = torch.softmax(logits.detach(), 1)
    found = torch.zeros(len(parameters), dtype=torch.float64)
    for probe in range(PROBES):
        signs = (torch.randint(0, 2, shares.shape, generator=draw) * 2 - 1).to(shares)
        along = spread(shares, signs)
        gradients = torch.autograd.grad(logits, parameters, along, retain_graph=probe + 1 < PROBES)
        found += torch.stack([one.square().sum() for one in gradients]).double().cpu()
    return found / PROBES


def spread(shares: Float[Tensor, "n C"], signs: Float[Tensor, "n C"]) -> Float[Tensor, "n C"]:
    """Return B ξ (n, C) of probabilities p and signs ξ, both (n, C): its covariance is diag p − p pᵀ."""
    along = shares.sqrt() * signs
    return along - shares * along.sum(1, keepdim=True)


def random(choices: Choices, seed: int) -> Float[np.ndarray, "L K"]:
    """Return scores (L, K) drawn from 0 … 1, more bits never worse: a control that spends its budget by chance."""
    bits = np.array([float(scheme(name).bits) for name in choices.names])
    scores = np.full(choices.allowed.shape, np.nan)
    for group in range(choices.groups):
        members = choices.members(group)
        open_ = np.flatnonzero(choices.allowed[members].all(0))
        draws = torch.rand(len(open_), generator=generator(seed, "random plan", group), dtype=torch.float64).numpy()
        best_first = open_[np.argsort(-bits[open_], kind="stable")]
        for member in members:
            scores[member, best_first] = np.sort(draws) / len(members)
    return scores
