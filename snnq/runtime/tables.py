"""Weights as the engine keeps them, packed, and the tables of sums it makes of them while a layer runs.

Four inputs that are bits have sixteen sums of their four weights. A table holds these sums for every group of four
input channels, every tap of the kernel and 64 output channels, so that four products and additions of 64 channels are
one addition of a row, whatever the weights' format; a group that is silent costs nothing. (Lookup instead of
multiplication for quantised weights: BiQGEMM, Jeon et al. 2020.) A table lives in a worker's own scratch memory while
one block of 64 channels runs; the packed words are all that stays.

A row begins at element ((tap · groups + group) · 16 + pattern) · 64; bit i of the pattern is channel 4 · group + i.
"""

from __future__ import annotations

import numpy as np

from snnq.runtime.compiling import compiled
from snnq.runtime.vectors import LANES

PATTERNS = 16


@compiled
def complete(table, group):  # pragma: no cover (compiled)  # type: ignore[no-untyped-def]
    """Fill a group's sums from its four single weights, at patterns 1, 2, 4 and 8."""
    base = group * PATTERNS * LANES
    for bit in range(4):
        high = 1 << bit
        alone = table[base + high * LANES : base + (high + 1) * LANES]
        for low in range(1, high):
            rest = table[base + low * LANES : base + (low + 1) * LANES]
            both = table[base + (high + low) * LANES : base + (high + low + 1) * LANES]
            for c in range(LANES):
                both[c] = alone[c] + rest[c]


@compiled
def clear(table, groups):  # pragma: no cover  # type: ignore[no-untyped-def]
    """Zero the rows that no weight is written to: pattern 0, and channels or lanes past the layer's end."""
    table[: groups * PATTERNS * LANES] = 0


@compiled
def build_uniform(table, words, bits, factor, shift, first, lanes, taps, channels):  # pragma: no cover
    """Fill a block's table from uniform codes: W = factor · q - shift. ``words`` uint32 (words, out)."""
    groups, each = (channels + 3) // 4, 32 // bits
    mask = np.uint32((1 << bits) - 1)
    factors, shifts = np.zeros(LANES, np.int32), np.zeros(LANES, np.int32)
    for c in range(lanes):  # a copy of a slice takes seconds to compile
        factors[c], shifts[c] = factor[first + c], shift[first + c]
    clear(table, taps * groups)
    for tap in range(taps):
        for channel in range(channels):
            k = tap * channels + channel
            word, field = words[k // each, first : first + lanes], np.uint32(k % each * bits)
            at = ((tap * groups + channel // 4) * PATTERNS + (1 << (channel % 4))) * LANES
            row = table[at : at + lanes]
            for c in range(lanes):
                row[c] = factors[c] * np.int32((word[c] >> field) & mask) - shifts[c]
        for group in range(groups):
            complete(table, tap * groups + group)


@compiled
def build_power(table, words, bits, sign, lead, first, lanes, taps, channels):  # pragma: no cover
    """Fill a block's table from power-of-two codes: W = ± sign · 2^(k + lead), 0 for k = 0 and below 2^0."""
    groups, each = (channels + 3) // 4, 32 // bits
    mask = np.uint32((1 << bits) - 1)
    half = np.int64(1 << (bits - 1))
    signs, leads = np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    for c in range(lanes):
        signs[c], leads[c] = sign[first + c], lead[first + c]
    clear(table, taps * groups)
    for tap in range(taps):
        for channel in range(channels):
            k = tap * channels + channel
            word, field = words[k // each, first : first + lanes], np.uint32(k % each * bits)
            at = ((tap * groups + channel // 4) * PATTERNS + (1 << (channel % 4))) * LANES
            row = table[at : at + lanes]
            for c in range(lanes):
                code = np.int64((word[c] >> field) & mask)
                exponent = code & (half - 1)
                power = exponent + leads[c]
                value = (np.int64(1) << power) if exponent > 0 and power >= 0 else np.int64(0)
                row[c] = (-value if code >= half else value) * signs[c]
        for group in range(groups):
            complete(table, tap * groups + group)


@compiled
def build_whole(table, weights, first, lanes, taps, channels):  # pragma: no cover
    """Fill a block's table from whole numbers (k, out)."""
    groups = (channels + 3) // 4
    clear(table, taps * groups)
    for tap in range(taps):
        for channel in range(channels):
            weight = weights[tap * channels + channel, first : first + lanes]
            at = ((tap * groups + channel // 4) * PATTERNS + (1 << (channel % 4))) * LANES
            for c in range(lanes):
                table[at + c] = weight[c]
        for group in range(groups):
            complete(table, tap * groups + group)


@compiled
def build_fixed(table, weights, scale, first, lanes, taps, channels):  # pragma: no cover
    """Fill a block's table from float32 weights (k, out) in fixed point: W = round(w · scale), scale = ±2^n or 0."""
    groups = (channels + 3) // 4
    clear(table, taps * groups)
    for tap in range(taps):
        for channel in range(channels):
            weight = weights[tap * channels + channel, first : first + lanes]
            at = ((tap * groups + channel // 4) * PATTERNS + (1 << (channel % 4))) * LANES
            row = table[at : at + lanes]
            for c in range(lanes):
                row[c] = np.int64(np.rint(np.float64(weight[c]) * scale[first + c]))
        for group in range(groups):
            complete(table, tap * groups + group)
