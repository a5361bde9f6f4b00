"""Rounding as a choice between the level below a weight and the level above it, learned and decided bit by bit.

With the levels lo ≤ w ≤ hi of a layer's own grid (a weight beyond its ends is clipped first), whatever the scheme:

    ŵ = 2σ(v) · (lo + h(ν) · (hi − lo)),   h(ν) = clip(1.2 · σ(ν) − 0.1, 0, 1)

ν starts so that h(ν) is the fractional part (w − lo)/(hi − lo), v at 0, where the factor is 1: the soft weight is the
clipped float weight. A weight that is decided is exactly one of its two levels. Sources: AdaRound (Nagel et al. 2020)
for h; TesseraQ (Li & Panda 2024, arXiv:2410.19103) for the start, the factor and the order of decisions. All tensors
are (out, n), parameters (out, 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnq.packed.coding import Coded
from snnq.schemes.fitting.descent import descend
from snnq.schemes.scheme import Params, Scheme, scheme

STRETCH, REACH = 1.2, 0.1
# AdaRound's regulariser λ · mean(1 − |2h − 1|^β): its weight, β at the end of the warm-up and at the last step, and the
# share of the steps that is warm-up.
PUSH, BETA, WARM_UP = 0.01, (20.0, 2.0), 0.2


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
class GridCells:
    """Where each weight lies in its grid: between ``low`` and ``high``, at ``fraction`` of the way (0 … 1).

    ``up`` says which of the two round-to-nearest takes.
    """

    low: Tensor
    high: Tensor
    fraction: Tensor
    up: Tensor


@torch.no_grad()
def cells(weight: Tensor, scheme: Scheme, params: Params) -> GridCells:
    """Return the cells of a weight (out, …), flattened to (out, n)."""
    rows = weight.detach().flatten(1)
    grid = scheme.grid(params).contiguous()
    below = (torch.searchsorted(grid, rows.contiguous(), right=True) - 1).clamp(0, grid.shape[1] - 2)
    low, high = grid.gather(1, below), grid.gather(1, below + 1)
    if scheme.holds_zero:  # a masked weight has nowhere to go
        high = torch.where((rows == 0) & (low == 0), low, high)
    gap = high - low
    # The smallest levels of a format of many exponents may fall together in float32.
    fraction = torch.where(gap > 0, (rows - low) / torch.where(gap > 0, gap, torch.ones_like(gap)), 0.0).clamp(0, 1)
    nearest = scheme.decode(scheme.encode(rows, params), params)
    return GridCells(low, high, fraction, nearest == high)


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


def push(soft: Tensor, share: float) -> Tensor | float:
    """Return AdaRound's regulariser of h values after ``share`` (0 … 1) of the steps; nothing during the warm-up.

    β falls by a cosine: at first only the undecided are pushed, at last all.
    """
    if share < WARM_UP:
        return 0.0
    first, last = BETA
    along = math.cos((share - WARM_UP) / (1 - WARM_UP) * math.pi)
    beta = last + (first - last) * (1 + along) / 2
    return PUSH * (1 - (2 * soft - 1).abs().pow(beta)).mean()


class LearnedLayer(nn.Module):
    """ŵ = 2σ(v) · (lo + h(ν) · (hi − lo)) for one layer's weight, with the weights that are decided held at lo or hi.

    ``nu`` (out, n) and ``v`` (out, 1) are learned; ``hard`` and ``up`` (out, n) say which weights are decided, and
    whether upwards. ``scaled``: whether v may move at all; ``rounding``: whether any weight is soft at the start.
    """

    low: Tensor
    high: Tensor
    start: Tensor
    nearest: Tensor
    hard: Tensor
    up: Tensor

    def __init__(self, name: str | Scheme, weight: Tensor, params: Params, *, scaled: bool, rounding: bool) -> None:
        super().__init__()
        self.scheme, self.shape, self.scaled = scheme(name) if isinstance(name, str) else name, weight.shape, scaled
        self.grid = {key: value.detach().clone() for key, value in params.items()}
        found = cells(weight, self.scheme, params)
        nu = inverse_sigmoid(found.fraction)
        self.nu = nn.Parameter(nu, requires_grad=rounding)
        self.v = nn.Parameter(torch.zeros_like(found.low[:, :1]), requires_grad=scaled)
        self.register_buffer("low", found.low)
        self.register_buffer("high", found.high)
        self.register_buffer("start", rectified_sigmoid(nu))
        self.register_buffer("nearest", found.up)
        self.register_buffer("hard", torch.full_like(found.up, not rounding))
        self.register_buffer("up", found.up.clone())

    def soft(self) -> Tensor:
        """Return h(ν), (out, n)."""
        return rectified_sigmoid(self.nu)

    def forward(self) -> Tensor:
        """Return the weight as it stands, in the layer's shape, differentiable in ``nu`` and ``v``."""
        value = torch.where(self.up, self.high, self.low)
        if self.nu.requires_grad:
            value = torch.where(self.hard, value, self.low + self.soft() * (self.high - self.low))
        return (factor(self.v) * value if self.scaled else value).view(self.shape)

    @torch.no_grad()
    def harden(self, share: float) -> None:
        """Decide the most decided weights, so that at most ``share`` of all stays soft."""
        soft = self.soft()
        mask = most_decided(soft, self.hard, share)
        self.up.copy_(torch.where(mask & ~self.hard, decided(soft, self.start, self.nearest), self.up))
        self.hard.copy_(mask)

    @torch.no_grad()
    def choose_nearest(self) -> None:
        """Decide every weight for the nearest level, with a factor of 1."""
        self.up.copy_(self.nearest)
        self.hard.fill_(True)
        self.v.zero_()

    @torch.no_grad()
    def descend(self, weight: Tensor, gram: Tensor, passes: int) -> None:
        """Decide every weight by coordinate descent on the error of the layer's outputs (``fitting.descent``)."""

        def levels(column: int, wanted: Tensor) -> Tensor:
            low, high = (one[:, column : column + 1] for one in (self.low, self.high))
            return torch.where(wanted - low > high - wanted, high, low)

        start = torch.where(self.nearest, self.high, self.low)
        value = descend(weight.flatten(1), start, gram, passes, levels)
        self.up.copy_(torch.where(self.high > self.low, value == self.high, self.nearest))
        self.hard.fill_(True)

    @torch.no_grad()
    def coded(self) -> tuple[Coded, Tensor | None]:
        """Return the codes of the decided weights, and the factor (out, 1) where the scheme has no real scale for it.

        All weights must be decided.
        """
        assert bool(self.hard.all())
        codes = self.scheme.encode(torch.where(self.up, self.high, self.low), self.grid)
        by = factor(self.v).detach()
        if self.scaled and "scale" in self.scheme.parameters:
            return Coded(self.scheme.name, codes, self.grid | {"scale": self.grid["scale"] * by}), None
        return Coded(self.scheme.name, codes, self.grid), by if self.scaled else None

    @torch.no_grad()
    def facts(self) -> dict[str, float | list[float]]:
        """Return the share of weights rounded other than to the nearest, and least, quartiles and greatest factor."""
        by = factor(self.v).flatten()
        quantiles = torch.quantile(by, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], device=by.device))
        flipped = (self.up != self.nearest) & (self.high > self.low)
        return {"flipped": float(flipped.float().mean()), "factors": [float(one) for one in quantiles]}
