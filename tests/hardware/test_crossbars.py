"""A model on analog arrays: counts by hand, prices by hand, and files of targets that are refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.base.errors import MachineError, UsageError
from snnq.cost.array_facts import ArrayFacts, LayerBound, NeuronCount
from snnq.cost.quantities import layer_costs
from snnq.cost.table import read_table
from snnq.hardware.crossbars.chosen import Arrays
from snnq.hardware.crossbars.counting import ArraySizes, Operand, OperandCounts, count
from snnq.hardware.crossbars.mapped import at_steps, line, map_model, over_steps
from snnq.hardware.crossbars.operands import attention_operands, nominal_bits
from snnq.hardware.crossbars.quantities import IMC_AREA, IMC_ENERGY
from snnq.hardware.crossbars.target import TARGETS, read_target, target_file
from snnq.network.layers import Layer
from snnq.network.products import Products

SIZES = ArraySizes(rows=64, columns=64, cell_bits=2, arrays_per_pe=9, pes_per_tile=8)
CONV = Layer("conv", "tokenizer", "conv2d", (32, 16, 3, 3), 32 * 16 * 9 * 64, 32 * 16 * 9 * 64, "spikes")
LINEAR = Layer("fc", "mlp", "linear", (256, 64), 256 * 64 * 16, 256 * 64 * 16, "integers")
FACTS = ArrayFacts(
    target="spikesim-65nm",
    steps=4,
    layers=(LayerBound(name="conv", largest=1), LayerBound(name="fc", largest=4)),
    neurons=(NeuronCount(name="lif", neurons=100),),
)
GROWING = FACTS.model_copy(
    update={
        "layers": tuple(
            one.model_copy(update={"vectors": vectors, "once": 0})
            for one, vectors in zip(FACTS.layers, (256, 64), strict=True)
        ),
        "neurons": (NeuronCount(name="lif", neurons=100, updates=400, once=0),),
    }
)


def test_a_convolution_of_spikes_by_hand():
    # 16 · 9 = 144 inputs: 3 arrays down. 32 outputs of 4 bits: 2 slices, in pairs 128 columns: 2 across. 64 positions.
    found = count(Operand("conv", 144, 32, bits=4, planes=1, positions=64, steps=4), SIZES)
    assert found == OperandCounts(
        slices=2,
        columns=128,
        arrays=6,
        pes=1,
        tiles=1,
        utilisation=144 * 128 / (6 * 4096),
        vectors=256,
        reads=1536,
        pe_reads=256,
        rows_driven=256 * 144 * 2,
        conversions=256 * 128 * 3,
        cell_writes=0,
        row_writes=0,
    )


def test_a_layer_of_whole_numbers_by_hand():
    # Up to 4: three bits. 256 outputs of 2 bits: one slice, 512 columns in pairs: 8 arrays, one below.
    found = count(Operand("fc", 64, 256, bits=2, planes=3, positions=16, steps=4), SIZES)
    assert (found.slices, found.columns, found.arrays, found.pes, found.tiles) == (1, 512, 8, 1, 1)
    assert (found.utilisation, found.vectors, found.reads) == (1.0, 192, 1536)
    assert (found.rows_driven, found.conversions) == (192 * 64 * 8, 192 * 512)


def test_groups_share_an_array_on_its_diagonal():
    # Depth-wise 3×3: 9 inputs, one output of 2 slices in a pair: 4 columns. 7 groups fit by rows, 16 by columns.
    found = count(Operand("depthwise", 9, 1, bits=4, planes=1, positions=1, steps=1, groups=64), SIZES)
    assert (found.arrays, found.conversions, found.rows_driven) == (10, 256, 576)
    assert found.utilisation == 64 * 9 * 4 / (10 * 4096)


def test_rows_of_groups_on_one_array_are_written_one_after_the_other():
    # Heads of 16 × 16 spikes: four lie on the diagonal of 64 × 64 cells, and fill its rows; six on two arrays.
    heads = Operand("attn: V", 16, 16, bits=1, planes=5, positions=16, steps=4, signed=False, writes=4, groups=4)
    assert (count(heads, SIZES).arrays, count(heads, SIZES).row_writes) == (1, 4 * 64)
    six = count(dataclasses.replace(heads, groups=6), SIZES)
    assert (six.arrays, six.row_writes) == (2, 4 * 64)
    assert count(dataclasses.replace(heads, groups=2), SIZES).row_writes == 4 * 32
    # Arrays of 16 × 16 cells take one each, side by side, and so do the parts of a head of 40 tokens.
    small = ArraySizes(rows=16, columns=16, cell_bits=2, arrays_per_pe=9, pes_per_tile=8)
    assert (count(heads, small).arrays, count(heads, small).row_writes) == (4, 4 * 16)
    assert count(dataclasses.replace(heads, inputs=40), small).row_writes == 4 * 16


def test_a_layer_that_runs_less_often_than_every_step_is_read_so_often():
    # Once in an inference of 4 steps, and at three of them: products of a step are rounded up.
    for vectors in (1, 3 * 16):
        macs = -(-vectors * LINEAR.weights // 4)
        found = map_model(FACTS, [dataclasses.replace(LINEAR, macs=macs)], {"fc": "uniform-2"})
        assert found.layers[0].counts.vectors == 3 * vectors


def test_what_attentions_write_by_hand():
    # Four heads of 16 tokens and 16 features, T = 4. Each entry a spike of one cell, for every step and both products.
    scores = Products("attn", "scores", heads=4, tokens=16, width=16, steps=4)
    keys, values = attention_operands(scores)
    assert (keys.inputs, keys.outputs, keys.bits, keys.planes) == (16, 16, 1, 1)
    assert (values.inputs, values.outputs, values.bits, values.planes) == (16, 16, 1, 5)
    assert [count(one, SIZES).cell_writes for one in (keys, values)] == [4 * 4 * 256] * 2
    # Kᵀ V of chunks of two steps: 16 × 16 counts up to 32, six bits in three cells, written twice.
    (counts,) = attention_operands(Products("attn", "keys", heads=4, tokens=16, width=16, steps=4, chunk=2))
    found = count(counts, SIZES)
    assert (counts.bits, found.slices, found.cell_writes) == (6, 3, 2 * 4 * 16 * 16 * 3)
    assert found.conversions == found.vectors * (4 * 48 + found.arrays)  # and a reference column of each array
    assert (found.vectors, found.arrays, found.row_writes) == (2 * 32, 4, 2 * 16)
    assert attention_operands(Products("attn", "sums", heads=4, tokens=16, width=16, steps=4)) == ()


@given(
    st.builds(
        Operand,
        name=st.just("any"),
        inputs=st.integers(1, 300),
        outputs=st.integers(1, 100),
        bits=st.integers(1, 12),
        planes=st.integers(1, 8),
        positions=st.integers(1, 50),
        steps=st.integers(1, 8),
        groups=st.integers(1, 40),
        signed=st.booleans(),
        writes=st.integers(0, 4),
    ),
    st.sampled_from([16, 32, 64, 128]),
    st.integers(1, 4),
)
def test_counts_are_those_of_placing_every_cell(operand, side, cell_bits):
    """The oracle puts every group's cells into arrays, one by one, and reads what has cells."""
    found = count(operand, ArraySizes(side, side, cell_bits, 8, 8))
    columns = operand.outputs * math.ceil(operand.bits / cell_bits) * (1 + operand.signed)
    small = operand.inputs <= side and columns <= side
    arrays, row, column, converted, number = set(), 0, 0, set(), -1
    for group in range(operand.groups):
        if small:
            if number < 0 or row + operand.inputs > side or column + columns > side:
                number, row, column = number + 1, 0, 0
            arrays.add(number)
            converted |= {(number, column + one) for one in range(columns)}
            row, column = row + operand.inputs, column + columns
        else:
            for i in range(0, operand.inputs, side):
                for j in range(columns):
                    arrays.add((group, i, j // side))
                    converted.add((group, i, j))
    assert found.arrays == len(arrays)
    vectors = operand.positions * operand.planes * operand.steps
    assert found.conversions == vectors * (len(converted) + (0 if operand.signed else len(arrays)))
    assert found.reads == vectors * len(arrays)
    assert 0 < found.utilisation <= 1
    assert found.cell_writes == operand.writes * operand.groups * operand.inputs * columns
    # Every array writes its rows one by one, all arrays side by side: the fullest takes as long as all of them.
    fullest = min(operand.inputs, side)
    if small:
        fullest = operand.inputs * min(operand.groups, side // operand.inputs, side // columns)
    assert found.row_writes == operand.writes * fullest


def test_energy_time_and_area_by_hand():
    found = map_model(FACTS, [CONV, LINEAR], {"conv": "uniform-4", "fc": "uniform-2"})
    conv, fc = found.layers
    # SpikeSim: array 1.76423 pJ, ADC 2.03084, MUX 0.094245, tile buffer 397, H-tree 157.12; a read of 104 ns.
    assert conv.energy_pj["array"] == pytest.approx(1536 * 1.76423)
    assert conv.energy_pj["adc"] == pytest.approx(98304 * 2.03084)
    assert conv.energy_pj["mux"] == pytest.approx(98304 * 0.094245)
    assert conv.energy_pj["buffer"] == 256 * 397
    assert conv.energy_pj["interconnect"] == pytest.approx(256 * 157.12)
    assert (conv.latency_ns, fc.latency_ns) == (256 * 104, 192 * 104)
    assert conv.area_um2["array"] == pytest.approx(6 * 26.2144)
    assert conv.area_um2["adc"] == pytest.approx(6 * 8 * 693.633)
    assert conv.area_um2["tile_adders"] == pytest.approx(8 * 13411.41498)
    assert found.energy_pj["neuron"] == pytest.approx(400 * 1.274)
    assert found.energy_pj["membrane"] == pytest.approx(400 * 4.64)
    assert found.area_um2["membrane"] == pytest.approx(100 * 22 * 0.7391)
    parts = [*conv.energy_pj.values(), *fc.energy_pj.values(), found.energy_pj["neuron"], found.energy_pj["membrane"]]
    assert found.total_pj == pytest.approx(math.fsum(parts))
    assert found.latency_ns == conv.latency_ns + fc.latency_ns


def test_energy_and_time_are_lines_over_steps():
    schemes = {"conv": "uniform-4", "fc": "uniform-2"}
    lines = over_steps({t: map_model(at_steps(GROWING, t), [CONV, LINEAR], schemes) for t in (1, 2, 4, 8)})
    for one in lines.values():
        assert one.r2 == pytest.approx(1)
        assert one.intercept == pytest.approx(0, abs=1e-6 * one.slope)
        assert one.amounts[2] == pytest.approx(4 * one.slope)
    curved = line((1, 2, 3), (1.0, 4.0, 9.0))
    assert (curved.slope, curved.intercept) == (pytest.approx(4), pytest.approx(-10 / 3))
    assert curved.r2 == pytest.approx(1 - (2 / 3) / (98 / 3))


def test_quantities_add_up_to_the_whole_model():
    table = read_table().on_arrays(FACTS)
    schemes = {"conv": "uniform-4", "fc": "uniform-2"}
    costs = [layer_costs(one, schemes[one.name], table) for one in (CONV, LINEAR)]
    whole = map_model(FACTS, [CONV, LINEAR], schemes)
    beside = map_model(FACTS, [], {})
    assert math.fsum(one[IMC_ENERGY.key] for one in costs) + beside.total_pj == pytest.approx(whole.total_pj)
    assert math.fsum(one[IMC_AREA.key] for one in costs) + beside.total_um2 == pytest.approx(whole.total_um2)
    assert IMC_ENERGY.key not in layer_costs(CONV, "uniform-4", read_table())


def test_bits_of_weights_are_those_of_the_largest_level():
    names = (
        "uniform-2",
        "uniform-4",
        "power-of-two-2",
        "power-of-two-4",
        "ternary",
        "binary",
        "float32",
        "uniform-4@1",
    )
    assert [nominal_bits(name, 8) for name in names] == [2, 4, 1, 7, 1, 1, 8, 4]


def test_real_numbers_lie_in_no_array():
    facts = FACTS.model_copy(update={"layers": (LayerBound(name="conv", largest=None), FACTS.layers[1])})
    found = map_model(facts, [CONV, LINEAR], {"conv": "uniform-4", "fc": "uniform-2"})
    assert [one.operand.name for one in found.layers] == ["fc"]
    assert [(one.name, one.operations) for one in found.unmapped] == [("conv", 4 * CONV.macs)]


def test_arrays_of_another_size_take_what_their_cells_do():
    chip, small = (Arrays(xbar=side).chip() for side in (64, 32))
    assert small.event_pj("array") == pytest.approx(chip.event_pj("array") / 4)
    assert small.devices["rram"].area_um2 == pytest.approx(chip.devices["rram"].area_um2 / 4)
    assert Arrays(cell_bits=3).chip().devices["sram"].cell_bits == 1
    assert chip.converter(8)[0] == pytest.approx(4 * 2.03084)  # a factor of 2 a bit
    assert read_target("trex-32nm").converter(7) == (1.42, 845.18)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"cells": "feffet"}, "did you mean 'fefet'"),
        ({"dynamic": "nvn"}, "did you mean 'nvm'"),
        ({"xbar": 1}, "--xbar 1: it is 4 to 4096"),
        ({"adc_bits": 40}, "--adc-bits 40"),
        ({"target": "spikesim"}, "did you mean 'spikesim-65nm'"),
    ],
)
def test_arrays_that_there_are_not(words, said):
    with pytest.raises((UsageError, MachineError), match=said):
        Arrays(**words).chip()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("energy_pj = 397.0, area_um2 = 6054.7072", "power = 3", "tile_buffer"),
        ('node = "65 nm"\n\n[sources.yang]', 'node = "32 nm"\n\n[sources.yang]', "different technology nodes"),
        ("rows = 64", "rows = 0", "rows"),
        ('array = { constant = "array" }', 'aray = { constant = "array" }', "did you mean 'array'"),
        ('default_device = "rram"', 'default_device = "ram"', "there is rram, fefet"),
        ("[adc.6]", "[adc.six]", "adc"),
        ("rows = 64", "rows = = 64", "not a TOML file"),
    ],
)
def test_a_damaged_target_is_refused(tmp_path, old, new, said):
    text = target_file("spikesim-65nm").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(MachineError, match=said):
        read_target(path)


def test_targets_name_the_source_of_every_constant():
    for name in (file.stem for file in TARGETS.glob("*.toml")):
        found = read_target(name)
        used = {one.source for one in (*found.constants.values(), *found.adc.values(), *found.devices.values())}
        used |= {one.area_source for one in found.devices.values()}
        assert used == found.sources.keys()
        assert dataclasses.is_dataclass(Arrays)
