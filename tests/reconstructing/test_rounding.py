"""Rounding as a choice between two levels: where it starts, in which order it is decided, where it ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.reconstructing.layers import (
    LearnedLayer,
    cells,
    decided,
    factor,
    inverse_sigmoid,
    most_decided,
    rectified_sigmoid,
)
from snnq.reconstructing.settings import SCHEDULES
from snnq.schemes.scheme import scheme, scheme_names

NAMES = scheme_names()

CODED = [name for name in NAMES if name != "float32"]
schemes = st.sampled_from(CODED)


def weight_of(seed, rows=4, columns=9):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def layer_of(name, seed, **kinds):
    weight = weight_of(seed)
    params = scheme(name).stored(scheme(name).fit(weight))
    return weight, params, LearnedLayer(name, weight, params, **{"scaled": False, "rounding": True, **kinds})


def test_the_rectified_sigmoid_reaches_both_ends():
    found = rectified_sigmoid(torch.tensor([-20.0, 0.0, 20.0]))
    assert found.tolist() == [0.0, 0.5, 1.0]
    assert rectified_sigmoid(torch.tensor(1.0)).item() == pytest.approx(1.2 / (1 + math.exp(-1)) - 0.1)


@given(st.floats(0, 1, width=32))
def test_its_inverse_is_the_start(fraction):
    nu = inverse_sigmoid(torch.tensor(fraction))
    assert rectified_sigmoid(nu).item() == pytest.approx(fraction, abs=1e-6)


def test_the_factor_is_exactly_one_at_the_start():
    assert factor(torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]
    assert factor(torch.tensor([-50.0, 50.0])).tolist() == pytest.approx([0.0, 2.0])


def test_cells_by_hand():
    params = {"scale": torch.tensor([[0.5]]), "zero_point": torch.tensor([[1.5]])}
    found = cells(torch.tensor([[-9.0, -0.75, -0.3, 0.0, 0.2, 0.75, 3.0]]), scheme("uniform-2"), params)
    assert found.low.tolist() == [[-0.75, -0.75, -0.75, -0.25, -0.25, 0.25, 0.25]]
    assert found.high.tolist() == [[-0.25, -0.25, -0.25, 0.25, 0.25, 0.75, 0.75]]
    assert found.fraction[0].tolist() == pytest.approx([0, 0, 0.9, 0.5, 0.9, 1, 1])
    assert found.up[0].tolist() == [False, False, True, True, True, True, True]  # 0 + 1.5 rounds to the even 2


@settings(max_examples=60, deadline=None)
@given(schemes, st.integers(0, 1000))
def test_cells_are_those_a_search_through_all_levels_finds(name, seed):
    weight, params, _ = layer_of(name, seed)
    found, levels = cells(weight, scheme(name), params), scheme(name).grid(params).numpy()
    for row in range(len(weight)):
        for column, w in enumerate(weight[row].tolist()):
            below, above = levels[row][levels[row] <= w], levels[row][levels[row] > w]
            clipped = min(max(w, levels[row][0]), levels[row][-1])
            low, high = (float(found.low[row, column]), float(found.high[row, column]))
            if len(below) and len(above):
                assert (low, high) == (below.max(), above.min())
            assert low <= np.float32(clipped) <= high
            soft = low + float(found.fraction[row, column]) * (high - low)
            assert soft == pytest.approx(clipped, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(schemes, st.integers(0, 1000))
def test_the_soft_start_is_the_clipped_float_weight(name, seed):
    weight, params, layer = layer_of(name, seed, scaled=True)
    grid = scheme(name).grid(params)
    torch.testing.assert_close(layer(), weight.clamp(grid[:, :1], grid[:, -1:]), rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(schemes, st.integers(0, 1000), st.booleans())
def test_no_flip_is_round_to_nearest(name, seed, rounding):
    weight, params, layer = layer_of(name, seed, rounding=rounding, scaled=True)
    layer.harden(0.0)
    coded, _ = layer.coded()
    assert torch.equal(coded.codes, scheme(name).encode(weight, params))
    assert torch.equal(layer().detach(), scheme(name).project(weight, params)[0])
    assert layer.facts()["flipped"] == 0


@pytest.mark.parametrize("name", ["uniform-2", "uniform-3", "power-of-two-2", "ternary", "binary"])
def test_ties_and_weights_on_the_grid_round_as_the_scheme_does(name):
    params = {"scale": torch.tensor([[1.0]]), "zero_point": torch.tensor([[1.0]]), "log2_scale": torch.tensor([[0.0]])}
    params = {key: params[key] for key in scheme(name).parameters}
    weight = torch.tensor([[-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]])
    layer = LearnedLayer(name, weight, params, scaled=False, rounding=True)
    layer.harden(0.5)
    layer.harden(0.0)
    assert torch.equal(layer.coded()[0].codes, scheme(name).encode(weight, params))


@settings(max_examples=60, deadline=None)
@given(schemes, st.integers(0, 1000), st.floats(-2, 2))
def test_what_was_evaluated_is_what_the_codes_decode_to(name, seed, moved):
    _, _, layer = layer_of(name, seed, scaled=True)
    with torch.no_grad():
        layer.nu.add_(weight_of(seed + 1) * 3)
        layer.v += moved
    layer.harden(0.0)
    (found, codes, params), by = layer.coded()
    decoded = scheme(found).decode(codes, params) * (1 if by is None else by)
    torch.testing.assert_close(layer().detach(), decoded, rtol=1e-5, atol=1e-30)
    assert (by is None) == ("scale" in scheme(name).parameters)
    assert int(codes.max()) < 2 ** scheme(name).bits


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(sorted(SCHEDULES)))
def test_decided_weights_only_become_more_and_are_the_most_decided(seed, rounds):
    _, _, layer = layer_of("uniform-4", seed)
    count, before = layer.hard.numel(), torch.zeros_like(layer.hard)
    for number, share in enumerate(SCHEDULES[rounds]):
        soft = layer.soft().detach()
        layer.harden(share)
        assert bool((layer.hard | ~before).all())
        assert int((~layer.hard).sum()) == min(int(share * count), int((~before).sum()))
        new, left = layer.hard & ~before, ~layer.hard
        if new.any() and left.any():
            assert (soft[new] - 0.5).abs().min() >= (soft[left] - 0.5).abs().max()
        frozen, before = layer()[layer.hard].detach().clone(), layer.hard.clone()
        with torch.no_grad():
            layer.nu.add_(weight_of(seed + number))
        assert torch.equal(layer()[layer.hard].detach(), frozen)


def test_decided_weights_have_no_gradient():
    _, _, layer = layer_of("uniform-2", 3, scaled=True)
    layer.harden(0.5)
    layer().square().sum().backward()
    grad = layer.nu.grad
    assert grad is not None
    assert bool((grad[layer.hard] == 0).all())
    assert bool((grad[~layer.hard] != 0).any())
    assert bool((layer.v.grad != 0).all())


def test_the_schedules_are_the_published_ones():
    assert [len(one) for one in SCHEDULES.values()] == [10, 20]
    for rounds, shares in SCHEDULES.items():
        assert rounds == len(shares)
        assert list(shares) == sorted(shares, reverse=True)
        assert shares[-1] == 0.005


def test_the_most_decided_by_hand():
    soft = torch.tensor([[0.5, 0.9, 0.05, 0.4]])
    first = most_decided(soft, torch.zeros(1, 4, dtype=torch.bool), 0.5)
    assert first.tolist() == [[False, True, True, False]]
    assert most_decided(soft, torch.tensor([[True, False, False, False]]), 0.75).tolist() == [
        [True, False, False, False]
    ]


def test_half_goes_to_the_nearest():
    half = torch.tensor([0.5, 0.5, 0.5])
    assert decided(half, half, torch.tensor([True, False, True])).tolist() == [True, False, True]
    assert decided(half, half - 0.1, torch.tensor([True, True, False])).tolist() == [False, False, False]
