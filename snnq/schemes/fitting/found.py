"""Grids that weights lie on already, such as those of a model that was quantised elsewhere: found, not fitted.

A channel's weights are κ · s with whole or half numbers κ and one step s. The coarsest step whose multiples they are is
found from the largest weight, which is m steps for some m; of the float32 numbers near it, s is the first that gives
every weight to the last bit. Source: ours (docs/ptq.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnq.schemes.scheme import Scheme
from snnq.schemes.uniform import UNIFORM, levels

# How far from a whole number a weight's steps may be: float32 has rounded both the weight and the largest one.
_NEAR = 2.0**-12
_NEIGHBOURS = 8  # float32 numbers on either side of a step that are tried


@torch.no_grad()
def found_grid(one: Scheme, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return parameters (out, 1) of a scheme for a weight (out, …), and the channels (out,) that are exactly on them.

    Of those, ``decode(encode(weight, …), …)`` is the weight, bit for bit.
    """
    rows = weight.detach().flatten(1)
    if one.family == UNIFORM.name:
        params = one.stored(_uniform(rows, levels(one.width)))
    else:  # levels of powers of two, or of one magnitude
        params = one.stored(one.fit(rows) if "scale" not in one.parameters else one.cover(rows))
    return params, (one.decode(one.encode(rows, params), params) == rows).all(1)


def _uniform(rows: Tensor, top: int) -> dict[str, Tensor]:
    """Return scale and zero-point (out, 1) of evenly spaced levels; any, where there are none."""
    out, exact = len(rows), rows.double()
    most = exact.abs().amax(1, keepdim=True)
    scale, zero = torch.ones(out, 1, dtype=rows.dtype), torch.full((out, 1), (top + 1) / 2, dtype=rows.dtype)
    left = (most[:, 0] > 0).clone()  # a channel of zeros is on any grid
    # In half steps, since a zero-point may be half a level.
    for count in range(1, 2 * top + 1):
        if not bool(left.any()):
            break
        places = exact[left] / (most[left] / count)
        whole = places.round()
        apart = torch.where((whole.abs().to(torch.int64) % 2 == 1).all(1), 2.0, 1.0)
        low, high = whole.amin(1) / apart, whole.amax(1) / apart
        fits = ((places - whole).abs().amax(1) < _NEAR) & (high - low <= top)
        at = left.nonzero()[:, 0][fits]
        origin, apart = -low[fits], apart[fits]
        usual = (top + 1) / 2  # two's complement, where its levels reach
        usual_fits = (apart == 1) & (low[fits] >= -usual) & (high[fits] <= top - usual)
        zero[at, 0] = torch.where(usual_fits, usual, origin).to(rows.dtype)
        scale[at] = _last_bit(rows[at], whole[fits] / apart[:, None], apart[:, None] * most[at] / count)
        left[at] = False
    return {"scale": scale, "zero_point": zero}


def _last_bit(rows: Tensor, places: Tensor, step: Tensor) -> Tensor:
    """Return the steps (n, 1) near ``step`` that give rows (n, k) at ``places`` exactly, where there are such."""
    near = step.to(rows.dtype)
    found, open_rows = near.clone(), torch.ones(len(rows), dtype=torch.bool)
    up = down = near
    for _ in range(_NEIGHBOURS):
        for tried in (up, down):
            right = ((tried * places.to(rows.dtype)) == rows).all(1) & open_rows
            found[right], open_rows[right] = tried[right], False
        up, down = torch.nextafter(up, torch.full_like(up, torch.inf)), torch.nextafter(down, torch.zeros_like(down))
    return found
