"""The compiled loops of the engine. Spikes are uint64 (pixels, steps, words), channel 64·w + i in bit i of word w.

Pixels run over all samples; a plane is one bit of the whole numbers that a layer is given, a spike has one plane.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

import numpy as np
from numba import njit

from snnq.runtime.tables import PATTERNS
from snnq.runtime.vectors import (
    CHUNK,
    LANES,
    SPREAD,
    add_bits,
    fire,
    list_word,
    lowest_bit,
    place_rows,
    spread_bits,
    sum_rows,
)

LOG2_ROW = 6
FEW = 4  # an event count up to here is added row by row


@njit(nogil=True, cache=True)
def list_groups(words, groups, lists, lengths, begin, end):  # pragma: no cover (compiled)
    """List the groups of four channels that are not silent, for every pixel and step from ``begin`` to ``end``.

    ``words`` uint64 (n, words); ``lists`` uint16 (n, groups + SPREAD): 16 · group + pattern; ``lengths`` int32 (n,).
    """
    for i in range(begin, end):
        found, mine = 0, lists[i]
        for w in range((groups + 15) // 16):
            word = words[i, w]
            if word != 0:
                found += list_word(word, 16 * PATTERNS * w, mine, found)
        lengths[i] = found


@njit(nogil=True, cache=True)
def run_block(
    table,
    lists,
    lengths,
    height,
    width,
    radius,
    groups,
    shift,
    offset,
    threshold,
    sums,
    voltages,
    out,
    block,
    begin,
    end,
):  # pragma: no cover
    """Run one block of 64 output channels of a layer and its neurons over the pixels from ``begin`` to ``end``.

    ``lists`` uint16 (planes, pixels, steps, groups + SPREAD) and ``lengths`` (planes, pixels, steps), as
    ``list_groups`` makes them; ``radius`` 1 for a 3×3 kernel padded by 1, 0 for a 1×1 one. ``shift``, ``offset`` and
    ``threshold`` are the block's (64,). ``sums`` and ``voltages`` (64,) are scratch, of the types that hold them.
    """
    planes, pixels, steps, entries = lists.shape
    side = 2 * radius + 1
    rows = np.empty(side * side * groups + SPREAD + CHUNK, np.int32)
    flat = lists.reshape(-1)
    for pixel in range(begin, end):
        place = pixel % (height * width)
        y, x, first = place // width, place % width, pixel - place
        voltages[:] = 0
        for step in range(steps):
            sums[:] = 0
            for plane in range(planes - 1, -1, -1):
                count = 0
                for i in range(max(0, radius - y), min(side, height + radius - y)):
                    for j in range(max(0, radius - x), min(side, width + radius - x)):
                        near = first + (y + i - radius) * width + x + j - radius
                        length = lengths[plane, near, step]
                        base = (i * side + j) * groups * PATTERNS * LANES
                        start = ((plane * pixels + near) * steps + step) * entries
                        for k in range(0, length, SPREAD):
                            place_rows(flat, start + k, rows, count + k, base, LOG2_ROW)
                        count += length
                for k in range(CHUNK):
                    rows[count + k] = 0  # a row of zeros
                sum_rows(table, rows, (count + CHUNK - 1) // CHUNK * CHUNK, sums, 1)
            out[pixel, step, block] = fire(sums, voltages, shift, offset, threshold, 0)


@njit(nogil=True, cache=True)
def gather_counts(frames, limit, counts, active, begin, end):  # pragma: no cover
    """Turn frames (S, T, C, H, W) into counts uint16 (S·H·W, T, C), and note in which steps a pixel has any.

    Bit t of ``active`` uint64 (S·H·W, words) is step t. ``begin`` and ``end`` count rows of pixels, S·H in all; counts
    above ``limit`` become it.
    """
    _, steps, channels, height, width = frames.shape
    for row in range(begin, end):
        sample, y = row // height, row % height
        mine = active[row * width : (row + 1) * width]
        mine[:] = 0
        for step in range(steps):
            word, bit = step >> 6, np.uint64(step & 63)
            for channel in range(channels):
                line = frames[sample, step, channel, y]
                for x in range(width):
                    value = min(line[x], limit)
                    counts[row * width + x, step, channel] = value
                    mine[x, word] |= np.uint64(value != 0) << bit


@njit(nogil=True, cache=True)
def run_counts(
    table, counts, active, height, width, radius, shift, offset, threshold, sums, voltages, out, block, begin, end
):  # pragma: no cover
    """Run one block of 64 output channels of the layer that sees event counts; silent windows cost no sums."""
    _, steps, channels = counts.shape
    groups, side = (channels + 3) // 4, 2 * radius + 1
    busy = np.empty(active.shape[1], np.uint64)
    rows = np.empty(side * side * channels * FEW + CHUNK, np.int32)
    for pixel in range(begin, end):
        place = pixel % (height * width)
        y, x, first = place // width, place % width, pixel - place
        top, bottom = max(0, radius - y), min(side, height + radius - y)
        left, right = max(0, radius - x), min(side, width + radius - x)
        busy[:] = 0
        for i in range(top, bottom):
            for j in range(left, right):
                near = first + (y + i - radius) * width + x + j - radius
                for w in range(len(busy)):
                    busy[w] |= active[near, w]
        voltages[:] = 0
        for step in range(steps):
            sums[:] = 0
            found, word, bit = 0, step >> 6, np.uint64(step & 63)
            if (busy[word] >> bit) & np.uint64(1):
                for i in range(top, bottom):
                    for j in range(left, right):
                        near = first + (y + i - radius) * width + x + j - radius
                        if (active[near, word] >> bit) & np.uint64(1) == 0:
                            continue
                        base = (i * side + j) * groups * PATTERNS * LANES
                        for channel in range(channels):
                            count = np.int64(counts[near, step, channel])
                            at = base + (channel // 4 * PATTERNS + (1 << (channel % 4))) * LANES
                            if count <= FEW:  # as many times the row: cheaper than a product
                                for k in range(FEW):
                                    rows[found + k] = at
                                found += count
                            else:
                                row = table[at : at + LANES]
                                for c in range(LANES):
                                    sums[c] += row[c] * count
                for k in range(CHUNK):
                    rows[found + k] = 0
                sum_rows(table, rows, (found + CHUNK - 1) // CHUNK * CHUNK, sums, 0)
            out[pixel, step, block] = fire(sums, voltages, shift, offset, threshold, 0)


@njit(nogil=True, cache=True)
def pool(spikes, height, width, out, begin, end):  # pragma: no cover
    """Max-pool spikes by 3×3 windows, stride 2, padding 1: an OR. ``begin`` and ``end`` count rows of output pixels."""
    low, across = (height + 1) // 2, (width + 1) // 2
    flat_in, flat_out = spikes.reshape(len(spikes), -1), out.reshape(len(out), -1)
    for row in range(begin, end):
        first, y = row // low * height * width, row % low
        for x in range(across):
            mine = flat_out[row * across + x]
            mine[:] = 0
            for near_y in range(max(0, 2 * y - 1), min(height, 2 * y + 2)):
                for near_x in range(max(0, 2 * x - 1), min(width, 2 * x + 2)):
                    other = flat_in[first + near_y * width + near_x]
                    for i in range(len(mine)):
                        mine[i] |= other[i]


@njit(nogil=True, cache=True)
def add_spikes(planes, used, spikes, begin, end):  # pragma: no cover
    """Add spikes to the whole numbers in the first ``used`` of ``planes`` (planes, n): bitwise, carries ripple up."""
    for i in range(begin, end):
        carry = spikes[i]
        for plane in range(used):
            if carry == 0:
                break
            before = planes[plane, i]
            planes[plane, i] = before ^ carry
            carry &= before


@njit(nogil=True, cache=True)
def total(planes, tokens, sums, begin, end):  # pragma: no cover
    """sums[s, c] = Σ over a sample's tokens and steps of the whole numbers in planes (planes, S·tokens, steps, words).

    ``sums`` int32 (S, 64·words); ``begin`` and ``end`` count samples.
    """
    for sample in range(begin, end):
        mine = sums[sample]
        mine[:] = 0
        for plane in range(len(planes)):
            for token in range(sample * tokens, (sample + 1) * tokens):
                for step in range(planes.shape[2]):
                    for w in range(planes.shape[3]):
                        word = planes[plane, token, step, w]
                        if word != 0:
                            add_bits(word, plane, mine, LANES * w)


@njit(nogil=True, cache=True)
def attend(q, k, v, tokens, size, shift, threshold, out, sample, first, last):  # pragma: no cover
    """Run heads of a spiking self-attention and its neurons on one sample: spikes of Q (Kᵀ V), one threshold for all.

    Whole numbers may be multiplied in any order; keys and values first is the short way. ``q``, ``k``, ``v``, ``out``
    are spikes (S·tokens, steps, words); a head has ``size`` channels. The heads are those in words ``first`` to
    ``last``, which hold no part of another.
    """
    steps, begin, channels = q.shape[1], sample * tokens, (last - first) * LANES
    # The last head may end within a word: its product is as long as any, and nothing is ever added to the rest.
    product = np.empty((channels, size), np.int32)
    values, sums = np.empty(channels + size, np.int32), np.empty(channels + size, np.int32)
    voltages = np.empty((tokens, channels), np.int32)
    shifts, offsets = np.full(LANES, shift, np.int32), np.zeros(LANES, np.int32)
    thresholds = np.full(LANES, threshold, np.int32)
    starts = np.empty(channels, np.int64)
    for c in range(channels):
        starts[c] = c // size * size
    voltages[:] = 0
    for step in range(steps):
        product[:] = 0
        for token in range(begin, begin + tokens):
            for w in range(last - first):
                spread_bits(v[token, step, first + w], values, LANES * w)
            for w in range(last - first):
                left = k[token, step, first + w]
                while left != 0:
                    c = LANES * w + lowest_bit(left)
                    left &= left - np.uint64(1)
                    row, mine = product[c], values[starts[c] : starts[c] + size]
                    for i in range(size):
                        row[i] += mine[i]
        for token in range(tokens):
            sums[:] = 0
            for w in range(last - first):
                left = q[begin + token, step, first + w]
                while left != 0:
                    c = LANES * w + lowest_bit(left)
                    left &= left - np.uint64(1)
                    row, mine = product[c], sums[starts[c] : starts[c] + size]
                    for i in range(size):
                        mine[i] += row[i]
            for w in range(last - first):
                part = slice(LANES * w, LANES * (w + 1))
                out[begin + token, step, first + w] = fire(
                    sums[part], voltages[token, part], shifts, offsets, thresholds, 0
                )
