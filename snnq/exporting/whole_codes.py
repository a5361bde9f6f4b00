"""Codes of evenly spaced levels as signed integers with a whole zero-point, for formats that know no half ones.

A weight is s · (q − z) with z a multiple of ½. With m = 2 for the channels whose z is not whole, and 1 for the others,

    s · (q − z) = (s/m) · v,   v = m·q − m·z, an integer (``snnq.arithmetic.integers``),

and both sides are the same float32 number: q − z and v are exact, and halving s is exact (but for a subnormal s). A
layer of b bits with a half zero-point in one of its channels needs b + 1 bits. Ternary and binary are −1, 0, 1 of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnq.packed.coding import Coded
from snnq.schemes.scheme import Params, scheme

MAX_BITS = 8


@dataclass(frozen=True)
class Integers:
    """scale · (codes − zero_point): codes (out, n) and zero_point (out, 1) are int8 of ``bits`` bits, signed.

    ``zero_point`` is None where it is 0 in every channel. ``scale`` is float32 (out, 1).
    """

    codes: Tensor
    scale: Tensor
    zero_point: Tensor | None
    bits: int


def whole_integers(name: str, codes: Tensor, params: Params) -> Integers | None:
    """Return a layer with whole zero-points in the fewest bits, at least its own; None where 8 are not enough.

    Without zero-points where that takes no more bits: those of the codes that occur, and 0, then fit as they are.
    """
    whole, bits = scheme(name).whole(Coded(name, codes, params).stored(), bound=1), scheme(name).width
    values, scale = torch.from_numpy(whole.values), torch.from_numpy(whole.unit).float()[:, None]
    low, high = values.amin(1, keepdim=True).clamp_max(0), values.amax(1, keepdim=True).clamp_min(0)
    plain = max(bits, _signed_bits(low, high))
    shifted = max(bits, int((high - low).max()).bit_length())
    if min(plain, shifted) > MAX_BITS:
        return None
    if plain <= shifted:
        return Integers(values.to(torch.int8), scale, None, plain)
    zero_point = -(2 ** (shifted - 1)) - low  # the lowest value of each channel gets the lowest code
    return Integers((values + zero_point).to(torch.int8), scale, zero_point.to(torch.int8), shifted)


def _signed_bits(low: Tensor, high: Tensor) -> int:
    """Return the bits of two's complement that hold everything from ``low`` ≤ 0 to ``high`` ≥ 0."""
    return 1 + max((-int(low.min()) - 1).bit_length() if int(low.min()) < 0 else 0, int(high.max()).bit_length())
