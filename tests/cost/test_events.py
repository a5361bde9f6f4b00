import math
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import PlanError, UsageError
from snnq.cost.activity import Activity, Arithmetic, AttentionActivity, LayerActivity, NeuronActivity
from snnq.cost.energy import products_energy
from snnq.cost.events import REUSES, event_energy
from snnq.cost.table import TABLES, list_tables, read_table
from snnq.network.layers import Layer
from snnq.network.products import Products
from snnq.schemes.scheme import scheme_names

NAMES = scheme_names()
DENSE = [name for name in list_tables() if not read_table(name).events.skips_zeros]

LAYER = Layer("block.0.mlp.fc1", "mlp", "linear", (8, 4), 64, 64, "integers")
PRODUCTS = Products("block.0.attn", "keys", heads=2, tokens=3, width=4, steps=4, chunk=2, scale=0.3, scaled="operand")


def activity(
    counts, *, spikes=(2.0, 1.0), mixed=((4.0, 2.0), (3.0, 0.0)), largest=3.0, arithmetic: Arithmetic = "integer"
):
    """The activity of one layer of 8 inputs (4 channels, two tokens) with a fan-out of 8, at every step."""
    events = tuple(8.0 * count for count in counts)
    layer = LayerActivity(
        name=LAYER.name,
        inputs=8,
        outputs=16,
        largest=largest,
        nonzero=tuple(counts),
        synaptic_operations=events,
        additions=tuple(1.5 * one for one in events),
    )
    return Activity(
        data="typed",
        split="test",
        samples=1,
        steps=len(counts),
        arithmetic=arithmetic,
        layers=(layer,),
        neurons=(NeuronActivity(name="lif", neurons=10, spikes=spikes),),
        attentions=(AttentionActivity(name=PRODUCTS.name, first=mixed[0], second=mixed[1], largest=5),),
    )


def price(scheme, found, input="integers", table="horowitz-45nm", reuse="inference"):
    layer = Layer(LAYER.name, LAYER.group, LAYER.kind, LAYER.shape, LAYER.macs, LAYER.multiplications, input)
    return event_energy([layer], {layer.name: scheme}, found, (PRODUCTS,), read_table(table), reuse)


def test_golden_layer_energies_worked_by_hand():
    found = activity((4.0, 2.0))  # 48 synaptic operations, 72 additions, values up to 3
    one = price("uniform-4", found).layers[0]
    assert (one.firing_rate, one.firing_rates) == (6 / 16, (0.5, 0.25))
    assert (one.synaptic_operations, one.accumulates, one.shifts) == (48.0, 72.0, 32.0)
    assert one.compute_pj == pytest.approx(72 * 0.1 + 32 * 0.13)
    assert one.memory_pj == 32 * 4 * 20
    one = price("power-of-two-2", found).layers[0]
    assert one.compute_pj == pytest.approx(72 * 0.124 + 32 * 0.13)
    # float32 weights, and real inputs, multiply; so do no spikes.
    one = price("float32", found).layers[0]
    assert (one.multiplications, one.accumulates, one.compute_pj) == (48.0, 0.0, pytest.approx(48 * 4.6))
    one = price("uniform-4", found, "reals").layers[0]
    assert (one.multiplications, one.compute_pj) == (48.0, pytest.approx(48 * 3 * 0.3))
    one = price("uniform-4", activity((4.0, 2.0), arithmetic="float"), "reals").layers[0]
    assert (one.multiplications, one.compute_pj) == (48.0, pytest.approx(48 * 4.6))
    for scheme, each in (("float32", 0.9), ("uniform-2", 0.1), ("power-of-two-4", 0.124)):
        one = price(scheme, found, "multispikes").layers[0]
        assert (one.accumulates, one.multiplications, one.shifts) == (72.0, 0.0, 0.0)
        assert one.compute_pj == pytest.approx(72 * each)


