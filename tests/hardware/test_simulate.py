"""Bytes, cycles and energy of a layer, by hand; and a run that finds a wrong sum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from snnq.base.errors import VerificationError
from snnq.hardware import simulate
from snnq.hardware.machine import read_machine
from snnq.hardware.operands import ConvolutionWindow, Operands
from snnq.hardware.simulate import check_sums, run_layer, summed
from snnq.hardware.traffic import index_bits, output_bits, spike_bits, weight_bits

# Two rows of three inputs at two steps; weights of three inputs and two outputs, four bits each.
PLANES = np.array([[[[1, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 1, 1]]]], bool)
WEIGHTS = np.array([[[3, 0], [-1, 2], [0, 7]]], float)
LAYER = Operands("layer", PLANES, WEIGHTS, 4, exact=True)
MACHINES = {name: read_machine(name) for name in ("loas", "sparten", "gospa", "gamma")}


def test_bits_of_the_formats_by_hand():
    # One pass of two rows: 3 bits and a pointer each, and four words of two bits.
    assert spike_bits(MACHINES["loas"], PLANES) == 2 * (3 + 32) + 4 * 2
    assert spike_bits(MACHINES["sparten"], PLANES) == 12
    # Five spikes: which of 2 rows, and pointers of 3 columns at 2 steps; which of 3 columns, pointers of 2 rows.
    assert spike_bits(MACHINES["gospa"], PLANES) == 5 * 1 + 2 * 3 * 32
    assert spike_bits(MACHINES["gamma"], PLANES) == 5 * 2 + 2 * 2 * 32
    mask = WEIGHTS[0] != 0
    assert weight_bits(MACHINES["loas"], mask, 4) == weight_bits(MACHINES["sparten"], mask, 4) == 2 * (3 + 32) + 16
    assert weight_bits(MACHINES["gospa"], mask, 4) == weight_bits(MACHINES["gamma"], mask, 4) == 3 * 32 + 4 * 5
    fired = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]], bool)
    assert [output_bits(one, fired) for one in MACHINES.values()] == [5 + 2 * 2, 10, 3 * 3, 3 * 3]
    assert [index_bits(count) for count in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]


def test_a_layer_on_every_machine_by_hand():
    fired = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]], bool)
    # Spikes and weights read once, two rows being one tile, and outputs written: in bits.
    due = {
        "loas": (78, 86, 9, 78 + 86 + 9),
        "sparten": (12, 86, 10, 12 + 86 + 10),
        # Seven sums of 12 bits are read and written; weights are read once.
        "gospa": (197, 116, 9, 197 + 116 + 7 * 24 + 9),
        # A weight and its column, 5 bits, for each of seven that are merged.
        "gamma": (138, 116, 9, 138 + 7 * 5 + 9),
    }
    cycles = {"loas": 4, "sparten": 6, "gospa": 4, "gamma": 3}
    for name, machine in MACHINES.items():
        run = run_layer(machine, [LAYER], [fired])
        moved = (run.traffic.spikes, run.traffic.weights, run.traffic.outputs, run.traffic.cache)
        assert tuple(8 * one for one in moved) == due[name]
        assert (run.cycles, run.limit[0], run.limit[1]) == (cycles[name], cycles[name], -(-due[name][3] // 8 // 256))
        assert run.neuron_steps == 10


def test_energy_by_hand():
    run = run_layer(MACHINES["loas"], [LAYER])
    # 6 busy cycles, 4 joins with matches, 6 weights added, 5 corrections, 4 cycles in all.
    assert run.energy_pj == pytest.approx(
        {
            "fast_prefix": 6 * 1.825,
            "laggy_prefix": 32 * 0.4,
            "buffers": 6 * 1.1,
            "accumulate": 6 * 0.2 * 12 / 52,
            "correct": 5 * 0.2 * 10 / 52,
            "neuron": 0,
            "cache": (78 + 86) / 8 * 9.82 / 16,
            "cache_idle": 4 * 16 * 0.0054 / 0.8,
            "memory": (78 + 86) * 3.92,
        },
        rel=1e-12,
    )
    assert run.off_chip_pj == run.energy_pj["memory"]
    assert run.on_chip_pj == pytest.approx(sum(run.energy_pj.values()) - run.off_chip_pj)


def test_memory_or_cache_can_be_what_takes_longest():
    slow = MACHINES["loas"].model_copy(
        update={"memory": MACHINES["loas"].memory.model_copy(update={"gigabytes_per_second": 0.8})}
    )
    run = run_layer(slow, [LAYER])
    assert run.limit == (4, 1, 21)  # a byte a cycle: 164 bits
    assert run.cycles == run.exposed_cycles == 21
    small = MACHINES["loas"].model_copy(
        update={"memory": MACHINES["loas"].memory.model_copy(update={"cache_banks": 1, "bank_bytes": 1})}
    )
    assert run_layer(small, [LAYER]).limit == (4, 21, 1)


def test_weights_beyond_half_the_cache_come_again_for_every_tile():
    random = np.random.default_rng(0)
    planes, weights = random.random((1, 4, 40, 30)) < 0.5, random.integers(1, 3, (1, 30, 20)).astype(float)
    layer = Operands("layer", planes, weights, 4)
    for name, machine in MACHINES.items():
        stored = weight_bits(machine, layer.mask[0], 4)
        small = machine.model_copy(
            update={"memory": machine.memory.model_copy(update={"cache_bytes": -(-stored // 4) - 1})}
        )
        once, again = run_layer(machine, [layer]), run_layer(small, [layer])
        assert 8 * once.traffic.weights == stored
        # 40 rows are 3 tiles; 3200 sums of 12 bits in half the cache, twice as many bytes in bits; all 10 groups of 16
        # rows meet every input.
        times = {"loas": 3, "sparten": 3, "gospa": -(-3200 * 12 // (4 * small.memory.cache_bytes))}
        due = times[name] * stored if name in times else 10 * 600 * (4 + 5)
        assert 8 * again.traffic.weights == due
        assert again.counts == once.counts


def test_calls_of_a_layer_share_its_weights():
    """In one inference: weights that fit come once, and the rest adds up."""
    random = np.random.default_rng(1)
    weights = random.integers(-1, 3, (2, 18, 5)).astype(float)  # two groups of a 3 × 3 convolution
    window = ConvolutionWindow((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
    calls = [Operands("layer", random.random((1, 2, 4, 5, 5)) < 0.4, weights, 4, window) for _ in range(3)]
    for machine in MACHINES.values():
        alone, whole = [run_layer(machine, [one]) for one in calls], run_layer(machine, calls)
        stored = sum(weight_bits(machine, mask, 4) for mask in calls[0].mask)
        assert [8 * one.traffic.weights for one in (*alone, whole)] == [stored] * 4
        added = summed(alone)
        assert whole.counts == added.counts
        assert (whole.traffic.spikes, whole.traffic.cache) == (added.traffic.spikes, added.traffic.cache)
        assert 8 * (added.traffic.off_chip - whole.traffic.off_chip) == 2 * stored
        small = machine.model_copy(update={"memory": machine.memory.model_copy(update={"cache_bytes": 1})})
        again = sum(run_layer(small, [one]).traffic.weights for one in calls)
        assert run_layer(small, calls).traffic.weights == again


def test_runs_add_up():
    turned = replace(LAYER, planes=PLANES[:, ::-1])
    one, two = run_layer(MACHINES["loas"], [LAYER]), run_layer(MACHINES["loas"], [turned])
    both = summed([one, two])
    assert both.cycles == one.cycles + two.cycles
    assert both.counts.accumulates == one.counts.accumulates + two.counts.accumulates
    assert both.energy_pj["memory"] == pytest.approx(one.energy_pj["memory"] + two.energy_pj["memory"])


def test_a_wrong_sum_and_a_wrong_count_are_found(monkeypatch):
    assert check_sums(MACHINES["loas"], LAYER) == 2 * 2
    assert check_sums(MACHINES["sparten"], LAYER) == 0
    halves = replace(LAYER, weights=WEIGHTS / 2, exact=False)
    assert check_sums(MACHINES["loas"], halves) == 2 * 2
    assert np.array_equal(simulate._whole(halves)[0], [[429, 0], [-143, 286], [0, 1000]])
    right = simulate.join
    for wrong in ({"sums": (0, 0)}, {"corrections": 99}):
        monkeypatch.setattr(simulate, "join", lambda *given, wrong=wrong: replace(right(*given), **wrong))
        with pytest.raises(VerificationError, match="layer layer: the inner join of row 0, output 0"):
            check_sums(MACHINES["loas"], LAYER)
