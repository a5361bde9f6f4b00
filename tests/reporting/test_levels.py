"""Levels against the codes they are counted from: a golden layer, and all formats beside a slow count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnq.packed.coding import Coded
from snnq.reporting.run import levels_of
from snnq.schemes.format import Stored
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme, scheme_names

NAMES = scheme_names()


def test_golden_uniform():
    # s = 1 and 3, z = 1.5: levels -1.5, -0.5, 0.5, 1.5 and three times that; their medians lie half-way.
    codes = np.array([[0, 1, 1, 3], [3, 3, 3, 3]], np.uint8)
    params = {"scale": np.array([[1.0], [3.0]], np.float32), "zero_point": np.array([[1.5], [1.5]], np.float32)}
    levels = levels_of("uniform-2", Stored(codes, params))
    assert [one.value for one in levels] == [-3, -1, 1, 3]
    assert [one.share for one in levels] == [1 / 8, 2 / 8, 0, 5 / 8]
    # A tenth of the way from 1.5 to 4.5, and nine tenths of it.
    assert (levels[3].low, levels[3].high) == pytest.approx((1.8, 4.2))


def test_golden_power_of_two():
    # Code = sign << 1 | k: 0 is zero, 1 is +α, 3 is -α; α = 2^-1.
    codes = np.array([[0, 0, 1, 3, 3]], np.uint8)
    levels = levels_of("power-of-two-2", Stored(codes, {"log2_scale": np.array([[-1.0]], np.float32)}))
    assert [(one.value, one.share) for one in levels] == [(-0.5, 0.4), (0, 0.4), (0.5, 0.2)]


def test_golden_ternary_and_binary():
    params = {"scale": np.array([[0.5]], np.float32)}
    levels = levels_of("ternary", Stored(np.array([[0, 1, 1, 1, 2]], np.uint8), params))
    assert [(one.value, one.share) for one in levels] == [(-0.5, 0.2), (0, 0.6), (0.5, 0.2)]
    levels = levels_of("binary", Stored(np.array([[0, 1, 1, 1, 1]], np.uint8), params))
    assert [(one.value, one.share) for one in levels] == [(-0.5, 0.2), (0.5, 0.8)]


@given(st.sampled_from([name for name in NAMES if name != FLOAT32]), st.integers(0, 1000), st.integers(-60, 3))
def test_every_weight_is_counted_at_its_own_level(name, seed, octave):
    one, draw = scheme(name), torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 40, generator=draw) * 2.0**octave
    params = one.stored(one.fit(weight))
    codes = one.encode(weight, params)
    levels = levels_of(name, Coded(name, codes, params).stored())
    grid = one.grid(params)
    assert len(levels) == grid.shape[1]
    assert sum(level.share for level in levels) == pytest.approx(1)
    assert [level.value for level in levels] == pytest.approx(grid.double().median(0).values.tolist())
    # Slow count: the level nearest to each decoded weight, where the channel's levels are all different numbers.
    if all(len(row.unique()) == len(row) for row in grid):
        value = one.decode(codes, params)
        place = (value[:, :, None] - grid[:, None, :]).abs().argmin(-1)
        counts = torch.bincount(place.flatten(), minlength=grid.shape[1])
        assert [level.share for level in levels] == pytest.approx((counts / weight.numel()).tolist())
