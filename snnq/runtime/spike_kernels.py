"""Loops over spikes without weights: gates, sums and pooling inside an attention.

Spikes are uint64 (pixels, steps, words), as in ``snnq.runtime.kernels``.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

import numpy as np

from snnq.runtime.compiling import compiled
from snnq.runtime.vectors import LANES, add_bits, lowest_bit


@compiled
def sum_tokens(spikes, tokens, sums, begin, end):  # pragma: no cover (compiled)
    """sums[s, t, c] = Σ over a sample's tokens of its spikes; int32 (samples, steps, lanes)."""
    for sample in range(begin, end):
        for step in range(spikes.shape[1]):
            mine = sums[sample, step]
            mine[:] = 0
            for token in range(sample * tokens, (sample + 1) * tokens):
                for w in range(spikes.shape[2]):
                    word = spikes[token, step, w]
                    if word != 0:
                        add_bits(word, 0, mine, LANES * w)


@compiled
def sum_features(spikes, size, sums, begin, end):  # pragma: no cover
    """sums[p, t, h] = spikes of head h, which has ``size`` channels; int32 (pixels, steps, lanes)."""
    for pixel in range(begin, end):
        for step in range(spikes.shape[1]):
            mine = sums[pixel, step]
            mine[:] = 0
            for w in range(spikes.shape[2]):
                left = spikes[pixel, step, w]
                while left != 0:
                    mine[(LANES * w + lowest_bit(left)) // size] += 1
                    left &= left - np.uint64(1)


@compiled
def gate_heads(gates, spikes, size, out, begin, end):  # pragma: no cover
    """Keep the spikes of the heads whose gate fires: ``gates`` uint64 (pixels, steps, words), a bit a head."""
    for pixel in range(begin, end):
        for step in range(spikes.shape[1]):
            for w in range(spikes.shape[2]):
                left, kept = spikes[pixel, step, w], np.uint64(0)
                while left != 0:
                    lowest = lowest_bit(left)
                    head = (LANES * w + lowest) // size
                    bit = (gates[pixel, step, head // LANES] >> np.uint64(head % LANES)) & np.uint64(1)
                    kept |= bit << np.uint64(lowest)
                    left &= left - np.uint64(1)
                out[pixel, step, w] = kept
