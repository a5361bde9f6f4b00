"""One element's inner join, match by match, with counters: what the vectorised counts are held to.

A fibre is a bitmask of the positions that are not zero and their values, packed: of spikes a word of one bit a time
step, of weights a number. Two bitmasks are joined by AND, ``chunk`` positions at once. A match's place in either list
of values is the number of set bits before it, its prefix sum. The one of the weights is fast; that of the spikes is
slow ("laggy"). So a matched weight is added at once as if the neuron had fired at every step (a match has a spike in
one of them), and waits. When its word is there, the weight is added to the correction of every step without a spike:

    O[t] = Σ_matches w − Σ_matches w · [no spike at t]

which is exact. Source: Yin et al. 2024 (LoAS, arXiv:2407.14073, §IV). Here in whole numbers, for tests and for the
check of a few outputs of every run; ``snnq.hardware.dataflows`` counts the same for all outputs at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Fibre:
    """``mask`` (K,), bool, and the ``values`` where it is set, in order."""

    mask: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Joined:
    """The sums of one output at every step, and what the element did for them.

    ``busy``: cycles of the fast side, one a match and one for a chunk without any; ``laggy``: cycles of the slow prefix
    sum; ``exposed``: cycles if nothing of that could be hidden behind the next chunk.
    """

    sums: tuple[int, ...]
    busy: int
    laggy: int
    exposed: int
    accumulates: int
    corrections: int


def spike_fibre(spikes: np.ndarray) -> Fibre:
    """Return spikes (L, K), bool, as a fibre of words of L bits, the first step in the lowest, without silent ones."""
    mask: np.ndarray = np.any(spikes, axis=0)
    words = (spikes.astype(np.int64) << np.arange(len(spikes))[:, None]).sum(0)
    return Fibre(mask, words[mask])


def weight_fibre(weights: np.ndarray) -> Fibre:
    """Return whole weights (K,) as a fibre of those that are not zero."""
    return Fibre(weights != 0, weights[weights != 0])


def unpack(fibre: Fibre, lanes: int) -> np.ndarray:
    """Return the spikes (lanes, K), bool, of a fibre of words."""
    words = np.zeros(len(fibre.mask), np.int64)
    words[fibre.mask] = fibre.values
    return (words >> np.arange(lanes)[:, None] & 1).astype(bool)


def join(spikes: Fibre, weights: Fibre, lanes: int, chunk: int, laggy_cycles: int) -> Joined:
    """Return one output's sums at ``lanes`` steps and the counters, by going through the fibres as an element does."""
    pseudo, corrections = 0, [0] * lanes
    busy = laggy = exposed = accumulates = corrected = 0
    before_spikes = before_weights = 0  # set bits of all chunks so far
    for start in range(0, len(spikes.mask), chunk):
        a, b = spikes.mask[start : start + chunk], weights.mask[start : start + chunk]
        fast, slow = np.cumsum(b) - b, np.cumsum(a) - a
        matches: list[int] = np.flatnonzero(a & b).tolist()
        waiting: list[tuple[int, int]] = []  # a matched weight and its position, until the slow prefix sum is there
        for place in matches:
            weight = int(weights.values[before_weights + fast[place]])
            pseudo += weight
            waiting.append((weight, place))
            accumulates += 1
        for weight, place in waiting:
            word = int(spikes.values[before_spikes + slow[place]])
            for step in range(lanes):
                if not word >> step & 1:
                    corrections[step] += weight
                    corrected += 1
        busy += max(1, len(matches))
        laggy += laggy_cycles if len(matches) else 0
        exposed += laggy_cycles + len(matches) if len(matches) else 1
        before_spikes, before_weights = before_spikes + int(a.sum()), before_weights + int(b.sum())
    return Joined(tuple(pseudo - one for one in corrections), busy, laggy, exposed, accumulates, corrected)
