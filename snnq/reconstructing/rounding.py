"""Rounding as a choice between the level below a weight and the level above it, learned and decided bit by bit.

With the levels lo ≤ w ≤ hi of a layer's own grid (a weight beyond its ends is clipped first), whatever the scheme:

    ŵ = 2σ(v) · (lo + h(ν) · (hi − lo)),   h(ν) = clip(1.2 · σ(ν) − 0.1, 0, 1)

ν starts so that h(ν) is the fractional part (w − lo)/(hi − lo), v at 0, where the factor is 1: the soft weight is the
clipped float weight. A weight that is decided is exactly one of its two levels. Sources: AdaRound (Nagel et al. 2020)
for h; TesseraQ (Li & Panda 2024, arXiv:2410.19103) for the start, the factor and the order of decisions. All tensors
are (out, n), parameters (out, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnq.schemes.scheme import Params, Scheme

STRETCH, REACH = 1.2, 0.1


def rectified_sigmoid(nu: Tensor) -> Tensor:
    """Return h(ν) in [0, 1]; both ends are reached at finite ν."""
    return (torch.sigmoid(nu) * STRETCH - REACH).clamp(0, 1)


def inverse_sigmoid(h: Tensor) -> Tensor:
    """Return the ν whose ``rectified_sigmoid`` is ``h`` in [0, 1]: −ln(1.2/(h + 0.1) − 1)."""
    return -torch.log(STRETCH / (h + REACH) - 1)


def factor(v: Tensor) -> Tensor:
    """Return 2σ(v) in (0, 2), exactly 1 at v = 0."""
    return 2 * torch.sigmoid(v)


@dataclass(frozen=True)
class Cells:
    """Where each weight lies in its grid: between ``low`` and ``high``, at ``fraction`` of the way (0 … 1).

    ``up`` says which of the two round-to-nearest takes.
    """

    low: Tensor
    high: Tensor
    fraction: Tensor
    up: Tensor


@torch.no_grad()
def cells(weight: Tensor, scheme: Scheme, params: Params) -> Cells:
    """Return the cells of a weight (out, …), flattened to (out, n)."""
    rows = weight.detach().flatten(1)
    grid = scheme.grid(params).contiguous()
    below = (torch.searchsorted(grid, rows.contiguous(), right=True) - 1).clamp(0, grid.shape[1] - 2)
    low, high = grid.gather(1, below), grid.gather(1, below + 1)
    gap = high - low
    # The smallest levels of a format of many exponents may fall together in float32.
    fraction = torch.where(gap > 0, (rows - low) / torch.where(gap > 0, gap, torch.ones_like(gap)), 0.0).clamp(0, 1)
    nearest = scheme.decode(scheme.encode(rows, params), params)
    return Cells(low, high, fraction, nearest == high)


def decided(soft: Tensor, start: Tensor, up: Tensor) -> Tensor:
    """Return which way each weight goes by its h: up above ½; one that has not moved goes to the nearest level."""
    return torch.where(soft == start, up, soft > 0.5)


def most_decided(soft: Tensor, hard: Tensor, share: float) -> Tensor:
    """Return the mask of weights to be decided so that at most ``share`` of all stays soft: those of highest |h − ½|.

    ``hard`` are decided already and stay so; the result holds them.
    """
    keep = (~hard).sum().clamp(max=int(share * soft.numel()))
    # Decided ones come first, then the most decided; equal ones in their order.
    score = torch.where(hard, torch.inf, (soft - 0.5).abs()).flatten()
    order = score.argsort(descending=True, stable=True)
    mask = torch.zeros_like(score, dtype=torch.bool)
    mask[order] = torch.arange(score.numel(), device=score.device) < score.numel() - keep
    return mask.view_as(hard)
