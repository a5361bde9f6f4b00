"""The compiled loops of the engine. Spikes are uint64 (pixels, steps, words), channel 64·w + i in bit i of word w.

Pixels run over all samples; a plane is one bit of the whole numbers that a layer is given, a spike has one plane.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

import numpy as np

from snnq.runtime.compiling import compiled
from snnq.runtime.stepping import run_steps, run_steps_third
from snnq.runtime.tables import PATTERNS
from snnq.runtime.vectors import (
    CHUNK,
    LANES,
    SPREAD,
    add_bits,
    fire,
    fire_fixed,
    fire_third,
    list_word,
    lowest_bit,
    spread_bits,
)

LOG2_ROW = 6
DIGIT_BITS = 3  # of event counts, which are small almost always
LARGEST_DIGIT = 2**DIGIT_BITS - 1


@compiled
def voltages_at(state, kept, pixel, block):  # pragma: no cover (compiled)
    """Return the 64 voltages of a block at a pixel: as the last step left them, or those of neurons at rest.

    ``state`` (pixels, blocks, 64) has them where they are ``kept``, else it is scratch of one, (1, 1, 64).
    """
    if kept:
        return state[pixel, block]
    mine = state[0, 0]
    mine[:] = 0
    return mine


@compiled
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


@compiled
def list_counts(frames, limit, planes, lists, lengths, begin, end):  # pragma: no cover
    """List event counts (S, T, C, H, W) for every pixel and step, as ``list_groups`` lists spikes.

    A count is taken in digits of DIGIT_BITS bits, lowest plane first; a digit d of a channel is d ones, so that a group
    is listed as often as its largest digit says. ``lists`` uint16 (planes, S·H·W, T, groups · LARGEST_DIGIT) and more
    behind, flat; ``lengths`` int32 (planes, S·H·W, T). ``begin`` and ``end`` count rows of pixels, S·H in all; counts
    above ``limit`` become it.
    """
    _, steps, channels, height, width = frames.shape
    groups = (channels + 3) // 4
    entries = groups * LARGEST_DIGIT
    for row in range(begin, end):
        sample, y = row // height, row % height
        for plane in range(planes):
            low = plane * DIGIT_BITS
            for step in range(steps):
                for x in range(width):
                    lengths[plane, row * width + x, step] = 0
                for group in range(groups):
                    for x in range(width):
                        most = 0
                        for channel in range(4 * group, min(4 * group + 4, channels)):
                            most |= min(frames[sample, step, channel, y, x], limit)
                        if (most >> low) & LARGEST_DIGIT == 0:
                            continue
                        pixel = row * width + x
                        at = ((plane * lengths.shape[1] + pixel) * steps + step) * entries
                        found = lengths[plane, pixel, step]
                        for ones in range(1, LARGEST_DIGIT + 1):
                            pattern = 0
                            for channel in range(4 * group, min(4 * group + 4, channels)):
                                digit = (min(frames[sample, step, channel, y, x], limit) >> low) & LARGEST_DIGIT
                                pattern |= (digit >= ones) << (channel - 4 * group)
                            if pattern == 0:
                                break
                            lists[at + found] = PATTERNS * group + pattern
                            found += 1
                        lengths[plane, pixel, step] = found


@compiled
def run_block(
    table,
    lists,
    lengths,
    entries,
    digit_bits,
    height,
    width,
    radius,
    groups,
    shift,
    offset,
    threshold,
    leak,
    sums,
    state,
    kept,
    out,
    block,
    begin,
    end,
):  # pragma: no cover
    """Run one block of 64 output channels of a layer and its neurons over the pixels from ``begin`` to ``end``.

    ``lists`` uint16, flat, has ``entries`` places for every plane, pixel and step; ``lengths`` int32 (planes, pixels,
    steps) says how many are used; each plane weighs 2^``digit_bits`` times the one before. ``radius`` is 1 for a 3×3
    kernel padded by 1, 0 for a 1×1 one. ``shift``, ``offset`` and ``threshold`` are the block's (64,); ``leak`` is 2 or
    3. ``sums`` (64,) is scratch; ``state`` and ``kept`` are as in ``voltages_at``; of the types that hold them.
    """
    planes, pixels, steps = lengths.shape
    side = 2 * radius + 1
    most = side * side
    rows = np.empty(most * entries + SPREAD + CHUNK, np.int32)
    firsts, bases = np.empty(planes * most, np.int64), np.empty(most, np.int64)
    flat, words, stride = lengths.reshape(-1), out.reshape(-1), out.shape[2]
    busy, silent = np.empty(steps, np.int32), -1
    seen = (lists, entries, flat, firsts, bases, planes, most, digit_bits, busy)
    for pixel in range(begin, end):
        place = pixel % (height * width)
        y, x, first = place // width, place % width, pixel - place
        taps = 0
        busy[:] = 0
        for i in range(max(0, radius - y), min(side, height + radius - y)):
            for j in range(max(0, radius - x), min(side, width + radius - x)):
                near = first + (y + i - radius) * width + x + j - radius
                bases[taps] = (i * side + j) * groups * PATTERNS * LANES
                for plane in range(planes):
                    firsts[plane * most + taps] = (plane * pixels + near) * steps
                    some = lengths[plane, near]
                    for step in range(steps):
                        busy[step] += some[step]
                taps += 1
        if not kept and not busy.any():  # without a spike all pixels do the same
            if silent >= 0:
                out[pixel, :, block] = out[silent, :, block]
                continue
            silent = pixel
        voltages, to = voltages_at(state, kept, pixel, block), pixel * steps * stride + block
        if leak == 2:
            run_steps(table, seen, rows, taps, steps, sums, shift, offset, threshold, voltages, words, to, stride)
        else:
            run_steps_third(table, seen, rows, taps, steps, sums, shift, offset, threshold, voltages, words, to, stride)


@compiled
def pool(spikes, height, width, window, out, begin, end):  # pragma: no cover
    """Max-pool spikes by windows: an OR. ``begin`` and ``end`` count rows of output pixels.

    ``window``: its side, how far the first one reaches over the edge, the stride, and the rows and columns of windows.
    """
    side, edge, stride, low, across = window
    flat_in, flat_out = spikes.reshape(len(spikes), -1), out.reshape(len(out), -1)
    for row in range(begin, end):
        first, y = row // low * height * width, row % low * stride - edge
        for place in range(across):
            mine, x = flat_out[row * across + place], place * stride - edge
            mine[:] = 0
            for near_y in range(max(0, y), min(height, y + side)):
                for near_x in range(max(0, x), min(width, x + side)):
                    other = flat_in[first + near_y * width + near_x]
                    for i in range(len(mine)):
                        mine[i] |= other[i]


@compiled
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


@compiled
def add_to_numbers(planes, doubling, values, begin, end):  # pragma: no cover
    """Add whole numbers in planes (planes, pixels, steps, words), 2^``doubling`` times as large, to numbers.

    ``values`` int32 (pixels, steps, 64·words); ``begin`` and ``end`` count pixels.
    """
    for pixel in range(begin, end):
        for step in range(planes.shape[2]):
            mine = values[pixel, step]
            for plane in range(len(planes)):
                for w in range(planes.shape[3]):
                    word = planes[plane, pixel, step, w]
                    if word != 0:
                        add_bits(word, plane + doubling, mine, LANES * w)


@compiled
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


@compiled
def attend(
    q, k, v, tokens, size, chunk, shift, threshold, leak, state, kept, out, sample, first, last
):  # pragma: no cover
    """Run heads of a spiking self-attention and its neurons on one sample: spikes of Q (Kᵀ V), one threshold for all.

    Whole numbers may be multiplied in any order; keys and values first is the short way. ``q``, ``k``, ``v``, ``out``
    are spikes (S·tokens, steps, words); a head has ``size`` channels. The heads are those in words ``first`` to
    ``last``, which hold no part of another. Kᵀ V is summed over ``chunk`` steps before they are answered. ``state``
    int32 (S·tokens, words, 64) has the voltages where they are ``kept``; else it is not looked at.
    """
    steps, begin, channels = q.shape[1], sample * tokens, (last - first) * LANES
    # The last head may end within a word: its product is as long as any, and nothing is ever added to the rest.
    product = np.empty((channels, size), np.int32)
    values, sums = np.empty(channels + size, np.int32), np.empty(channels + size, np.int32)
    volts = state if kept else np.zeros((tokens, last - first, LANES), np.int32)
    place, word = (begin, first) if kept else (0, 0)
    shifts, offsets = np.full(LANES, shift, np.int32), np.zeros(LANES, np.int32)
    thresholds = np.full(LANES, threshold, np.int32)
    starts = np.empty(channels, np.int64)
    for c in range(channels):
        starts[c] = c // size * size
    for step in range(steps):
        if step % chunk == 0:
            product[:] = 0
            for seen in range(step, step + chunk):
                for token in range(begin, begin + tokens):
                    for w in range(last - first):
                        spread_bits(v[token, seen, first + w], values, LANES * w)
                    for w in range(last - first):
                        left = k[token, seen, first + w]
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
                mine, voltages = sums[part], volts[place + token, word + w]
                if leak == 2:
                    fired = fire(mine, voltages, shifts, offsets, thresholds, 0)
                elif leak == 3:
                    fired = fire_third(mine, voltages, shifts, offsets, thresholds, 0)
                else:
                    fired = fire_fixed(mine, voltages, shifts, offsets, thresholds, 0, leak)
                out[begin + token, step, first + w] = fired
