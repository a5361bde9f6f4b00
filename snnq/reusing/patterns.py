"""Which blocks reuse: the patterns of TReX (Moitra et al. 2024), each as the places of its reusing blocks.

Of L blocks, n reuse and k = L − n have an attention of their own; the first one always does. Behind the i-th of them
(i = 1 … k) stand r_i reusing blocks:

    strided     r_i = c_i − c_{i−1}, c_i = ⌊n i / k + ½⌋                  spread evenly
    continuous  r_k = n, all others 0                                     the last blocks
    pyramid     the r_i of c_i = ⌈n i (i + 1) / (k (k + 1)) − ½⌉, sorted  the more, the deeper

TReX names the three; how it builds a pyramid is not public, so that this one is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

PATTERNS = ("strided", "continuous", "pyramid")


def patterns(blocks: int, reusing: int) -> dict[str, tuple[int, ...]]:
    """Return the places of the reusing blocks of each pattern, those that differ; of equal ones the first name stays.

    ``reusing`` of ``blocks`` reuse, 0 ≤ reusing < blocks; places count from 0.
    """
    found: dict[str, tuple[int, ...]] = {}
    own = blocks - reusing
    every = own * (own + 1)
    runs = {
        "strided": _differences(math.floor(reusing * i / own + 0.5) for i in range(own + 1)),
        "continuous": [*[0] * (own - 1), reusing],
        "pyramid": sorted(_differences(math.ceil(reusing * i * (i + 1) / every - 0.5) for i in range(own + 1))),
    }
    for name in PATTERNS:
        places = _places(runs[name])
        if places not in found.values():
            found[name] = places
    return found


def _differences(sums: Iterable[int]) -> list[int]:
    return [after - before for before, after in pairwise(sums)]


def _places(runs: Sequence[int]) -> tuple[int, ...]:
    """Return where the reusing blocks stand, with so many of them behind each block that has its own attention."""
    places, at = [], 0
    for run in runs:
        places += range(at + 1, at + 1 + run)
        at += 1 + run
    return tuple(places)
