"""Axes of a plot: whole, round numbers within a range."""

from __future__ import annotations

import math

# Ticks for bits per weight, and whatever is as small.
_BITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def round_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most ``most`` multiples of 1, 2 or 5 · 10^n within low … high; the ends if there are fewer than two."""
    if high <= low:
        return [low]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    while True:
        for factor in (1, 2, 5):
            size = step * factor
            first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
            if last - first + 1 <= most:
                found = [i * size for i in range(first, last + 1)]
                return found if len(found) > 1 else [low, high]
        step *= 10


def log_ticks(low: float, high: float, apart: float = 1.45) -> list[float]:
    """Return round numbers within low … high for a logarithmic axis, each at least ``apart`` times the one before."""
    decade = 10.0 ** math.floor(math.log10(low))
    wanted = _BITS if high <= 40 else tuple(decade * 10**i * f for i in range(6) for f in (1, 2, 5))
    found: list[float] = []
    for value in wanted:
        if low * (1 - 1e-9) <= value <= high * (1 + 1e-9) and (not found or value >= apart * found[-1]):
            found.append(value)
    return found or [low]
