"""Layers that are given numbers of either sign, and neurons that put out several spikes a step.

Sums of a range of pixels, (pixels, steps, 64), are formed first, of numbers here or of lists by ``sum_lists``; what
follows them is a loop of its own.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

import numpy as np

from snnq.runtime.compiling import compiled
from snnq.runtime.layer_kernels import fire_pixel, scratch_of, sum_pixel
from snnq.runtime.tables import PATTERNS
from snnq.runtime.vectors import LANES


@compiled
def sum_numbers(table, values, size, low, across, strides, sides, edge, inputs, block, sums, begin):  # pragma: no cover
    """Form sums of numbers (pixels, steps, channels) for as many output pixels as ``sums`` has, from ``begin`` on.

    ``low`` and ``across`` are the sides of the output, ``sides`` those of the kernel; ``edge``: how many pixels of the
    input are outside its middle, where nothing is padded, else 0. With ``inputs`` 0 the layer is depth-wise, and
    ``table`` its weights (taps, lanes), flat.
    """
    height, width = size
    (tall, wide), groups, steps = sides, (inputs + 3) // 4, values.shape[1]
    for pixel in range(begin, begin + len(sums)):
        image, place = pixel // (low * across), pixel % (low * across)
        # Of the kernel's first position.
        y = place // across * strides[0] + edge[0] - tall // 2
        x = place % across * strides[1] + edge[1] - wide // 2
        mine = sums[pixel - begin]
        mine[:] = 0
        for i in range(max(0, -y), min(tall, height - y)):
            for j in range(max(0, -x), min(wide, width - x)):
                near = image * height * width + (y + i) * width + x + j
                for step in range(steps):
                    given, row = values[near, step], mine[step]
                    if inputs == 0:
                        base = (i * wide + j) * values.shape[2] + block * LANES
                        for c in range(LANES):
                            row[c] += np.int64(table[base + c]) * np.int64(given[block * LANES + c])
                    for k in range(inputs):
                        number = np.int64(given[k])
                        if number != 0:
                            at = (((i * wide + j) * groups + k // 4) * PATTERNS + (1 << (k % 4))) * LANES
                            for c in range(LANES):
                                row[c] += np.int64(table[at + c]) * number


@compiled
def sum_lists(inputs, low, across, stride, block, sums, begin):  # pragma: no cover
    """Form sums of what ``sum_pixel`` takes, for as many output pixels as ``sums`` has."""
    size, (rows, bits) = inputs[6], scratch_of(inputs)
    for pixel in range(begin, begin + len(sums)):
        image, place = pixel // (low * across), pixel % (low * across)
        y, x = place // across * stride, place % across * stride
        first = image * size[0] * size[1]
        sum_pixel(inputs, block, first, y, x, rows, bits, sums[pixel - begin])


@compiled
def keep_sums(sums, kept, out, block, begin):  # pragma: no cover
    """Keep potentials of sums: ((m · a + half) >> s) + b, int32 (pixels, steps, lanes)."""
    multiplier, half, shift, offset = kept
    for i in range(len(sums)):
        for step in range(sums.shape[1]):
            for c in range(LANES):
                kept_now = (multiplier[c] * np.int64(sums[i, step, c]) + half[c]) >> shift[c]
                out[begin + i, step, block * LANES + c] = kept_now + offset[c]


@compiled
def fire_sums(sums, neurons, leak, state, kept, out, block, begin):  # pragma: no cover
    """Let the neurons behind sums take all steps; ``state`` and ``kept`` are as in ``kernels.voltages_at``."""
    shift, offset, threshold = neurons
    for i in range(len(sums)):
        fire_pixel(sums[i], shift, offset, threshold, leak, state, kept, out, begin + i, block)


@compiled
def count_sums(sums, thresholds, out, block, begin):  # pragma: no cover
    """Count the thresholds (D, 64) that sums reach; write the bits of it, uint64 (planes, pixels, steps, words)."""
    counts = np.empty(LANES, np.int32)
    for i in range(len(sums)):
        for step in range(sums.shape[1]):
            counts[:] = 0
            for top in range(len(thresholds)):
                for c in range(LANES):
                    counts[c] += sums[i, step, c] >= thresholds[top, c]
            for plane in range(len(out)):
                word = np.uint64(0)
                for c in range(LANES):
                    word |= np.uint64((counts[c] >> plane) & 1) << np.uint64(c)
                out[plane, begin + i, step, block] = word


@compiled
def count_numbers(values, thresholds, out, begin, end):  # pragma: no cover
    """Count the thresholds (D, lanes) that whole numbers (pixels, steps, lanes) reach, as ``count_sums`` does."""
    for block in range(out.shape[3]):
        part = slice(LANES * block, LANES * (block + 1))
        count_sums(values[begin:end, :, part], thresholds[:, part], out, block, begin)


@compiled
def quantise_numbers(values, codes, out, begin, end):  # pragma: no cover
    """Write clamp((m · x + half) >> s, least, most) of numbers (pixels, steps, lanes), int32."""
    multiplier, half, shift, least, most = codes
    for i in range(begin, end):
        for step in range(values.shape[1]):
            for c in range(values.shape[2]):
                found = (np.int64(values[i, step, c]) * multiplier + half) >> shift
                out[i, step, c] = min(max(found, least), most)


@compiled
def attend_numbers(q, k, v, tokens, heads, chunk, out, begin, end):  # pragma: no cover
    """Q (Kᵀ V) of whole numbers (samples · tokens, steps, lanes), int32; ``begin`` and ``end`` count heads of samples.

    ``q`` and ``k`` have as many features a head, ``v`` and ``out`` their own; Kᵀ V is summed over ``chunk`` steps.
    """
    steps, size, wide = q.shape[1], q.shape[2] // heads, v.shape[2] // heads
    product = np.empty((size, wide), np.int32)
    for piece in range(begin, end):
        first, head = piece // heads * tokens, piece % heads
        a, e = head * size, head * wide
        for step in range(steps):
            if step % chunk == 0:
                product[:] = 0
                for seen in range(step, step + chunk):
                    for token in range(first, first + tokens):
                        for i in range(size):
                            key = k[token, seen, a + i]
                            if key != 0:
                                for j in range(wide):
                                    product[i, j] += key * v[token, seen, e + j]
            for token in range(first, first + tokens):
                mine = out[token, step]
                mine[e : e + wide] = 0
                for i in range(size):
                    query = q[token, step, a + i]
                    if query != 0:
                        for j in range(wide):
                            mine[e + j] += query * product[i, j]
