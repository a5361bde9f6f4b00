"""A weight as whole numbers, which is all that the integer engines see of its number format.

A decoded weight is ŵ = unit · W with whole W. Weights that are no small whole multiples of a unit are rounded to fixed
point far below their own precision's effect: sums of up to 2^52, exact in float64 and int64.
Source: ours (docs/method.md §5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int64

WIDE_SUM_LIMIT = 2**52
WIDE_WEIGHT_BITS = 40


@dataclass(frozen=True)
class Whole:
    """A weight as whole numbers: ``values`` int64 (out, n) times ``unit`` float64 (out,).

    ``wide``: they are in fixed point, and their sums need int64.
    """

    values: Int64[np.ndarray, "out n"]
    unit: Float64[np.ndarray, " out"]
    wide: bool = False


def fixed_point(weight: Float[np.ndarray, "out n"], bound: int) -> Whole:
    """Return a real weight (out, n) as whole numbers, so fine that all sums for inputs up to ``bound`` are exact."""
    weight = weight.astype(np.float64)
    reach, bits = np.abs(weight).max(1), fixed_bits(weight.shape[1], bound)
    exponent = np.where(reach > 0, np.frexp(reach)[1] - bits, 0)
    return Whole(np.rint(np.ldexp(weight, -exponent[:, None])).astype(np.int64), np.ldexp(1.0, exponent), wide=True)


def fixed_bits(terms: int, bound: int) -> int:
    """Return how many bits the largest weight may have, so that ``terms`` products with up to ``bound`` stay exact."""
    return min(WIDE_WEIGHT_BITS, WIDE_SUM_LIMIT.bit_length() - 2 - (terms * bound).bit_length())
