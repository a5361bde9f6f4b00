"""The inner join, match by match: its sums are those of the dense product, its counters those typed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.hardware.dataflows import DataflowCounts, count
from snnq.hardware.inner_join import Joined, join, spike_fibre, unpack, weight_fibre
from snnq.hardware.machine import read_machine

LOAS = read_machine("loas")


def drawn(seed, lanes, inputs, firing, kept):
    random = np.random.default_rng(seed)
    spikes = random.random((lanes, inputs)) < firing
    weights = random.integers(-7, 8, inputs) * (random.random(inputs) < kept)
    return spikes, weights


def test_a_join_typed_by_hand():
    # Five inputs, four steps; the second never fires, the last has no weight. As in the paper's figure 10, the word of
    # the first is 1111, so that its weight stays as it was added; that of the third is 1010, and corrects two steps.
    spikes = np.array([[1, 0, 1, 1, 1], [1, 0, 0, 0, 0], [1, 0, 1, 0, 0], [1, 0, 0, 0, 0]], bool)
    weights = np.array([5, 3, -2, 0, 0])
    packed = spike_fibre(spikes)
    assert packed.mask.tolist() == [True, False, True, True, True]
    assert packed.values.tolist() == [0b1111, 0b0101, 0b0001, 0b0001]  # the first step is the lowest bit
    assert weight_fibre(weights).values.tolist() == [5, 3, -2]
    # Two matches of one chunk: 2 cycles, and 8 of the slow prefix sum; 5 − 2 added, −2 taken away again twice.
    assert join(packed, weight_fibre(weights), 4, 128, 8) == Joined((3, 5, 3, 5), 2, 8, 10, 2, 2)
    # Chunks of two: one match, one match, and one chunk without any.
    assert join(packed, weight_fibre(weights), 4, 2, 8) == Joined((3, 5, 3, 5), 3, 16, 19, 2, 2)


SHAPES = {
    "seed": st.integers(0, 10**6),
    "lanes": st.integers(1, 6),
    "inputs": st.integers(1, 300),
    "firing": st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    "kept": st.sampled_from([0.0, 0.02, 0.3, 1.0]),
}


@given(**SHAPES)
def test_sums_are_exact_and_fibres_come_back(seed, lanes, inputs, firing, kept):
    spikes, weights = drawn(seed, lanes, inputs, firing, kept)
    packed = spike_fibre(spikes)
    assert np.array_equal(unpack(packed, lanes), spikes)
    assert len(packed.values) == np.count_nonzero(spikes.any(0))
    made = join(packed, weight_fibre(weights), lanes, 128, 8)
    assert made.sums == tuple((spikes.astype(np.int64) @ weights).tolist())


@given(**SHAPES)
def test_counts_of_all_outputs_at_once_are_the_elements_own(seed, lanes, inputs, firing, kept):
    spikes, weights = drawn(seed, lanes, inputs, firing, kept)
    machine = LOAS.model_copy(update={"array": LOAS.array.model_copy(update={"lanes": lanes})})
    made = join(spike_fibre(spikes), weight_fibre(weights), lanes, 128, 8)
    found = count(machine, spikes[None, :, None], (weights != 0)[:, None])
    assert found == DataflowCounts(made.busy, made.exposed, made.busy, made.laggy, made.accumulates, made.corrections)


def test_taking_all_for_ones_is_wrong_without_corrections():
    spikes, weights = drawn(1, 4, 64, 0.3, 1.0)
    made = join(spike_fibre(spikes), weight_fibre(weights), 4, 128, 8)
    assert made.corrections > made.accumulates  # at such rates nearly every match is corrected at several steps
    assert made.sums != (int(weights[spikes.any(0)].sum()),) * 4


@pytest.mark.parametrize("firing", [0.0, 1.0])
def test_neither_silence_nor_ones_correct_anything(firing):
    spikes, weights = drawn(2, 4, 64, firing, 1.0)
    assert join(spike_fibre(spikes), weight_fibre(weights), 4, 128, 8).corrections == 0