def test_weights_are_fetched_as_the_reuse_says():
    found = activity((4.0, 2.0))
    fetched = {reuse: price("uniform-4", found, reuse=reuse).layers[0] for reuse in REUSES}
    assert {reuse: one.weight_bits_fetched for reuse, one in fetched.items()} == {
        "inference": 32 * 4,
        "step": 32 * 4 * 2,
        "event": 48 * 4,
    }
    assert fetched["step"].memory_pj == 2 * fetched["inference"].memory_pj == 32 * 4 * 2 * 20
    assert fetched["event"].memory_pj == pytest.approx(48 * 4 * 5 / 32)
    assert price("ternary", found, reuse="event").layers[0].weight_bits_fetched == pytest.approx(48 * 1.6)
    assert price("binary", found, reuse="event").layers[0].memory_pj == pytest.approx(48 * 5 / 32)
    assert price("uniform-4", found, reuse="step").weight_reuse_equation.startswith("weights · bits · T")


def test_golden_neurons_and_attention_worked_by_hand():
    events = price("uniform-4", activity((4.0, 2.0)))
    assert events.neurons[0].updates == 20
    assert events.neurons[0].firing_rate == 3 / 20
    assert events.neurons[0].energy_pj == pytest.approx(20 * (2 * 0.13 + 3 * 0.1))
    one = events.attentions[0]
    # 9 additions; two chunks, each with 2 heads of 16 entries of ⌈log2(2 · 3 + 1)⌉ = 3 bits and 48 spikes of Q.
    assert (one.accumulates, one.local_bits) == (9.0, 2 * (2 * 16 * 3 + 48))
    assert one.energy_pj == pytest.approx(9 * 0.1 + 2 * 288 * 5 / 32)
    # Neurons that compare floating-point numbers have no threshold that the constant could be folded into.
    floats = price("uniform-4", activity((4.0, 2.0), arithmetic="float"))
    assert (floats.attentions[0].multiplications, floats.attentions[0].shifts) == (64.0, 0.0)
    assert floats.attentions[0].compute_pj == pytest.approx(9 * 0.1 + 64 * 3.7)
    assert floats.neurons[0].energy_pj == pytest.approx(20 * 11.0)
    assert [part.name for part in events.parts] == ["mlp", "QKV products", "neurons"]


def test_the_papers_way_of_counting_the_same_products():
    found = products_energy(PRODUCTS, read_table())
    # Per step 2 · 2 · 3 · 4 · 4 products of whole numbers, and a quarter of the bits written and read.
    assert found.compute_pj == pytest.approx(192 * 0.3)
    assert found.memory_pj == pytest.approx(2 * 288 / 4 * 5 / 32)


def oracle_pj(scheme, found, input, name, reuse):
    """The equation of ``snnq.cost.events`` again, from the raw TOML of one table alone."""
    raw = tomllib.loads((TABLES / f"{name}.toml").read_text("utf-8"))
    cost = {key: value["energy_pj"] for key, value in raw["constants"].items()}
    own = {"float32": ("float32", 32), "ternary": ("power-of-two", 1.6), "binary": ("power-of-two", 1)}
    family, bits = own.get(scheme) or (scheme[:-2], int(scheme[-1]))
    add = sum(cost[key] for key in raw["events"]["accumulate"][family])
    multiply = sum(cost[key] for key in raw["operations"][family])
    layer = found.layers[0]
    operations, additions = sum(layer.synaptic_operations), sum(layer.additions)
    dram, local = (cost[raw["memory"][key]] / 32 for key in ("weights", "local"))
    total = {"inference": 32 * bits * dram, "step": 64 * bits * dram, "event": operations * bits * local}[reuse]
    shift = sum(cost[key] for key in raw["events"]["whole"]["shift"])
    if input in ("spikes", "ternary", "multispikes"):
        total += additions * add
    elif input == "reals" or family == "float32":
        total += operations * multiply * (1 if family == "float32" else 3)
    else:
        total += additions * add + max(0, math.floor(math.log2(max(layer.largest, 1)))) * 32 * shift
    total += 20 * sum(cost[key] for key in raw["events"]["neuron"]["integer"])
    total += 9 * sum(cost[key] for key in raw["events"]["whole"]["accumulate"]) + 2 * 288 * local
    return total


