"""Real numbers as whole ones, exactly, in one of two ways of which the shorter is taken.

``fixed``: n of n · 2^e, with one e for all, the largest that is exact. ``pattern``: the bits of float32 with the sign
between exponent and mantissa, so that numbers of like size lie together, and without the bits that are zero in all.
"""

from __future__ import annotations

import numpy as np

MANTISSA = 23
_LARGEST = 2.0**24


def fixed(numbers: np.ndarray) -> tuple[int, np.ndarray] | None:
    """Return (e, n); None where n would pass 2^24, or a zero has a sign."""
    if bool((np.signbit(numbers) & (numbers == 0)).any()):
        return None
    there = numbers[numbers != 0].astype(np.float64)
    if there.size == 0:
        return 0, np.zeros(numbers.shape, np.int64)
    mantissas, exponents = np.frexp(there)
    whole = np.ldexp(mantissas, MANTISSA + 1).astype(np.int64)
    trailing = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    exponent = int((exponents - MANTISSA - 1 + trailing).min())
    found = np.ldexp(numbers.astype(np.float64), -exponent)
    return (exponent, found.astype(np.int64)) if float(np.abs(found).max()) < _LARGEST else None


def from_fixed(exponent: int, found: np.ndarray) -> np.ndarray:
    """Return the numbers n · 2^e, float32; raises ValueError for an exponent that none of ``fixed`` has."""
    if abs(exponent) > 2 * 128:
        raise ValueError("its numbers are too large")
    with np.errstate(over="ignore"):
        return np.ldexp(found.astype(np.float64), exponent).astype(np.float32)


def pattern(numbers: np.ndarray) -> tuple[int, np.ndarray]:
    """Return how many bits at the end of all mantissas are zero, and the bits before: exponent, sign, mantissa."""
    bits = numbers.astype("<f4").view("<u4").astype(np.int64)
    sign, exponent, mantissa = bits >> 31, (bits >> MANTISSA) & 0xFF, bits & ((1 << MANTISSA) - 1)
    union = int(np.bitwise_or.reduce(mantissa, axis=None))
    zeros = (union & -union).bit_length() - 1 if union else MANTISSA
    return zeros, ((exponent << 1 | sign) << MANTISSA | mantissa) >> zeros


def from_pattern(zeros: int, found: np.ndarray) -> np.ndarray:
    """Return the float32 numbers of ``pattern``; raises ValueError for what is none."""
    bits = found << min(zeros, MANTISSA)
    if int(bits.min(initial=0)) < 0 or int(bits.max(initial=0)) >> 32:
        raise ValueError("its numbers are no float32 numbers")
    top, mantissa = bits >> MANTISSA, bits & ((1 << MANTISSA) - 1)
    return ((top & 1) << 31 | (top >> 1) << MANTISSA | mantissa).astype("<u4").view("<f4").astype(np.float32)
