"""Channels whose weights are all zero: their unit means nothing, and costs the others nothing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.arithmetic.fixed_point import FoldedLayer, fixed_point_of
from snnq.arithmetic.integers import Neurons, neurons
from snnq.schemes.whole import Whole

ALIVE = [[1, -2, 0], [3, 0, 1]]
DEAD = [[0, 0, 0]]


def folded(rows: list[list[int]], unit: float, multiplier: float = 316.0, offset: float = 0.75) -> FoldedLayer:
    """Rows of whole weights, the last one's unit and norm as they are given."""
    units, multipliers, offsets = np.full(len(rows), 0.1), np.ones(len(rows), np.float32), np.zeros(len(rows))
    units[-1], multipliers[-1], offsets[-1] = unit, multiplier, offset
    return FoldedLayer(Whole(np.array(rows), units), multipliers, offsets.astype(np.float32))


def behind(layer: FoldedLayer) -> Neurons:
    return neurons(layer.whole, layer.multiplier, layer.offset, 1.0, bound=1)


@pytest.mark.parametrize("unit", [1e-30, 1e-19, 1e-6, 1.0, 1e30])
def test_they_make_no_other_channel_wide_or_coarser(unit: float) -> None:
    found, alone = behind(folded(ALIVE + DEAD, unit)), behind(folded(ALIVE, 0.1, 1.0, 0.0))
    assert not found.wide
    for name in ("sign", "shift", "offset", "threshold"):
        assert getattr(found, name)[:2].tolist() == getattr(alone, name).tolist()
    assert found.sign[2] == 0


def test_a_channel_of_a_weight_that_is_too_small_is_wide_still() -> None:
    assert behind(folded([*ALIVE, [0, 0, 1]], 1e-19)).wide


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**12), 2**12), st.sampled_from([1e-19, 0.1, 1e9]))
def test_they_fire_as_their_constant_current_says(offset: int, unit: float) -> None:
    """Currents of whole 1024ths, which 2^20 parts of a threshold hold exactly."""
    found = behind(folded(ALIVE + DEAD, unit, offset=offset / 1024))
    v, exact = 0, Fraction(0)
    for _ in range(16):
        u = v + int(found.offset[2])
        h = exact + (Fraction(offset, 1024) - exact) / 2
        fired = u >= int(found.threshold[2])
        assert fired == (h >= 1)
        v, exact = (0, Fraction(0)) if fired else (u >> 1, h)


@pytest.mark.parametrize("unit", [1e-19, 1.0, 1e30])
def test_their_potentials_are_their_offsets(unit: float) -> None:
    layer = folded(ALIVE + DEAD, unit)
    found = fixed_point_of(layer, 8, wide=False)
    assert layer.gain[2] == 0
    assert ((found.multiplier * 0 + found.half) >> found.shift)[2] + found.offset[2] == 192  # 0.75 · 2^8