@settings(deadline=None)
@given(
    st.tuples(st.floats(0, 8), st.floats(0, 8)),
    st.sampled_from(NAMES),
    st.sampled_from(["spikes", "ternary", "multispikes", "integers", "counts", "reals"]),
    st.sampled_from(DENSE),
    st.sampled_from(list(REUSES)),
    st.integers(0, 300),
)
def test_every_energy_is_of_the_constants_of_one_table(counts, scheme, input, name, reuse, largest):
    found = activity(counts, largest=float(largest))
    events = price(scheme, found, input, name, reuse)
    assert events.total.energy_pj == pytest.approx(oracle_pj(scheme, found, input, name, reuse))
    assert (events.cost_table, events.node) == (name, read_table(name).node)
    assert {source.node for source in read_table(name).sources.values()} == {events.node}


@settings(deadline=None)
@given(
    st.tuples(st.floats(0, 8), st.floats(0, 8)),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.sampled_from(NAMES),
    st.sampled_from(["spikes", "integers", "reals"]),
    st.sampled_from(list(REUSES)),
)
def test_energy_rises_with_the_firing_rate(counts, shares, scheme, input, reuse):
    fewer = tuple(count * share for count, share in zip(counts, shares, strict=True))
    low, high = (price(scheme, activity(rates), input, reuse=reuse) for rates in (fewer, counts))
    assert low.total.energy_pj <= high.total.energy_pj * (1 + 1e-12)
    assert low.total.synaptic_operations <= high.total.synaptic_operations * (1 + 1e-12)


def test_silence_costs_memory_and_updates_only():
    events = price("uniform-4", activity((0.0, 0.0), mixed=((0.0, 0.0), (0.0, 0.0)), largest=0.0))
    assert events.total.synaptic_operations == events.total.accumulates == 0
    assert events.layers[0].compute_pj == events.attentions[0].compute_pj == 0
    assert price("uniform-4", activity((0.0, 0.0)), reuse="event").layers[0].energy_pj == pytest.approx(32 * 0.13)


def test_what_was_not_measured_has_no_energy():
    found = activity((1.0, 1.0))
    other = Layer("head", "head", "linear", (2, 4), 8, 8, "reals")
    with pytest.raises(PlanError, match="'head' was not measured"):
        event_energy([other], {"head": "float32"}, found, (), read_table())
    with pytest.raises(UsageError, match=r"weight-reuse is 'steps', there is .*did you mean 'step'"):
        price("uniform-4", found, reuse="steps")


def test_the_7_nm_table_says_what_is_derived_and_derives_it_right():
    table, older = read_table("jouppi-7nm"), read_table("horowitz-45nm")
    cost = {name: one.energy_pj for name, one in table.constants.items()}
    # Table 2 of the paper, typed by hand: pJ in 7 nm.
    assert (cost["multiply_float32"], cost["add_float32"]) == (1.31, 0.38)
    assert (cost["multiply_int8"], cost["add_int8"], cost["add_int32"]) == (0.07, 0.007, 0.03)
    derived = {name for name, one in table.constants.items() if one.source.startswith("derived")}
    assert derived == {"shift_8bit", "shift_32bit", "hbm2_word", "sram_8kb_word"}
    for shift, add in (("shift_8bit", "add_int8"), ("shift_32bit", "add_int32")):
        ratio = cost[add] / older.constants[add].energy_pj
        assert cost[shift] == pytest.approx(older.constants[shift].energy_pj * ratio)
    assert cost["hbm2_word"] == (250 + 450) / 2 / 2
    assert cost["sram_8kb_word"] == 7.5 / 2
    for key in derived:
        assert table.sources[table.constants[key].source].text.startswith("derived")
