"""Budgets and the integer programme: against every assignment of small problems, and to the last bit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import BudgetError, UsageError
from snnq.cost.table import read_table
from snnq.network.layers import Layer
from snnq.schemes.names import PAPER_SPACE
from snnq.schemes.scheme import scheme_names
from snnq.searching.budget import allocate, check_budget, limit_costs, parse_budget, realised, shown
from snnq.searching.constraints import Constraints, resolve

NAMES = scheme_names()

TABLE = read_table()


def small(sizes):
    return tuple(
        Layer(f"block.0.attn.{'qkvp'[i]}", "attention", "linear", (size, 8), 8 * size, 64 * size, "spikes")
        for i, size in enumerate(sizes)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=2, max_size=4),
    st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True),
    st.booleans(),
    st.floats(0.05, 1.1),
    st.integers(0, 10_000),
)
def test_the_best_of_all_assignments(sizes, space, tied, share, seed):
    constraints = Constraints(ties=(("q", "k"),) if tied else ())
    choices = resolve(small(sizes), space, constraints)
    costs = limit_costs(choices.layers, choices.names, TABLE)
    scores = np.random.default_rng(seed).normal(size=(len(sizes), len(space)))
    quantity = ("avg_bits", "energy_fraction", "storage_bits")[seed % 3]
    budget = {quantity: share * float(costs[quantity].max(1).sum())}

    best = None
    for chosen in itertools.product(range(len(space)), repeat=len(sizes)):
        if tied and chosen[0] != chosen[1]:
            continue
        if realised(costs, chosen, budget)[quantity] <= budget[quantity]:
            total = sum(scores[i, k] for i, k in enumerate(chosen))
            best = total if best is None else min(best, total)
    if best is None:
        with pytest.raises(BudgetError, match="smallest possible"):
            allocate(choices, scores, costs, budget)
        return
    found = allocate(choices, scores, costs, budget)
    assert realised(costs, found, budget)[quantity] <= budget[quantity]
    assert sum(scores[i, k] for i, k in enumerate(found)) == pytest.approx(best, abs=1e-7)
    assert not tied or found[0] == found[1]


def test_several_budgets_at_once_and_their_impossibility(layers):
    choices = resolve(layers, PAPER_SPACE, Constraints())
    costs = limit_costs(choices.layers, choices.names, TABLE)
    scores = np.array(
        [[0.0 if name == "float32" else 1.0 / costs["avg_bits"][0, k] for k, name in enumerate(choices.names)]]
        * len(layers)
    )
    budget = parse_budget(["storage=9%", "energy=8%"])
    found = realised(costs, allocate(choices, scores, costs, budget), budget)
    assert all(found[name] <= limit for name, limit in budget.items())
    with pytest.raises(
        BudgetError, match=r"no plan keeps avg-bits=1\.9; the smallest possible is avg-bits=2$"
    ) as caught:
        check_budget(choices, costs, parse_budget(["avg-bits=1.9"]))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("sizes", [(92, 88, 8), (65, 91, 48), (8, 24, 7)], ids=str)
def test_the_least_that_is_possible_is_kept_whatever_its_sum_rounds_to(sizes):
    layers = small(range(1, 4)) + tuple(
        Layer(f"l.{i}", "mlp", "linear", (size, 3), 3 * size, 9 * size, "spikes") for i, size in enumerate(sizes)
    )
    choices = resolve(layers, ("uniform-2", "power-of-two-2", "uniform-4"), Constraints(locks=(("l.0", "uniform-4"),)))
    costs = limit_costs(choices.layers, choices.names, TABLE)
    scores = np.random.default_rng(0).random(costs["avg_bits"].shape)
    least = (2 * sum(one.weights for one in layers) + 2 * layers[3].weights) / sum(one.weights for one in layers)
    found = allocate(choices, scores, costs, {"avg_bits": least})
    cheap = [k for k, name in enumerate(choices.names) if name.endswith("2")]
    due = [min(cheap, key=scores[i].__getitem__) for i in range(len(layers))]
    due[3] = choices.names.index("uniform-4")
    assert found == due
    with pytest.raises(BudgetError):
        allocate(choices, scores, costs, {"avg_bits": least * (1 - 1e-9)})


def test_budgets_that_exclude_each_other():
    """Where a weight is used a thousand times, uniform-2 stores less and power-of-two-3 spends less: not both."""
    layers = tuple(Layer(f"l.{i}", "mlp", "linear", (8, 8 + i), 64_000, 64_000, "spikes") for i in range(3))
    choices = resolve(layers, ("uniform-2", "power-of-two-3"), Constraints())
    costs = limit_costs(choices.layers, choices.names, TABLE)
    uniform, shifts = costs["energy_pj"].sum(0)
    assert shifts < uniform
    check_budget(choices, costs, {"avg_bits": 2.0})
    check_budget(choices, costs, {"energy_pj": float(shifts)})
    asked = {"avg_bits": 2.0, "energy_pj": float(shifts)}
    with pytest.raises(
        BudgetError, match=r"together; with energy-pj=.* the smallest possible is avg-bits=3; with"
    ) as caught:
        check_budget(choices, costs, asked)
    # The values it names are really possible.
    named = parse_budget([caught.value.message.rpartition("possible is ")[2]])
    check_budget(choices, costs, asked | named)


def test_words_of_a_budget():
    assert parse_budget(["avg-bits=2.2", "storage=6.6%,energy=10%"]) == {
        "avg_bits": 2.2,
        "storage_fraction": pytest.approx(0.066),
        "energy_fraction": pytest.approx(0.1),
    }
    assert parse_budget(["storage-kib=4", "storage-mib=1"]) == {"storage_bits": 4 * 8192}
    for text, words in (
        ("avgbits=2", "did you mean 'avg-bits'"),
        ("storage=7", "storage=6.6%"),
        ("avg-bits=0", "above 0"),
        ("avg-bits=nan", "above 0"),
        ("energy", "energy=10%"),
    ):
        with pytest.raises(UsageError, match=words):
            parse_budget([text])


@given(st.floats(1e-4, 1e7))
def test_the_smallest_possible_value_typed_back_is_no_less(value):
    for quantity in ("avg_bits", "storage_fraction", "energy_pj"):
        [limit] = parse_budget([shown(quantity, value, up=True)]).values()
        assert limit >= value * (1 - 1e-12)


def test_costs_are_those_of_the_plan(layers):
    from snnq.plan import ModelInfo, make_plan

    choices = resolve(layers, PAPER_SPACE, Constraints())
    costs = limit_costs(choices.layers, choices.names, TABLE)
    chosen = [i % len(PAPER_SPACE) for i in range(len(layers))]
    model = ModelInfo(architecture="a", layout="l", config={})
    totals = make_plan(layers, choices.schemes(chosen), model=model, table=TABLE).totals
    for quantity, value in realised(costs, chosen, dict.fromkeys(costs, 0.0)).items():
        assert value == pytest.approx(getattr(totals, quantity), rel=1e-12)
