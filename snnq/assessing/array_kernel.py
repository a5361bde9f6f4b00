"""The compiled loop by which arrays are read: bits of the inputs, column sums, converters, shift and add.

A spiking network drives few rows. A column's sum is formed over the driven rows alone, and a read without any is not
made. That is faster than a product of matrices, and sums of whole numbers are the same.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from snnq.runtime.compiling import compiled


class OperandWiring(NamedTuple):
    """How an operand lies in arrays and is read.

    ``planes`` bits of an input, each of ``signs`` by itself; arrays of so many ``rows``; of ``groups`` of an operand,
    ``together`` share an array. ``slices`` of a number, each ``base`` times the one before; ``paired``: numbers below
    zero have columns of their own, else a reference column of cells of 0 in each array, of so many ``columns``, is
    taken away. ``zero``: what a cell of 0 conducts; ``whole``: rounded over a column. ``step`` and ``top``: the
    converters', -1 where they give every sum; ``sigma``: read noise.
    """

    planes: int
    signs: int
    rows: int
    groups: int
    together: int
    slices: int
    base: int
    paired: bool
    columns: int
    zero: np.float32
    whole: bool
    step: np.float32
    top: int
    sigma: np.float32


@compiled
def drive(inputs, plane, turned, start, stop, driven):  # pragma: no cover (compiled)
    """Write the rows from ``start`` that a bit of ``inputs`` (K,) drives into ``driven``; return how many they are."""
    count = 0
    for k in range(start, stop):
        driven[count] = k
        count += max(turned * inputs[k], 0) >> plane & 1
    return count


@compiled
def convert(sums, idle, wiring, histogram):  # pragma: no cover (compiled)
    """Turn column sums, without ``idle`` that cells of 0 add, into what converters give; return how many clip."""
    clipped, half, most = 0, np.float32(0.5), np.float32(wiring.top)
    for c in range(len(sums) if len(histogram) else 0):
        histogram[min(max(np.int64(np.rint(sums[c] + idle)), 0), len(histogram) - 1)] += 1
    if wiring.top < 0:
        for c in range(len(sums)):
            sums[c] += idle
        return clipped
    for c in range(len(sums)):
        steps = np.floor((sums[c] + idle) / wiring.step + half)
        clipped += steps > most
        sums[c] = min(max(steps, np.float32(0)), most) * wiring.step
    return clipped


@compiled
def add_read_noise(sums, cells, driven, others, wiring, random):  # pragma: no cover (compiled)
    """Add σ √(Σ x G²) N(0, 1) to column sums of ``cells`` (K, columns); ``others`` cells of 0 are driven, too."""
    power = np.full(len(sums), wiring.zero**2 * np.float32(others), np.float32)
    for k in driven:
        for c in range(len(sums)):
            power[c] += (cells[k, c] + wiring.zero) ** 2
    for c in range(len(sums)):
        sums[c] += wiring.sigma * np.sqrt(power[c]) * np.float32(random.standard_normal())


@compiled
def read(operand, driven, lengths, wiring, sums, weight, random, histogram, out):  # pragma: no cover (compiled)
    """Read an array once, for its groups' ``operand`` (together, K, columns); return how many sums are clipped.

    ``out`` (together, N) gets ``weight`` times what comes of the columns. Row numbers stand in ``driven``.
    """
    ones, outputs, clipped = 0, out.shape[1], 0
    blank = np.zeros(1 if wiring.paired else (len(sums) - 1) // wiring.columns + 1, np.float32)
    for g in range(len(operand)):
        ones += lengths[g]
    idle = wiring.zero * np.float32(ones)
    if wiring.whole:
        idle = np.float32(np.floor(idle + np.float32(0.5)))
    if not wiring.paired:
        if wiring.sigma > 0:
            add_read_noise(blank, operand[0], driven[0, :0], ones, wiring, random)
        clipped += convert(blank, idle, wiring, histogram)
    for g in range(len(operand)):
        rows, factor = driven[g, : lengths[g]], weight
        sums[:] = 0
        for k in rows:
            for c in range(len(sums)):
                sums[c] += operand[g, k, c]
        if wiring.sigma > 0:
            add_read_noise(sums, operand[g], rows, ones - len(rows), wiring, random)
        clipped += convert(sums, idle, wiring, histogram)
        for s in range(wiring.slices):
            for n in range(outputs):
                c = s * outputs + n
                other = sums[wiring.slices * outputs + c] if wiring.paired else blank[c // wiring.columns]
                out[g, n] += factor * (np.float64(sums[c]) - other)
            factor *= wiring.base
    return clipped


@compiled
def read_arrays(values, cells, first, last, wiring, random, clipped, histogram, out):  # pragma: no cover (compiled)
    """Add to ``out`` float64 (B, M, N) the products of the inputs from ``first`` to ``last`` of M.

    ``values`` int32 (B, M, K), ``cells`` float32 (B, K, signs · slices · N). ``clipped`` (1,) counts sums that are
    clipped, ``histogram`` all of them, where it has a length.
    """
    inputs, most = values.shape[2], min(wiring.together, wiring.groups)
    driven, lengths = np.empty((most, min(wiring.rows, inputs)), np.int64), np.empty(most, np.int64)
    sums = np.empty(cells.shape[2], np.float32)
    for place in range(len(values) // wiring.groups * -(-wiring.groups // most)):
        at, left = divmod(place, -(-wiring.groups // most))
        begin = at * wiring.groups + left * most
        end = min(begin + most, (at + 1) * wiring.groups)
        for m in range(first, last):
            for sign in range(wiring.signs):
                turned, there = 1 - 2 * sign, 0
                for b in range(begin, end):
                    for k in range(inputs):
                        there |= max(turned * values[b, m, k], 0)
                for plane in range(wiring.planes):
                    weight = np.float64(turned * (1 << plane))
                    for start in range(0, inputs, wiring.rows):
                        stop, ones = min(start + wiring.rows, inputs), 0
                        for b in range(begin, end if there >> plane & 1 else begin):
                            lengths[b - begin] = drive(values[b, m], plane, turned, start, stop, driven[b - begin])
                            ones += lengths[b - begin]
                        if ones:
                            part = out[begin:end, m]
                            operand = cells[begin:end]
                            clipped[0] += read(operand, driven, lengths, wiring, sums, weight, random, histogram, part)
                        elif len(histogram):
                            histogram[0] += len(sums) * (end - begin) + (0 if wiring.paired else 1)
