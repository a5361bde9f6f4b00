"""Codes that are exchanged for shorter ones in the end, where training left them above their target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snnq.schemes.rated import between, code_lengths
from snnq.training.quantized import FakeQuantize
from snnq.training.rate import Rate, RatedLayer


@torch.no_grad()
def trim(rate: Rate, known: dict[float, float] | None = None) -> int:
    """Exchange codes for shorter ones, the cheapest first, until what the rated layers take keeps the target: together,
    or each its own where layers are held to their rates.

    A weight takes the level l of its channel that is least in (w - l)²/s² + λ · len(l), out of the two beside it and
    zero, s being the distance of the two; λ is the least, within a thousandth, that keeps the target (rate-distortion
    optimised quantisation: Sullivan & Wiegand 1998). The latent weights become the levels chosen; how many is returned.
    ``known``: bits by price, of the same weights trimmed to other targets; those that are found here are added.
    """
    limits = rate.limits()
    if len(limits) == 1:
        return _keep(rate, *limits[0], {} if known is None else known)
    return sum(_keep(rate, layers, target, {}) for layers, target in limits)


def _keep(rate: Rate, layers: Sequence[RatedLayer], target: float, known: dict[float, float]) -> int:
    """Exchange codes of layers that take more than ``target`` bits together; return how many."""
    before = {name: latent.detach().clone() for name, _, latent in layers}
    if rate.total(layers) <= target:
        return 0

    def bits(price: float) -> float:
        if price not in known:
            known[price] = trimmed(price)
        return known[price]

    def trimmed(price: float) -> float:
        for name, chain, latent in layers:
            latent.copy_(_exchanged(chain, before[name], price).view_as(latent))
        return rate.total(layers)

    low, high = 0.0, 1e-3
    while bits(high) > target and high < 1e6:
        low, high = high, high * 4
    while high - low > 0.001 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if bits(middle) > target else (low, middle)
    trimmed(high)
    return sum(int((latent != before[name]).sum()) for name, _, latent in layers)


def _exchanged(chain: FakeQuantize, latent: Tensor, price: float) -> Tensor:
    rows = latent.flatten(1)
    levels = chain.scheme.grid(chain.params())
    below, share = between(rows, levels)
    nearest = below + (share > 0.5)
    length = code_lengths(nearest, levels.shape[1])
    zero = levels.abs().argmin(1, keepdim=True).expand_as(below)
    choices = torch.stack([below, below + 1, zero])
    values = torch.stack([levels.gather(1, one) for one in choices])
    step = levels.gather(1, below + 1) - levels.gather(1, below)
    best = (((rows - values) / step).square() + price * length[choices]).argmin(0)
    chosen = choices.gather(0, best[None])[0]
    kept = (chosen == nearest) | (rows == 0)  # a masked weight stays zero, however few codes are
    return torch.where(kept, rows, levels.gather(1, chosen))
