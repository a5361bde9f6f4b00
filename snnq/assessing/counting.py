"""Counting events in tensors: pure functions, exact whole numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn


def reach(layer: nn.Module, inputs: Tensor, *, effective: bool = False) -> Tensor:
    """Return how many outputs of a layer each of its inputs goes to: the fan-out, float64, of the inputs' shape.

    A pixel at the edge of an image reaches fewer than one in its middle. It is the gradient of the sum of outputs for
    weights of ones; ``effective``: for ones where the weight is not zero.
    """
    ones = deepcopy(layer).to(inputs.device).double().requires_grad_(False)
    weight = ones.get_parameter("weight")
    weight.copy_(weight != 0) if effective else weight.fill_(1.0)
    if isinstance(ones.bias, nn.Parameter):
        ones.bias.zero_()
    with torch.enable_grad():
        given = torch.zeros(inputs.shape, dtype=torch.float64, device=inputs.device, requires_grad=True)
        (found,) = torch.autograd.grad(type(ones).forward(ones, given).sum(), given)
    return found.round()


def set_bits(values: Tensor) -> Tensor:
    """Return the number of set bits of every whole number (5 is 101, two), int64; of its amount where it is negative.

    A value that is not whole counts as one where it is not zero: it is multiplied, not added bit by bit.
    """
    nonzero = values != 0
    if bool((values == nonzero).all()) or not bool((values == values.round()).all()):
        return nonzero.long()
    rest = values.abs().long()
    found = torch.zeros_like(rest)
    while bool(rest.any()):
        found += rest & 1
        rest >>= 1
    return found


def unit_events(values: Tensor) -> Tensor:
    """Return how many spikes every value is: its amount, where all are whole; of others 1 where it is not zero.

    A neuron's value of c is c of its D binary sub-steps, one below zero as many spikes that are taken away.
    """
    return values.abs().double() if bool((values == values.round()).all()) else (values != 0).double()


def leading_axes(layer: nn.Module, inputs: Tensor, steps: int) -> int:
    """Return how many of the first axes of one sample's inputs are steps or images: all in front of an image.

    Of a linear layer they are the fewest that make ``steps``, so that samples may stand first, too; where none do, one.
    """
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return inputs.ndim - layer.weight.ndim + 1
    return next((axes for axes in range(1, inputs.ndim) if math.prod(inputs.shape[:axes]) == steps), 1)


def by_step(values: Tensor, steps: int, leading: int, runs: Sequence[int] = ()) -> Tensor:
    """Return one sample's values (…, item) as (steps, …) where its ``leading`` axes are the steps, as (1, …) else.

    The batch is of one sample, so the steps may stand before or behind it. ``runs``: how many steps parts of a model
    have that do not run in every one.
    """
    items = values.reshape(math.prod(values.shape[:leading]), *values.shape[leading:])
    return items if len(items) in (steps, *runs) else items.unsqueeze(0)


def in_runs(spikes: Tensor, runs: Sequence[int]) -> Tensor:
    """Return what neurons put out as (steps, …): spikes (T, n, …) of n ``runs`` from rest, one run after the other.

    ``runs``: how many steps parts of a model have in all such runs of a sample. Other spikes, (T, …), stay as they are.
    """
    return spikes.transpose(0, 1).flatten(0, 1) if math.prod(spikes.shape[:2]) in runs else spikes


def totals(values: Tensor) -> list[float]:
    """Return the sum of (steps, …) at every step, exact."""
    return values.flatten(1).sum(1, dtype=torch.float64).tolist()


def scores_additions(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return the additions at every step in Q Kᵀ and in (Q Kᵀ) V, each (T,), and the largest entry of Q Kᵀ.

    q, k, v are spikes (T, …, N, d). First: pairs of a spike of Q and one of K at one feature. Second: for every spike
    of V, the scores of its token that are not zero.
    """
    scores = q @ k.transpose(-2, -1)
    second = (scores != 0).double().sum(-2) * v.double().sum(-1)
    return _flat(scores), _flat(second), int(scores.max())


def keys_additions(q: Tensor, k: Tensor, v: Tensor, chunk: int) -> tuple[Tensor, Tensor, int]:
    """Return the additions in Kᵀ V and in Q (Kᵀ V) over ``chunk`` steps, and the largest entry of Kᵀ V.

    q, k, v are spikes (T, …, N, d); the additions are (T,), each at the step its spikes are of. First: pairs of a
    spike of K and one of V at one token. Second: for every spike of Q, the entries of its feature that are not zero.
    """
    first = (k.double().sum(-1) * v.double().sum(-1)).flatten(1).sum(1)
    outer = (k.transpose(-2, -1) @ v).unflatten(0, (-1, chunk)).sum(1)
    rows = (outer != 0).double().sum(-1).repeat_interleave(chunk, 0)
    second = q.double().sum(-2) * rows
    return first, _flat(second), int(outer.max())


def sums_additions(shared: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return the additions in the sum over tokens of K ⊙ V, spikes (T, …, N, d), none in Q ⊙ …, and the largest sum."""
    return _flat(shared), torch.zeros(len(shared), dtype=torch.float64), int(shared.sum(-2).max())


def gates_additions(q: Tensor, dim: int = -1) -> tuple[Tensor, Tensor, int]:
    """Return the additions in the sum over ``dim`` of Q, spikes (T, …, N, d), none in … ⊙ K, and the largest sum."""
    return _flat(q), torch.zeros(len(q), dtype=torch.float64), int(q.sum(dim).max())


def softmax_products(q: Tensor, k: Tensor) -> Tensor:
    """Return the products of Q Kᵀ, and as many of the end, at every step: of q (T, B, heads, N, d) and k (…, M, d)."""
    each = math.prod(q.shape[2:]) * k.shape[-2]
    return torch.full((math.prod(q.shape[:2]),), float(each), dtype=torch.float64)


def _flat(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1, dtype=torch.float64)
