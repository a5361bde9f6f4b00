"""A layer whose rounding and scales are learned, and what it becomes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snnq.packed.coding import Coded
from snnq.reconstructing.rounding import cells, decided, factor, inverse_sigmoid, most_decided, rectified_sigmoid
from snnq.schemes.fitting.descent import descend
from snnq.schemes.scheme import Params, scheme


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

    def __init__(self, name: str, weight: Tensor, params: Params, *, scaled: bool, rounding: bool) -> None:
        super().__init__()
        self.scheme, self.shape, self.scaled = scheme(name), weight.shape, scaled
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
        """Decide every weight by coordinate descent on the error of the layer's outputs (``layerwise``)."""

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
    def facts(self) -> dict[str, Any]:
        """Return the share of weights rounded other than to the nearest, and least, quartiles and greatest factor."""
        by = factor(self.v).flatten()
        quantiles = torch.quantile(by, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], device=by.device))
        flipped = (self.up != self.nearest) & (self.high > self.low)
        return {"flipped": float(flipped.float().mean()), "factors": [float(one) for one in quantiles]}
