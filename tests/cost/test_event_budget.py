"""What plans are expected to take by events: amounts worked by hand, and one sum for solver, plan and report."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import PlanError
from snnq.cost.activity import (
    Activity,
    AttentionActivity,
    FloatActivity,
    LayerActivity,
    MixingRecord,
    NeuronActivity,
)
from snnq.cost.events import event_costs, event_costs_beside, event_energy, planned_events
from snnq.cost.quantities import EVENT_ENERGY, declared, known, layer_costs, side_by_side
from snnq.cost.table import read_table
from snnq.network.layers import Layer
from snnq.network.products import Products
from snnq.plan import ModelInfo, Plan, make_plan
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme_names
from snnq.schemes.zeros import expected_zeros
from snnq.searching.budget import limit_costs

FC = Layer("block.0.mlp.fc1", "mlp", "linear", (8, 4), 64, 64, "spikes")
HEAD = Layer("head", "head", "linear", (3, 8), 24, 24, "reals")
LAYERS = (FC, HEAD)
SPARSE, DENSE = read_table("horowitz-45nm-sparse"), read_table()


def seen(layer, counts, effective=1.0):
    events = tuple(float(layer.rows) * count for count in counts)
    fewer = tuple(effective * one for one in events)
    return LayerActivity(
        name=layer.name,
        inputs=8,
        outputs=16,
        largest=1.0,
        nonzero=tuple(counts),
        synaptic_operations=events,
        additions=events,
        effective_operations=fewer,
        effective_additions=fewer,
    )


def floats(effective=1.0, zeros=None):
    """A float model of two layers, ten neurons and one attention: two steps; its packed form is in whole numbers."""
    activity = Activity(
        data="typed",
        split="train",
        samples=1,
        steps=2,
        arithmetic="float",
        layers=(seen(FC, (4.0, 2.0), effective), seen(HEAD, (5.0,), effective)),
        neurons=(NeuronActivity(name="lif", neurons=10, spikes=(2.0, 1.0)),),
        attentions=(AttentionActivity(name="attn", first=(4.0, 2.0), second=(3.0, 0.0), largest=5),),
    )
    mixing = MixingRecord(name="attn", order="keys", heads=2, tokens=3, width=4, steps=2, scale=0.25, scaled="operand")
    return FloatActivity(
        data_sha256="0" * 64, arithmetic="integer", activity=activity, attentions=(mixing,), zeros=zeros or {}
    )


def expected_pj(schemes, table):
    found = planned_events(LAYERS, schemes, table)
    assert found is not None
    return found.total.energy_pj


def plan_of(schemes, table=DENSE):
    names = dict(zip((one.name for one in LAYERS), schemes, strict=True))
    info = ModelInfo(architecture="a", layout="a", config={})
    return make_plan(LAYERS, names, model=info, table=table.on(floats()))


def test_golden_layer_and_what_stands_beside_it():
    table = DENSE.on(floats())
    # 48 additions of 0.1 pJ (float32: 0.9), 32 weights of 2 (32) bits at 20 pJ.
    assert event_costs(FC, "uniform-2", table) == {EVENT_ENERGY.key: pytest.approx(4.8 + 1280)}
    assert event_costs(FC, FLOAT32, table) == {EVENT_ENERGY.key: pytest.approx(43.2 + 20480)}
    # 20 updates: two shifts and three additions (0.56 pJ), or 11 pJ in float. 9 additions of 0.1 pJ in the attention,
    # 2 · 2 steps · 2 heads · 16 entries of 2 bits at 5 / 32 pJ; of the float model, the constant is a shift of 0.13 pJ.
    local = 2 * 128 * 5 / 32
    assert event_costs_beside(table, True) == {EVENT_ENERGY.key: pytest.approx(20 * 0.56 + 0.9 + local)}
    assert event_costs_beside(table, False) == {EVENT_ENERGY.key: pytest.approx(20 * 11 + 0.9 + 64 * 0.13 + local)}


def test_golden_zeros_that_are_skipped():
    table = SPARSE.on(floats())
    zeros = expected_zeros("ternary")
    # The ternary grid of least squared error has its threshold at 0.612 standard deviations: P(|w| < 0.612) = 0.4595.
    # A weight is billed as a power of two, 0.124 pJ; 32 of them take 1.6 bits each at 20 pJ.
    assert zeros == pytest.approx(0.4595, abs=0.002)
    assert event_costs(FC, "ternary", table)[EVENT_ENERGY.key] == pytest.approx(48 * (1 - zeros) * 0.124 + 1024)
    assert event_costs(FC, "uniform-2", table) == event_costs(FC, "uniform-2", DENSE.on(floats()))
    # Where the float weights were looked at, their own share counts.
    own = SPARSE.on(floats(zeros={FC.name: {"ternary": 0.75}}))
    assert event_costs(FC, "ternary", own)[EVENT_ENERGY.key] == pytest.approx(12 * 0.124 + 1024)
    # Weights of the float model that are zero already are zero under every scheme.
    pruned = SPARSE.on(floats(0.25))
    assert event_costs(FC, "ternary", pruned)[EVENT_ENERGY.key] == pytest.approx(12 * 0.124 + 1024)
    assert event_costs(FC, FLOAT32, pruned)[EVENT_ENERGY.key] == pytest.approx(12 * 0.9 + 32 * 32 * 20)
    assert event_costs(HEAD, FLOAT32, pruned)[EVENT_ENERGY.key] == pytest.approx(0.25 * 15 * 4.6 + 24 * 32 * 20)


@pytest.mark.parametrize("rate", [0.3, 1.0, 1.8])
def test_a_rate_tells_its_zeros(rate):
    # Another way: steps of a grid about zero, on a Gaussian's probabilities, until their entropy is the rate.
    def shares(step):
        edges = np.array([-math.inf, *(step * (k + 0.5) for k in range(-7, 7)), math.inf])
        below = np.array([0.5 * (1 + math.erf(edge / math.sqrt(2))) for edge in edges])
        return np.diff(below)

    low, high = 1e-2, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        found = shares(middle)
        entropy = -(found * np.log2(np.maximum(found, 1e-300))).sum()
        low, high = (middle, high) if entropy > rate else (low, middle)
    assert expected_zeros(f"uniform-4@{rate:g}") == pytest.approx(shares(high)[7], abs=0.01)


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.sampled_from(scheme_names())] * 2),
    st.sampled_from(["inference", "step", "event"]),
    st.booleans(),
)
def test_solver_plan_and_events_have_one_sum(schemes, reuse, skips):
    events = DENSE.events.model_copy(update={"weight_reuse": reuse, "skips_zeros": skips})
    table = DENSE.model_copy(update={"events": events}).on(floats())
    names = dict(zip((one.name for one in LAYERS), schemes, strict=True))
    expected = expected_pj(names, table)
    quantised = any(name != FLOAT32 for name in schemes)
    layers = [layer_costs(one, names[one.name], table)[EVENT_ENERGY.key] for one in LAYERS]
    beside = event_costs_beside(table, quantised)[EVENT_ENERGY.key]
    assert expected == pytest.approx(sum(layers) + beside)
    if quantised:
        costs = limit_costs(LAYERS, schemes, table)
        assert sum(costs[EVENT_ENERGY.key][i][i] for i in range(2)) == pytest.approx(expected)


def test_a_plan_holds_the_activity_and_its_costs_are_computed_from_it(tmp_path):
    plan = plan_of(("uniform-2", "uniform-4"))
    table = DENSE.on(floats())
    expected = expected_pj(plan.schemes(), table)
    whole = expected_pj(dict.fromkeys(plan.schemes(), FLOAT32), table)
    totals = plan.to_dict()["totals"]
    assert totals[EVENT_ENERGY.key] == pytest.approx(expected)
    assert totals[EVENT_ENERGY.fraction] == pytest.approx(expected / whole)
    assert EVENT_ENERGY in plan.quantities
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan
    other = Plan.read(tmp_path / "plan.json").with_schemes({"head": "uniform-2"})
    assert getattr(other.totals, EVENT_ENERGY.key) == pytest.approx(expected - 24 * 2 * 20)
    float_plan = next(one for one in plan.baselines if one.scheme == FLOAT32)
    assert getattr(float_plan, EVENT_ENERGY.fraction) == pytest.approx(1)
    parts = [getattr(group, EVENT_ENERGY.share) for group in plan.groups.values()]
    assert sum(parts) == pytest.approx(1)


def test_without_an_activity_a_plan_says_nothing_of_events():
    info = ModelInfo(architecture="a", layout="a", config={})
    plan = make_plan(LAYERS, {one.name: "uniform-2" for one in LAYERS}, model=info, table=DENSE)
    assert EVENT_ENERGY in declared()
    assert EVENT_ENERGY not in plan.quantities
    assert "activity" not in plan.to_dict()
    assert not {key for key in plan.to_dict()["totals"] if "event" in key}
    assert known({"storage_bits": 1, "energy_pj": 2.0}) == plan.quantities


def test_a_file_has_all_facts_of_an_attention():
    assert MixingRecord.model_fields.keys() == {one.name for one in fields(Products)}


def test_tables_have_one_shelf_for_the_main_quantities():
    assert [[one.name for one in shelf] for shelf in side_by_side(declared())] == [
        ["storage", "energy"],
        ["event-energy"],
        ["imc-energy"],
        ["imc-area"],
    ]


def test_what_was_measured_without_looking_for_zeros_is_not_priced_as_if_there_were_none():
    found = floats().activity
    early = tuple(
        one.model_copy(update={"effective_operations": (), "effective_additions": ()}) for one in found.layers
    )
    early = found.model_copy(update={"layers": early})
    names = {one.name: "uniform-2" for one in LAYERS}
    assert event_energy(LAYERS, names, early, (), DENSE).total.energy_pj > 0
    with pytest.raises(PlanError, match="did not look for zero weights"):
        event_energy(LAYERS, names, early, (), SPARSE)
