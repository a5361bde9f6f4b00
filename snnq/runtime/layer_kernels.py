"""Layers that ``kernels.run_block`` is not made for: strided or depth-wise, max-pooled before their neurons, or kept.

All form a pixel's sums for all steps at once, ``sums`` (steps, 64), and go on from there.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

import numpy as np

from snnq.runtime.compiling import compiled
from snnq.runtime.kernels import LOG2_ROW, voltages_at
from snnq.runtime.tables import PATTERNS
from snnq.runtime.vectors import (
    CHUNK,
    LANES,
    SPREAD,
    fire,
    fire_fixed,
    fire_third,
    fire_whole,
    place_rows,
    spread_bits,
    sum_rows,
)


@compiled
def sum_pixel(inputs, block, first, y, x, rows, bits, sums):  # pragma: no cover (compiled)
    """Form the sums of one block of 64 outputs at the pixel (y, x) of the image that begins at ``first``.

    ``inputs`` are the table, ``lists``, ``lengths``, ``entries`` and ``digit_bits``, as in ``kernels.run_block``;
    ``words``; ``size``, (height, width) of the input; ``radius`` and ``groups``, as in ``kernels.run_block``. With
    ``groups`` 0 the layer is depth-wise: ``words`` are the input's bits, uint64
    (planes, pixels, steps, words), and ``table`` its weights, (taps, lanes) of all blocks, flat. ``rows`` int32 and
    ``bits`` int32 (64,) are scratch.
    """
    table, lists, lengths, entries, digit_bits, words, (height, width), radius, groups = inputs
    steps, side = sums.shape[0], 2 * radius + 1
    sums[:] = 0
    if groups == 0:
        lanes = words.shape[3] * LANES
        for i in range(max(0, radius - y), min(side, height + radius - y)):
            for j in range(max(0, radius - x), min(side, width + radius - x)):
                near = first + (y + i - radius) * width + x + j - radius
                base = (i * side + j) * lanes + block * LANES
                for plane in range(words.shape[0]):
                    for step in range(steps):
                        word = words[plane, near, step, block]
                        if word != 0:
                            spread_bits(word, bits, 0)
                            for c in range(LANES):
                                sums[step, c] += table[base + c] * (bits[c] << plane)
        return
    planes, pixels = lengths.shape[:2]
    for step in range(steps):
        for plane in range(planes - 1, -1, -1):
            count = 0
            for i in range(max(0, radius - y), min(side, height + radius - y)):
                for j in range(max(0, radius - x), min(side, width + radius - x)):
                    near = first + (y + i - radius) * width + x + j - radius
                    base = (i * side + j) * groups * PATTERNS * LANES
                    length = lengths[plane, near, step]
                    start = ((plane * pixels + near) * steps + step) * entries
                    for k in range(0, length, SPREAD):
                        place_rows(lists, start + k, rows, count + k, base, LOG2_ROW)
                    count += length
            for k in range(CHUNK):
                rows[count + k] = 0  # a row of zeros
            sum_rows(table, rows, (count + CHUNK - 1) // CHUNK * CHUNK, sums[step], digit_bits)


@compiled
def scratch_of(inputs):  # pragma: no cover
    """Return ``rows`` and ``bits`` for ``sum_pixel``."""
    side, entries = 2 * inputs[7] + 1, inputs[3]
    return np.empty(side * side * entries + SPREAD + CHUNK, np.int32), np.empty(LANES, np.int32)


@compiled
def fire_pixel(sums, shift, offset, threshold, leak, state, kept, out, pixel, block):  # pragma: no cover
    """Let 64 neurons take all steps; ``sums`` (steps, 64) are their currents before shift and offset.

    ``state`` and ``kept`` are as in ``kernels.voltages_at``.
    """
    voltages = voltages_at(state, kept, pixel, block)
    for step in range(sums.shape[0]):
        if leak == 2:
            out[pixel, step, block] = fire(sums[step], voltages, shift, offset, threshold, 0)
        elif leak == 1:
            out[pixel, step, block] = fire_whole(sums[step], voltages, shift, offset, threshold, 0)
        elif leak == 3:
            out[pixel, step, block] = fire_third(sums[step], voltages, shift, offset, threshold, 0)
        else:
            out[pixel, step, block] = fire_fixed(sums[step], voltages, shift, offset, threshold, 0, leak)


@compiled
def run_strided(inputs, stride, neurons, leak, sums, state, kept, out, block, begin, end):  # pragma: no cover
    """Run a block of a layer and its neurons over the output pixels from ``begin`` to ``end``.

    ``inputs`` are those of ``sum_pixel``; ``neurons`` shift, offset and threshold, (64,) each.
    """
    size, (rows, bits) = inputs[6], scratch_of(inputs)
    shift, offset, threshold = neurons
    low, across = (size[0] + stride - 1) // stride, (size[1] + stride - 1) // stride
    for pixel in range(begin, end):
        image, place = pixel // (low * across), pixel % (low * across)
        y, x = place // across * stride, place % across * stride
        first = image * size[0] * size[1]
        sum_pixel(inputs, block, first, y, x, rows, bits, sums)
        fire_pixel(sums, shift, offset, threshold, leak, state, kept, out, pixel, block)


@compiled
def run_pooled(inputs, neurons, leak, ring, sums, state, kept, out, block, begin, end):  # pragma: no cover
    """Run a block of a layer, the 3×3 maximum of its sums at stride 2, and its neurons.

    ``begin`` and ``end`` count rows of output pixels. ``ring`` (3, width, steps, 64) holds the rows of sums that are
    needed; row r of an image lies at r % 3.
    """
    size, (rows, bits) = inputs[6], scratch_of(inputs)
    shift, offset, threshold = neurons
    height, width = size
    low, across = (height + 1) // 2, (width + 1) // 2
    made = -1  # the last row of sums that there is
    for row in range(begin, end):
        image, y = row // low, row % low
        first = image * height * width
        if y == 0 or row == begin:
            made = 2 * y - 2
        while made < min(height - 1, 2 * y + 1):
            made += 1
            if made >= 0:
                for x in range(width):
                    mine = ring[made % 3, x]
                    sum_pixel(inputs, block, first, made, x, rows, bits, mine)
        for x in range(across):
            some = False
            for near_y in range(max(0, 2 * y - 1), min(height, 2 * y + 2)):
                for near_x in range(max(0, 2 * x - 1), min(width, 2 * x + 2)):
                    other = ring[near_y % 3, near_x]
                    for step in range(sums.shape[0]):
                        for c in range(LANES):
                            sums[step, c] = max(sums[step, c], other[step, c]) if some else other[step, c]
                    some = True
            fire_pixel(sums, shift, offset, threshold, leak, state, kept, out, row * across + x, block)


@compiled
def keep_block(inputs, stride, kept, sums, out, block, begin, end):  # pragma: no cover
    """Run a block of a layer and keep its potentials: ((m · a + half) >> s) + b, int32 (pixels, steps, lanes).

    ``kept`` are m, half, s and b, int64 (64,) each; ``begin`` and ``end`` count output pixels.
    """
    size, (rows, bits) = inputs[6], scratch_of(inputs)
    multiplier, half, shift, offset = kept
    low, across = (size[0] + stride - 1) // stride, (size[1] + stride - 1) // stride
    for pixel in range(begin, end):
        image, place = pixel // (low * across), pixel % (low * across)
        y, x = place // across * stride, place % across * stride
        first = image * size[0] * size[1]
        sum_pixel(inputs, block, first, y, x, rows, bits, sums)
        for step in range(sums.shape[0]):
            mine = out[pixel, step, block * LANES : (block + 1) * LANES]
            for c in range(LANES):
                mine[c] = ((multiplier[c] * np.int64(sums[step, c]) + half[c]) >> shift[c]) + offset[c]


@compiled
def fire_numbers(values, shift, threshold, leak, state, kept, out, begin, end):  # pragma: no cover
    """Let neurons take all steps of whole numbers (pixels, steps, lanes), of which all have one unit.

    ``threshold`` (lanes,) and ``state`` are of the numbers' type, ``state`` and ``kept`` as in ``kernels.voltages_at``;
    ``begin`` and ``end`` count pixels.
    """
    shifts, offsets = np.empty(LANES, threshold.dtype), np.zeros(LANES, threshold.dtype)
    shifts[:] = shift
    for pixel in range(begin, end):
        for block in range(out.shape[2]):
            part = slice(LANES * block, LANES * (block + 1))
            limits, voltages = threshold[part], voltages_at(state, kept, pixel, block)
            for step in range(values.shape[1]):
                mine = values[pixel, step, part]
                if leak == 2:
                    out[pixel, step, block] = fire(mine, voltages, shifts, offsets, limits, 0)
                elif leak == 1:
                    out[pixel, step, block] = fire_whole(mine, voltages, shifts, offsets, limits, 0)
                elif leak == 3:
                    out[pixel, step, block] = fire_third(mine, voltages, shifts, offsets, limits, 0)
                else:
                    out[pixel, step, block] = fire_fixed(mine, voltages, shifts, offsets, limits, 0, leak)


@compiled
def pool_numbers(values, height, width, window, out, begin, end):  # pragma: no cover
    """Max-pool whole numbers by windows, as ``kernels.pool`` does spikes."""
    side, edge, stride, low, across = window
    for row in range(begin, end):
        first, y = row // low * height * width, row % low * stride - edge
        for place in range(across):
            mine, x, some = out[row * across + place], place * stride - edge, False
            for near_y in range(max(0, y), min(height, y + side)):
                for near_x in range(max(0, x), min(width, x + side)):
                    other = values[first + near_y * width + near_x]
                    for step in range(mine.shape[0]):
                        for c in range(mine.shape[1]):
                            mine[step, c] = max(mine[step, c], other[step, c]) if some else other[step, c]
                    some = True
