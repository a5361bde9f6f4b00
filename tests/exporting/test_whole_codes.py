"""Uniform codes with half zero-points as signed integers with whole ones: the same numbers, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnq.exporting.to_compressed_tensors import MAX_BITS, whole_integers
from snnq.schemes.scheme import scheme


def params(scale, halves):
    return {"scale": torch.tensor(scale).view(-1, 1), "zero_point": torch.tensor(halves).view(-1, 1) / 2}


def test_golden_the_symmetric_grid_of_two_bits_takes_three_without_a_zero_point():
    found = whole_integers("uniform-2", torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8), params([0.5], [3]))
    assert found is not None
    assert found.codes.tolist() == [[-3, -1, 1, 3]]
    assert found.scale.tolist() == [[0.25]]
    assert found.zero_point is None
    assert found.bits == 3


def test_golden_a_whole_zero_point_beside_the_middle_keeps_its_bits_and_needs_a_zero_point():
    codes = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]], dtype=torch.uint8)
    found = whole_integers("uniform-2", codes, params([0.5, 0.5], [2, 4]))
    assert found is not None
    assert (found.bits, found.scale.tolist()) == (2, [[0.5], [0.5]])
    assert found.zero_point is not None
    assert found.zero_point.tolist() == [[-1], [0]]
    assert found.codes.tolist() == [[-2, -1, 0, 1], [-2, -1, 0, 1]]


def test_whole_zero_points_in_the_middle_take_nothing_more():
    found = whole_integers("uniform-4", torch.tensor([[0, 15]], dtype=torch.uint8), params([1.0], [16]))
    assert found is not None
    assert (found.bits, found.zero_point, found.codes.tolist()) == (4, None, [[-8, 7]])


def test_nine_bits_are_too_many():
    every = torch.arange(256, dtype=torch.uint8)[None]
    assert whole_integers("uniform-8", every, params([1.0], [255])) is None
    assert whole_integers("uniform-8", every, params([1.0], [256])) is not None
    # Codes that do not occur take no room.
    assert whole_integers("uniform-8", every[:, 100:160], params([1.0], [255])) is not None


def test_ternary_and_binary_are_two_bits_without_a_zero_point():
    scale = {"scale": torch.tensor([[0.5], [0.0]])}
    for name, codes, due in (("ternary", [0, 1, 2], [-1, 0, 1]), ("binary", [0, 1, 1], [-1, 1, 1])):
        coded = torch.tensor([codes, codes], dtype=torch.uint8)
        found = whole_integers(name, coded, scale)
        assert found is not None
        assert (found.bits, found.zero_point, found.codes[0].tolist()) == (2, None, due)
        assert torch.equal(found.scale * found.codes, scheme(name).decode(coded, scale))


@st.composite
def layers(draw):
    bits = draw(st.integers(2, 8))
    rows, n = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    codes = draw(st.lists(st.lists(st.integers(0, 2**bits - 1), min_size=n, max_size=n), min_size=rows, max_size=rows))
    halves = draw(st.lists(st.integers(-(2**bits), 2 ** (bits + 2)), min_size=rows, max_size=rows))
    scales = draw(st.lists(st.floats(2.0**-60, 2.0**60, width=32), min_size=rows, max_size=rows))
    return bits, codes, halves, scales


@given(layers())
def test_the_same_float32_numbers(case):
    bits, codes, halves, scales = case
    coded, given_params = torch.tensor(codes, dtype=torch.uint8), params(scales, halves)
    found = whole_integers(f"uniform-{bits}", coded, given_params)
    # The oracle: numpy's integers, and the bits they need with and without a zero-point.
    twice = 2 * np.array(codes) - np.array(halves)[:, None]
    whole = np.array([[v // 2 if h % 2 == 0 else v for v in row] for row, h in zip(twice, halves, strict=True)])
    low, high = np.minimum(whole.min(1), 0), np.maximum(whole.max(1), 0)
    fits = [
        b
        for b in range(bits, 33)
        if (high - low).max() < 2**b or -(2 ** (b - 1)) <= low.min() <= high.max() < 2 ** (b - 1)
    ]
    if fits[0] > MAX_BITS:
        assert found is None
        return
    assert found is not None
    assert found.bits == fits[0]
    zero = torch.zeros(len(codes), 1, dtype=torch.int8) if found.zero_point is None else found.zero_point
    for part in (found.codes, zero):
        assert part.dtype == torch.int8
        assert -(2 ** (found.bits - 1)) <= int(part.min())
        assert int(part.max()) < 2 ** (found.bits - 1)
    again = found.scale * (found.codes.float() - zero.float())
    assert torch.equal(again, scheme(f"uniform-{bits}").decode(coded, given_params))


def test_a_subnormal_scale_cannot_be_halved_exactly():
    """Why an export is read back: such a layer is refused, not rounded."""
    tiny = float(np.float32(2.0**-149))
    found = whole_integers("uniform-2", torch.tensor([[0, 3]], dtype=torch.uint8), params([tiny], [3]))
    assert found is not None
    assert found.scale.item() != pytest.approx(tiny / 2, rel=1e-9, abs=0)
