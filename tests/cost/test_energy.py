import math
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.cost.energy import layer_energy, storage_bits
from snnq.cost.table import TABLES, list_tables, read_table
from snnq.network.layers import KINDS, Layer
from snnq.schemes.scheme import scheme_names

NAMES = scheme_names()

CONV = Layer("c", "tokenizer", "conv2d", (32, 2, 3, 3), 9_437_184, 9_437_184, "counts")
LINEAR = Layer("f", "mlp", "linear", (1024, 256), 16_777_216, 16_777_216, "integers")


@st.composite
def layers(draw):
    kind = draw(st.sampled_from(sorted(KINDS)))
    shape = tuple(draw(st.lists(st.integers(1, 64), min_size=KINDS[kind], max_size=KINDS[kind])))
    positions = draw(st.integers(1, 10_000))
    return Layer("x", "mlp", kind, shape, math.prod(shape) * positions, math.prod(shape) * positions, "spikes")


def test_golden_energies_worked_by_hand():
    table = read_table("horowitz-45nm")
    # 9 437 184 · 4.6 and 576 · 640
    energy = layer_energy(CONV, "float32", table)
    assert energy.compute_pj == pytest.approx(43_411_046.4)
    assert energy.memory_pj == 368_640.0
    assert energy.total_pj == pytest.approx(43_779_686.4)
    # 9 437 184 · 0.3 and 576 · 4 · 20
    energy = layer_energy(CONV, "uniform-4", table)
    assert energy.compute_pj == pytest.approx(2_831_155.2)
    assert energy.memory_pj == 46_080.0
    # 16 777 216 · 0.124 and 262 144 · 2 · 20
    energy = layer_energy(LINEAR, "power-of-two-2", table)
    assert energy.compute_pj == pytest.approx(2_080_374.784)
    assert energy.memory_pj == 10_485_760.0
    # Billed as a shift and an addition, too: 262 144 · 1.6 · 20, and half of the bits of power-of-two-2.
    for scheme, memory in (("ternary", 8_388_608.0), ("binary", 5_242_880.0)):
        found = layer_energy(LINEAR, scheme, table)
        assert (found.compute_pj, found.memory_pj) == (energy.compute_pj, pytest.approx(memory))


@pytest.mark.parametrize(
    ("scheme", "bits"),
    [
        *(("float32", 18_432), ("uniform-2", 1_152), ("power-of-two-4", 2_304), ("uniform-8", 4_608)),
        *(("ternary", 921.6), ("binary", 576)),
    ],
)
def test_golden_storage(scheme, bits):
    assert storage_bits(CONV, scheme) == bits


def oracle_pj(layer, scheme, name):
    """docs/method.md §3 again, with numpy and the raw TOML: no code of snnq but the layer."""
    raw = tomllib.loads((TABLES / f"{name}.toml").read_text("utf-8"))
    own = {"float32": ("float32", 32), "ternary": ("power-of-two", 1.6), "binary": ("power-of-two", 1)}
    family, bits = own.get(scheme) or (scheme[:-2], int(scheme[-1]))
    operation = np.sum([raw["constants"][key]["energy_pj"] for key in raw["operations"][family]])
    word = raw["constants"][raw["memory"]["weights"]]["energy_pj"]
    return np.dot([layer.multiplications, np.prod(layer.shape) * bits], [operation, word / 32])


@given(layers(), st.sampled_from(NAMES), st.sampled_from(list_tables()))
def test_energy_is_that_of_the_oracle(layer, scheme, name):
    assert layer_energy(layer, scheme, read_table(name)).total_pj == pytest.approx(oracle_pj(layer, scheme, name))


@given(layers(), st.sampled_from(["uniform", "power-of-two"]), st.integers(2, 7), st.sampled_from(list_tables()))
def test_more_bits_never_cost_less(layer, family, bits, name):
    table = read_table(name)
    fewer, more = f"{family}-{bits}", f"{family}-{bits + 1}"
    assert storage_bits(layer, fewer) < storage_bits(layer, more) < storage_bits(layer, "float32")
    assert layer_energy(layer, fewer, table).total_pj <= layer_energy(layer, more, table).total_pj
    assert layer_energy(layer, fewer, table).compute_pj == layer_energy(layer, more, table).compute_pj


@given(layers(), st.integers(2, 8))
def test_a_shift_is_cheaper_than_a_multiplication(layer, bits):
    table = read_table("horowitz-45nm")
    shift, product = (layer_energy(layer, f"{family}-{bits}", table) for family in ("power-of-two", "uniform"))
    assert shift.compute_pj < product.compute_pj
    assert shift.memory_pj == product.memory_pj
