"""Codes of few bits: a coarse grid about zero, most of whose codes are zero, so that an entropy coder stores them in
a fraction of their width.

The rate of a layer is the entropy of its codes, in bits a weight; the length of a code is -log2 of its frequency. Of a
Gaussian weight, a fine grid with a coarse step at 1.8 bits is as exact as four levels at 2 (docs/method.md §6).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float, Float32, Float64, Int, Shaped
    from torch import Tensor

    from snnq.schemes.scheme import Scheme
else:
    from snnq.base.lazy import torch


def fit_rate(weight: Float[Tensor, "out n"], one: Scheme, rate: float) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the parameters of a grid about zero whose codes of a weight (out, n) have an entropy of ``rate`` bits.

    The step is one multiple of every channel's root mean square, found by bisection: the finest that does. Steps finer
    than that of the most entropy clip more than they tell apart: they are none, and where ``rate`` is more than the
    grid's levels can take, the grid is that of the most.
    """
    tiny = torch.finfo(weight.dtype).tiny ** 0.5
    size = weight.square().mean(1, keepdim=True).sqrt().clamp_min(tiny)

    def bits(power: float) -> float:
        return float(entropy(nearest_levels(weight, one.grid(one.around_zero(size * 2**power)))))

    low, high = -6.0, 6.0
    most = max((half / 2 for half in range(-12, 3)), key=bits)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if middle < most or bits(middle) > rate else (low, middle)
    return one.around_zero(size * 2**high)


def between(
    weight: Float[Tensor, "out n"], levels: Float[Tensor, "out L"]
) -> tuple[Int[Tensor, "out n"], Float[Tensor, "out n"]]:
    """Return where weights (out, n) lie on ascending levels (out, L): the index of the level below, and the share
    (0 … 1) of the way to the next one, differentiable in both."""
    below = torch.searchsorted(levels.detach(), weight.detach().contiguous(), right=True) - 1
    below = below.clamp(0, levels.shape[1] - 2)
    low, high = levels.gather(1, below), levels.gather(1, below + 1)
    return below, ((weight - low) / (high - low)).clamp(0, 1)


def nearest_levels(weight: Float[Tensor, "out n"], levels: Float[Tensor, "out L"]) -> Int[Tensor, "out n"]:
    """Return the index of the level nearest to every weight, (out, n)."""
    below, share = between(weight, levels)
    return below + (share > 0.5)


def code_lengths(indices: Int[Tensor, "*shape"], count: int) -> Float32[Tensor, " {count}"]:
    """Return the bits (count,) of a code for each of ``count`` levels, by how often each is taken; none is infinite."""
    return lengths(torch.bincount(indices.flatten(), minlength=count))


def entropy(indices: Int[Tensor, "*shape"]) -> Float64[Tensor, ""]:
    """Return the entropy of codes, all together, in bits each: (), float64."""
    return entropies(torch.bincount(indices.flatten()))


def lengths(counts: Shaped[Tensor, "*more levels"]) -> Float32[Tensor, "*more levels"]:
    """Return the bits of a code for each level, float32, of levels that are taken so often, (…, levels)."""
    counts = counts.float()
    return -torch.log2((counts + 1) / (counts.sum(-1, keepdim=True) + counts.shape[-1]))


def entropies(counts: Shaped[Tensor, "*more levels"]) -> Float64[Tensor, "*more"]:
    """Return the entropy (…), float64, in bits a code, of levels that are taken so often, (…, levels)."""
    counts = counts.double()
    shares = counts / counts.sum(-1, keepdim=True)
    return -torch.special.xlogy(shares, shares).sum(-1) / math.log(2)
