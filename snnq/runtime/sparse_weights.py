"""Weights that are not zero, as ``sparse_kernels`` add them, and where that is quicker than looking up sums of four.

A weight is a sum of signed powers of two, as few as there can be (the non-adjacent form; Reitwiesner 1960): -1, 1 and 2
are one, 3 is 4 - 1. Each of these digits is one entry of its output channel, or one for every plane of its input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snnq.runtime.bit_sums import BLOCK, LOW, UNITS
from snnq.runtime.vectors import LANES

# Nanoseconds of one thread for 64 pixels of an output channel at a step, measured with both loops (docs/runtime.md):
# neurons and what turns bits to numbers; an entry; a pixel's neurons and lists where sums are looked up; a group of
# four inputs there, of which half are silent. Only what lies clearly apart is decided by them.
NEURONS, ENTRY, LISTS, GROUP = 40.0, 0.4, 15.0, 1.0
CLEARLY = 0.6


@dataclass(frozen=True)
class SparseWeights:
    """A layer's entries, groups and firsts, as ``sparse_kernels.sum_channel`` takes them; ``count`` planes hold a sum.

    ``groups_of_four``: of the inputs, of all taps and planes.
    """

    entries: np.ndarray
    groups: np.ndarray
    firsts: np.ndarray
    count: int
    groups_of_four: int

    @property
    def nbytes(self) -> int:
        """Bytes that stay in memory."""
        return self.entries.nbytes + self.groups.nbytes + self.firsts.nbytes

    @property
    def sum_type(self) -> type:
        """What holds all sums."""
        return np.int16 if self.count <= 16 else np.int32

    def pays(self, pixels: int, steps: int) -> bool:
        """Return whether that many pixels and steps, of all samples, are run sooner than by looking up sums."""
        each = len(self.entries) / max(1, len(self.firsts) - 1)
        return _pays(each, self.groups_of_four, pixels, steps)


def together(steps: int) -> int:
    """Return how many parts of 64 pixels have a whole number of quads of units."""
    return UNITS // math.gcd(UNITS, steps)


def _pays(entries: float, groups: int, pixels: int, steps: int) -> bool:
    rounds = -(-pixels // (LANES * together(steps)))
    used = pixels * steps / (rounds * together(steps) * steps * LANES)
    return NEURONS + ENTRY * entries < CLEARLY * used * (LISTS + GROUP * groups)


def sparse_weights(values: np.ndarray, taps: int, bound: int) -> SparseWeights | None:
    """Return whole weights (out, inputs · taps) of a layer that is given whole numbers up to ``bound``.

    None where they do not pay, however many pixels there are.
    """
    planes, inputs = int(bound).bit_length(), values.shape[1] // taps
    most, groups = np.abs(values), planes * taps * -(-inputs // 4)
    digits = int(np.bitwise_count(most ^ 3 * most).sum())  # of the non-adjacent form
    if not _pays(planes * digits / max(1, len(values)), groups, LANES * UNITS, UNITS):
        return None
    reach = int(most.sum(1).max(initial=0)) * bound
    count = max(LOW, reach.bit_length() + 1)
    return SparseWeights(*_entries(values, taps, planes), count, groups)


def _digits(values: np.ndarray) -> list[np.ndarray]:
    """Return the signs, -1, 0 or 1, of every digit of the non-adjacent form, the lowest first."""
    found, left = list[np.ndarray](), values.copy()
    while left.any():
        sign = np.where(left & 1, 2 - (left & 3), 0)
        found.append(sign)
        left = (left - sign) >> 1
    return found


def _entries(values: np.ndarray, taps: int, planes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return entries, groups and firsts: by channel and digit, those that are added before those that are taken away.

    Each of these lists is filled up to whole blocks by the input behind the last, which is always silent.
    """
    outputs, whole = values.shape
    rows = values.reshape(outputs, -1, taps).transpose(0, 2, 1).reshape(outputs, whole)
    found = list[np.ndarray]()
    for digit, signs in enumerate(_digits(rows)):
        output, place = np.nonzero(signs)
        less = signs[output, place] < 0
        found += [np.stack([output, np.full_like(output, digit + p), less, place + p * whole]) for p in range(planes)]
    output, digit, less, entry = np.concatenate([np.zeros((4, 0), np.int64), *found], 1)
    one = 2 * (output * LANES + digit) + less  # the list it is in; digits are fewer than LANES
    order, groups = np.lexsort((entry, one)), np.unique(one // 2)
    sizes = np.bincount(np.searchsorted(groups, one // 2) * 2 + less, minlength=2 * len(groups))
    ends = np.cumsum(-(-sizes // BLOCK) * BLOCK)
    begins = np.concatenate([[0], ends])[: len(sizes)]
    kind = np.result_type(np.min_scalar_type(planes * whole), np.uint16)
    entries = np.full(int(ends.max(initial=0)), planes * whole, kind)
    within = np.arange(len(one)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    entries[np.repeat(begins, sizes) + within] = entry[order]
    firsts = np.searchsorted(groups // LANES, np.arange(outputs + 1)).astype(np.int32)
    return entries, np.stack([groups % LANES, ends[0::2], ends[1::2]], 1).astype(np.int32), firsts
