"""Rates as a plan: what training aims at by a budget, curves around the trained rates, and errors before the hours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoints import build_tiny
from torch import nn

from snnq.base.errors import UsageError
from snnq.cost.quantities import layer_costs
from snnq.cost.table import read_table
from snnq.network.layers import layer_table
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme
from snnq.searching.budget import allocate, limit_costs
from snnq.searching.constraints import Choices
from snnq.searching.rating import (
    LEAST,
    RATES,
    Trained,
    rate_aim,
    rate_scores,
    rate_space,
    rates_of,
    trained_rates,
    water_filled,
    with_own,
)
from snnq.searching.settings import SearchSettings, parse_settings
from snnq.training.quantized import quantize_model
from snnq.training.rate import Aim, HeldRates

TABLE = read_table()


@pytest.fixture(scope="module")
def model():
    return build_tiny(seed=0).eval()


def space_of(model, **words):
    settings = parse_settings(method="rate", **words)
    return settings, rate_space(model, layer_table(model, (2, 2, 8, 8)), settings)


def test_the_default_space_is_every_rate_of_one_grid(model):
    settings, space = space_of(model, budget=["avg-bits=1"])
    assert settings.space == ("uniform-4",)
    assert space.choices.names == rates_of("uniform-4")
    assert [scheme(name).rate for name in space.choices.names] == [rate for rate in RATES if rate < 4]
    assert set(space.schemes.values()) == {"uniform-4"}
    assert space.free == space.grids.keys() == {layer.name for layer in space.choices.layers}


@pytest.mark.parametrize("limit", ["avg-bits=1.2", "storage=3.75%"])
def test_a_budget_of_storage_is_the_bits_that_locked_layers_leave(model, limit):
    settings, space = space_of(model, budget=[limit], lock=["head=uniform-4"], exclude=["patch_embed.proj_conv"])
    aim = rate_aim(space, settings, TABLE)
    layers = {layer.name: layer for layer in space.choices.layers}
    whole = sum(layer.weights for layer in layers.values())
    taken = 4 * layers["head"].weights + 32 * layers["patch_embed.proj_conv"].weights
    assert aim.target == pytest.approx(1.2 * whole - taken, rel=1e-9)
    assert aim.weights == whole
    assert aim.schemes.keys() == layers.keys() - {"head", "patch_embed.proj_conv"}
    assert aim.target
    assert aim.first == pytest.approx(aim.target / sum(layers[name].weights for name in aim.schemes))


def test_of_two_limits_the_tighter_one_is_aimed_at(model):
    both, space = space_of(model, budget=["avg-bits=3", "energy=8%"])
    target = rate_aim(space, both, TABLE).target or 0.0
    rate = target / sum(layer.weights for layer in space.choices.layers)
    spent = {name: layer_costs(layer, f"uniform-4@{rate:.4f}", TABLE)["energy_pj"] for name, layer in named(space)}
    whole = sum(layer_costs(layer, FLOAT32, TABLE)["energy_pj"] for _, layer in named(space))
    assert sum(spent.values()) / whole == pytest.approx(0.08, rel=1e-3)
    loose, space = space_of(model, budget=["avg-bits=30"])
    assert rate_aim(space, loose, TABLE).target == 4 * sum(layer.weights for layer in space.choices.layers)


def named(space):
    return [(layer.name, layer) for layer in space.choices.layers]


def test_a_trade_off_is_the_price_of_the_energy_of_a_bit(model):
    settings, space = space_of(model, trade_off=["0.7"])
    whole = sum(layer_costs(layer, FLOAT32, TABLE)["energy_pj"] for _, layer in named(space))
    weights = sum(layer.weights for _, layer in named(space))
    assert rate_aim(space, settings, TABLE).price == pytest.approx(0.7 * 640 / 32 * weights / whole, rel=1e-9)
    with pytest.raises(UsageError, match="one price for all layers"):
        parse_settings(method="rate", trade_off=["head=1"])


def test_what_has_no_rate_is_refused_by_name_before_training(model):
    with pytest.raises(UsageError, match=r"head may take float32, which has no rate"):
        space_of(model, budget=["avg-bits=1"], space=["uniform-4", "head=uniform-4,float32"])
    with pytest.raises(UsageError, match="may take binary, which has no rate"):
        space_of(model, budget=["avg-bits=1.8"], space=["binary,uniform-4"])
    with pytest.raises(UsageError, match="every layer is locked"):
        space_of(model, budget=["avg-bits=5"], lock=["*=uniform-4"])
    for method in ("drift", "random", "halving"):
        with pytest.raises(UsageError, match=f"--method {method} takes a budget"):
            SearchSettings(method=method)


def test_ties_take_one_grid_and_the_mean_of_their_rates(model):
    _, space = space_of(model, budget=["avg-bits=1"], tie=["q,k"], space=["uniform-4,power-of-two-4"])
    q, k = "block.0.attn.q", "block.0.attn.k"
    assert space.schemes[q] == space.schemes[k]
    bits = {layer.name: 1.0 * layer.weights for _, layer in named(space)} | {q: 2.0 * 256, k: 1.0 * 256}
    rates = trained_rates(space, Trained(bits, 0.1))
    assert rates[q] == rates[k] == 1.5
    choices, own = with_own(space, rates)
    assert own is not None
    chosen = choices.schemes(own)
    assert chosen[q] == chosen[k] == f"{space.schemes[q]}@1.5"
    grids = {name: scheme(one).grid_name for name, one in chosen.items()}
    assert grids == space.schemes
    for row, name in zip(choices.allowed, grids, strict=True):  # a layer keeps to the grid it was trained on
        assert {scheme(choices.names[k]).grid_name for k in np.flatnonzero(row)} == {grids[name]}


def test_a_few_rates_in_a_space_are_all_that_a_plan_may_take(model):
    _, space = space_of(model, budget=["avg-bits=1"], space=["uniform-4", "head=uniform-4@0.5,uniform-4@2"])
    assert space.schemes["head"] == "uniform-4"
    assert "head" in space.grids.keys() - space.free
    choices, own = with_own(space, dict.fromkeys(space.schemes, 1.1))
    assert own is None
    assert {choices.names[k] for k in np.flatnonzero(choices.allowed[-1])} == {"uniform-4@0.5", "uniform-4@2"}


@given(rates=st.lists(st.floats(LEAST, 3), min_size=2, max_size=6), share=st.floats(0.3, 1.5))
def test_water_filling_moves_all_rates_alike_and_spends_the_bits(rates, share):
    names = [str(i) for i in range(len(rates))]
    weights = {name: 100 * (i + 1) for i, name in enumerate(names)}
    before = dict(zip(names, rates, strict=True))
    least = LEAST * sum(weights.values())
    bits = max(share * math.fsum(before[name] * weights[name] for name in names), least * 1.01)
    found = water_filled(before, weights, bits)
    assert math.fsum(found[name] * weights[name] for name in names) == pytest.approx(bits, rel=1e-6)
    steps = [found[name] - before[name] for name in names if found[name] > LEAST]
    assert max(steps) - min(steps) < 1e-9


def test_a_bit_is_worth_the_price_at_the_trained_rates_and_solving_is_water_filling(layers):
    rates = {layer.name: 0.6 + 0.1 * i for i, layer in enumerate(layers)}
    names = tuple(f"uniform-4@{rate:.2f}" for rate in np.arange(0.3, 2.4, 0.02))
    choices = Choices(layers, names, np.ones((len(layers), len(names)), bool), tuple(range(len(layers))))
    scores, whole = rate_scores(choices, rates, 0.2), sum(layer.weights for layer in layers)
    bits = np.array([scheme(name).rate for name in names])
    for layer, row in zip(layers, scores, strict=True):
        slope = np.interp(rates[layer.name], bits, np.gradient(row, bits))
        assert slope == pytest.approx(-0.2 * layer.weights / whole, rel=0.01)
    sizes = {layer.name: layer.weights for layer in layers}
    budget = {"avg_bits": 1.4}
    expected = water_filled(rates, sizes, 1.4 * whole)
    chosen = allocate(choices, scores, limit_costs(layers, names, TABLE), budget)
    for layer, k in zip(layers, chosen, strict=True):
        if layer.weights > 200:  # of the smallest the programme makes change
            assert bits[k] == pytest.approx(expected[layer.name], abs=0.05)


def test_held_rates_keep_every_layer_at_its_own():
    torch.manual_seed(0)
    layers = [nn.Linear(64, 64), nn.Linear(64, 64)]
    model = nn.Sequential(*layers)
    forms = {"0": scheme("uniform-4@0.5"), "1": scheme("uniform-4@1.5")}
    aim = Aim(forms, 8192, target=2 * 4096, each=True)
    model = quantize_model(model, {name: one.name for name, one in forms.items()}, aim.begin)
    rate = aim.rate(model)
    assert isinstance(rate, HeldRates)
    goal, given = [one.weight.detach().clone() for one in layers], torch.optim.Adam(model.parameters(), lr=1e-3)
    bits = torch.zeros(())
    for step in range(60):
        given.zero_grad()
        # A task that asks for more bits than each layer may take.
        task = sum((one.weight - 2 * wanted).square().sum() for one, wanted in zip(layers, goal, strict=True))
        price, bits = rate.loss(step / 60)
        (task + price).backward()
        given.step()
    found = [bits / 4096 for bits in rate.bits().values()]
    assert found == pytest.approx([0.5, 1.5], rel=0.1)
    assert float(bits) == pytest.approx(sum(found) / 2, rel=0.1)
    assert "targets" not in rate.state_dict()  # they are the plan's
