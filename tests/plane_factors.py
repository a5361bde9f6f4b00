"""What bit planes count: the oracle beside ``hardware.operands.bit_planes``."""

from __future__ import annotations

import numpy as np


def plane_factors(values: np.ndarray) -> np.ndarray:
    """Return what each of ``bit_planes`` counts: ±2^p."""
    highest, lowest = int(values.max(initial=0)), int(values.min(initial=0))
    above = [2**plane for plane in range(max(1, max(highest, 0).bit_length()))]
    below = [-(2**plane) for plane in range((-lowest).bit_length())] if lowest < 0 else []
    return np.array(above + below, np.int64)
