"""Grids that weights lie on already: found to the last bit, or said that there are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.schemes.fitting.found import found_grid
from snnq.schemes.scheme import scheme


def test_by_hand() -> None:
    """Steps of a tenth, codes 3, -8, 7 and 0; odd halves of a step of 3; steps of 4; zeros are on any grid."""
    rows = torch.tensor([[3.0, -8.0, 7.0, 0.0], [1.5, -1.5, 4.5, -4.5], [8.0, -4.0, 4.0, 0.0], [0.0] * 4])
    rows[0] *= 0.1
    params, exact = found_grid(scheme("uniform-4"), rows)
    assert exact.all()
    assert params["scale"].flatten()[:3].tolist() == [pytest.approx(0.1), 3.0, 4.0]
    assert params["zero_point"].flatten()[:3].tolist() == [8.0, 1.5, 8.0]
    one = scheme("uniform-4")
    assert torch.equal(one.decode(one.encode(rows, params), params), rows)


def test_what_lies_on_none_is_told_by_channel() -> None:
    rows = torch.tensor([[1.0, 2.0, 16.0], [1.0, 2.0, 3.0], [1.0, 2.0, 17.5], [1.0, 2.0, 3.000001]])
    _, exact = found_grid(scheme("uniform-4"), rows)
    assert exact.tolist() == [True, True, False, False]
    _, exact = found_grid(scheme("uniform-2"), rows)
    assert exact.tolist() == [False, True, False, False]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4, 8]), st.integers(1, 40))
def test_learned_steps_are_found(seed: int, bits: int, inputs: int) -> None:
    """An oracle of its own: W = round(clamp(w/α, -2^(b-1), 2^(b-1) - 1)) · α in numpy's float32, divided by 4."""
    draw = np.random.default_rng(seed)
    alpha = draw.uniform(1e-4, 2.0, (5, 1)).astype(np.float32)
    codes = draw.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (5, inputs)).astype(np.float32)
    rows = codes * alpha * np.float32(0.25)
    one = scheme(f"uniform-{bits}")
    params, exact = found_grid(one, torch.from_numpy(rows))
    assert exact.all()
    decoded = one.decode(one.encode(torch.from_numpy(rows), params), params)
    assert np.array_equal(decoded.numpy(), rows)
    # The step is alpha's, or a whole number of it where no code needs a finer one.
    times = params["scale"].numpy() / (alpha * 0.25)
    some = np.abs(rows).max(1) > 0
    assert np.abs(times / np.round(times) - 1)[some].max(initial=0) < 1e-6


@pytest.mark.parametrize("name", ["power-of-two-4", "power-of-two-2", "ternary", "binary"])
def test_other_formats_keep_what_they_gave(name: str) -> None:
    one, weight = scheme(name), torch.randn(6, 30, generator=torch.Generator().manual_seed(1))
    rows = one.project(weight, one.stored(one.fit(weight)))[0]
    params, exact = found_grid(one, rows)
    assert exact.all()
    assert torch.equal(one.decode(one.encode(rows, params), params), rows)
    assert not found_grid(one, weight)[1].any()
