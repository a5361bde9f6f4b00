"""Rated schemes: their names and price, their grids, and the lengths of codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snnq.base.errors import UsageError
from snnq.schemes.rated import between, code_lengths, entropy, nearest_levels
from snnq.schemes.scheme import rated, scheme

GAUSSIAN = torch.randn(48, 300, generator=torch.Generator().manual_seed(0))


def test_a_rate_is_the_price_and_all_else_is_the_grids():
    one, grid = scheme("uniform-4@0.95"), scheme("uniform-4")
    assert one is scheme("uniform-4@0.950")
    assert (one.name, one.bits, one.storage_bits((3, 20))) == ("uniform-4@0.95", 0.95, pytest.approx(57))
    assert (one.family, one.width, one.grid_name) == (grid.family, grid.width, "uniform-4")
    assert one.word_bits((3, 20)) == grid.word_bits((3, 20))
    assert scheme("power-of-two-3@2").bits == 2


def test_a_rate_is_rounded_up():
    assert rated("uniform-4@3", 0.12341) == "uniform-4@0.1235"
    assert rated("uniform-4", 0.5) == "uniform-4@0.5"
    assert rated("uniform-4", 0.0) == "uniform-4@0.0001"
    assert rated("uniform-2@1", 2.01) == "uniform-2"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("uniform-4@0", "'0' is no number of bits"),
        ("uniform-4@nan", "no number of bits"),
        ("uniform-4@many", "'many' is no number of bits"),
        ("uniform-2@3", "2 bits at most"),
        ("ternary@1.7", "1.6 bits at most"),
        ("binary@0.5", "no level at zero"),
        ("float32@1", "no level at zero"),
        ("unifrom-4@1", "unknown scheme 'unifrom-4'"),
    ],
)
def test_what_is_no_rate_is_refused(name, said):
    with pytest.raises(UsageError, match=said):
        scheme(name)


RATED = ("uniform-2@1.2", "uniform-3@1", "uniform-4@0.5", "uniform-4@2.5", "power-of-two-3@1", "ternary@0.8")


@pytest.mark.parametrize("name", RATED)
def test_a_grid_is_as_coarse_as_its_rate_says(name):
    one = scheme(name)
    params = one.fit(GAUSSIAN)
    rate = float(entropy(one.encode(GAUSSIAN, params).long()))
    # A power of two is rounded to whole exponents, so that its rate moves in jumps.
    assert one.bits - (0.6 if one.family == "power-of-two" else 0.01) <= rate <= one.bits
    levels = one.grid(one.stored(params))
    assert bool((levels == 0).any(1).all())


def test_more_bits_are_more_exact():
    errors = []
    for rate in (0.25, 0.5, 1.0, 1.5, 2.0, 2.5):
        one = scheme(f"uniform-4@{rate:g}")
        errors.append(float((one.quantize(GAUSSIAN, one.fit(GAUSSIAN)) - GAUSSIAN).square().mean()))
    assert errors == sorted(errors, reverse=True)
    # At 1.5 and 2 bits the table has 0.178 and 0.091, with levels at the centroids (docs/method.md §6).
    assert errors[3] == pytest.approx(0.178, rel=0.25)
    assert errors[4] == pytest.approx(0.091, rel=0.15)


def test_where_a_weight_lies_by_hand():
    levels = torch.tensor([[-1.0, 0.0, 2.0]])
    below, share = between(torch.tensor([[-5.0, -1.0, -0.25, 0.0, 0.5, 2.0, 9.0]]), levels)
    assert below.tolist() == [[0, 0, 0, 1, 1, 1, 1]]
    assert share.tolist() == [[0.0, 0.0, 0.75, 0.0, 0.25, 1.0, 1.0]]
    assert nearest_levels(torch.tensor([[-0.25, 0.9, 1.1]]), levels).tolist() == [[1, 1, 2]]


def test_lengths_by_hand():
    # 6, 1 and 0 of 7 codes, each counted once more: 7, 2 and 1 of 10.
    found = code_lengths(torch.tensor([[0, 0, 0, 0, 0, 0, 1]]), 3)
    assert found.tolist() == pytest.approx([math.log2(10 / 7), math.log2(5), math.log2(10)])


@given(arrays(np.int64, (3, 7), elements=st.integers(0, 15)))
def test_the_entropy_is_shannons(codes):
    _, counts = np.unique(codes, return_counts=True)
    shares = counts / codes.size
    assert float(entropy(torch.from_numpy(codes))) == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-12)


@pytest.mark.parametrize(("name", "rate"), [("uniform-3", 2.45), ("uniform-3", 2.9), ("uniform-2", 1.5)])
def test_a_rate_near_all_that_levels_can_take_is_had(name, rate):
    found = scheme(name).encode(GAUSSIAN, scheme(name).coarse(GAUSSIAN, rate))
    assert float(entropy(found.long())) == pytest.approx(rate, abs=0.01)


def test_of_a_rate_beyond_its_levels_a_grid_has_the_most():
    one = scheme("uniform-3")
    most, beyond = (float(entropy(one.encode(GAUSSIAN, one.coarse(GAUSSIAN, rate)).long())) for rate in (2.9, 3.5))
    assert most < beyond <= 3
