"""Layers of few weights that are not zero: each is read once for 64 pixels and four steps, and added in ``bit_sums``.

A silent input costs what any other does, and a weight that is zero nothing, where ``kernels`` have it the other way.
Bits are turned, so that a word has 64 pixels of one channel; what a tap of a 3×3 kernel sees is such words, shifted.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

import numpy as np

from snnq.runtime.bit_sums import UNITS, add_inputs, fire_steps, fire_steps_third, flip, write_numbers
from snnq.runtime.compiling import compiled
from snnq.runtime.vectors import LANES


@compiled
def turn(words):  # pragma: no cover (compiled)
    """Transpose 64 words of 64 bits in place: bit j of word i becomes bit i of word j."""
    width, mask = 32, np.uint64(0xFFFFFFFF)
    while width > 0:
        shift = np.uint64(width)
        for first in range(0, LANES, 2 * width):
            for i in range(first, first + width):
                other = ((words[i] >> shift) ^ words[i + width]) & mask
                words[i + width] ^= other
                words[i] ^= other << shift
        width //= 2
        mask ^= mask << np.uint64(width)


@compiled
def turn_spikes(planes, lead, turned, begin, end):  # pragma: no cover
    """Turn whole numbers in planes (planes, pixels, steps, words) to words of 64 pixels.

    ``turned`` uint64 (planes, channels, words of pixels, steps) has ``lead`` words of pixels before the first, and as
    many behind the last, which mean nothing. ``begin`` and ``end`` count parts of 64 pixels.
    """
    pixels, steps, words = planes.shape[1:]
    channels, block = turned.shape[1], np.empty(LANES, np.uint64)
    for part in range(begin, end):
        count = min(LANES, pixels - LANES * part)
        for plane in range(len(planes)):
            for w in range(words):
                for step in range(steps):
                    block[:] = 0
                    for i in range(count):
                        block[i] = planes[plane, LANES * part + i, step, w]
                    turn(block)
                    for c in range(min(LANES, channels - LANES * w)):
                        turned[plane, LANES * w + c, lead + part, step] = block[c]


@compiled
def list_vectors(turned, lead, apart, inside, parts, together, vectors, begin, end):  # pragma: no cover
    """Write what every tap sees of every channel: ``vectors`` uint64 (rounds, quads, inputs + 1, UNITS).

    A round is ``together`` parts of 64 pixels with all their steps, in quads of UNITS; what lies beyond the last of
    ``parts`` are zeros, and so is the last input. ``turned`` as in ``turn_spikes``; ``apart`` int64 (taps,), how many
    pixels behind a pixel its tap looks; ``inside`` uint64 (taps, parts), where there is a pixel. Inputs are counted by
    plane, tap and channel. ``begin`` and ``end`` count rounds.
    """
    planes, channels, _, steps = turned.shape
    taps = len(apart)
    for number in range(begin, end):
        vectors[number, :, planes * taps * channels] = 0
        for local in range(together):
            part = number * together + local
            for plane in range(planes):
                for tap in range(taps):
                    far = apart[tap] + LANES * lead
                    word, right = far // LANES + part, np.uint64(far % LANES)
                    mask = inside[tap, part] if part < parts else np.uint64(0)
                    for channel in range(channels):
                        entry, seen = (plane * taps + tap) * channels + channel, turned[plane, channel]
                        for step in range(steps):
                            found = np.uint64(0)
                            if mask != 0:
                                found = seen[word, step] >> right
                                if right != 0:
                                    found |= seen[word + 1, step] << (np.uint64(LANES) - right)
                            unit = local * steps + step
                            vectors[number, unit // UNITS, entry, unit % UNITS] = found & mask


@compiled
def sum_channel(vectors, first, weights, channel, planes, count, sums, at):  # pragma: no cover
    """sums[at : at + UNITS · 64] ← a channel's sums of UNITS units, whose inputs begin at ``first``.

    ``weights``: ``entries`` uint16 or more, inputs; ``groups`` int32 (n, 3), the digit of weights ± 2^digit, and where
    those that are added and those that are taken away end; ``firsts`` int32 (outputs + 1,), where a channel's groups
    begin. ``planes`` is scratch for ``count`` planes and SPARE.
    """
    entries, groups, firsts = weights
    planes[:] = 0
    for group in range(firsts[channel], firsts[channel + 1]):
        begin = groups[group - 1, 2] if group > 0 else 0
        digit, middle, end = groups[group]
        if middle < end:  # n - m is -(-n - 1 + m) - 1
            flip(planes, digit, count)
            add_inputs(vectors, first, entries, middle, end, planes, digit, count)
            flip(planes, digit, count)
        if begin < middle:
            add_inputs(vectors, first, entries, begin, middle, planes, digit, count)
    write_numbers(planes, count, sums, at)


@compiled
def fire_part(sums, steps, part, neurons, leak, voltages, state, kept, before, block, c, found):  # pragma: no cover
    """Let a channel's neurons at 64 pixels, from the pixel ``before`` on, take all steps.

    ``sums`` and ``found`` are of all units of a round, 64 each; ``part`` of it is run. ``neurons`` are the block's
    shift, offset and threshold, ``state`` and ``kept`` as in ``kernels.voltages_at``; ``voltages`` (64,) is scratch.
    """
    shift, offset, threshold = neurons
    at = part * steps * LANES
    voltages[:] = 0
    if kept:
        for i in range(min(LANES, len(state) - before)):
            voltages[i] = state[before + i, block, c]
    if leak == 2:
        fire_steps(sums, at, steps, shift[c], offset[c], threshold[c], voltages, found, at + c, LANES)
    else:
        fire_steps_third(sums, at, steps, shift[c], offset[c], threshold[c], voltages, found, at + c, LANES)
    if kept:
        for i in range(min(LANES, len(state) - before)):
            state[before + i, block, c] = voltages[i]


@compiled
def run_sparse(
    vectors, weights, count, shift, offset, threshold, leak, planes, sums, state, kept, out, block, begin, end
):  # pragma: no cover
    """Run one block of 64 output channels and its neurons over the rounds from ``begin`` to ``end``.

    ``vectors`` as ``list_vectors`` writes them; ``weights``, ``planes`` and ``count`` as in ``sum_channel``. ``shift``,
    ``offset`` and ``threshold`` are the block's (64,), int32; ``state`` and ``kept`` are as in
    ``kernels.voltages_at``. ``sums``, of a round's units, 64 each, is scratch.
    """
    pixels, steps = out.shape[:2]
    quads, inputs = vectors.shape[1:3]
    channels, together = min(LANES, len(weights[2]) - 1 - LANES * block), quads * UNITS // steps
    flat, found = vectors.reshape(-1), np.zeros(together * steps * LANES, np.uint64)
    voltages, neurons = np.empty(LANES, threshold.dtype), (shift, offset, threshold)
    for number in range(begin, end):
        parts = min(together, (pixels + LANES - 1) // LANES - number * together)
        for c in range(channels):
            for quad in range((parts * steps + UNITS - 1) // UNITS):
                first = (number * quads + quad) * inputs
                sum_channel(flat, first, weights, LANES * block + c, planes, count, sums, quad * UNITS * LANES)
            for part in range(parts):
                before = LANES * (number * together + part)
                fire_part(sums, steps, part, neurons, leak, voltages, state, kept, before, block, c, found)
        for unit in range(parts * steps):
            words, before = found[unit * LANES : (unit + 1) * LANES], LANES * (number * together + unit // steps)
            words[channels:] = 0
            turn(words)
            for i in range(min(LANES, pixels - before)):
                out[before + i, unit % steps, block] = words[i]
