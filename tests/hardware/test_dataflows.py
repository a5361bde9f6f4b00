"""Counts of the four dataflows: two layers by hand, and loops over every spike and weight."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.hardware.dataflows import DataflowCounts, count
from snnq.hardware.machine import read_machine


def machine(name, **array):
    found = read_machine(name)
    return found.model_copy(update={"array": found.array.model_copy(update=array)})


# Two rows of three inputs at two steps (one plane); weights of three inputs and two outputs.
SPIKES = np.array([[[[1, 1, 0], [0, 0, 0]], [[1, 0, 0], [0, 1, 1]]]], bool)
MASK = np.array([[1, 0], [1, 1], [0, 1]], bool)


def test_a_layer_by_hand():
    # Packed words: row 1 {11, 01, silent}, row 2 {silent, 10, 10}. Matches, outputs 1 and 2: row 1 has 2 and 1, row 2
    # has 1 and 2. One element a row, one chunk: the slower row of each output takes 2 and 2 cycles.
    # Corrections: row 1, output 1: input 2 lacks a step; output 2: the same; row 2: 1 and 2.
    assert count(machine("loas"), SPIKES, MASK) == DataflowCounts(
        cycles=4, exposed_cycles=20, busy=6, laggy=32, accumulates=6, corrections=5
    )
    # Step by step: row 1: 2, 1 at step 1, 1, 0 at step 2; row 2: 0, 0 and 1, 2; no match is a cycle, too.
    # Output 1: rows take 3 and 2; output 2: 2 and 3.
    assert count(machine("sparten"), SPIKES, MASK) == DataflowCounts(cycles=6, exposed_cycles=6, busy=10, accumulates=7)
    # Spikes of inputs 1, 2, 3: 2, 2, 1. Output 1 gets 4 of them, output 2 gets 3, each its own element.
    assert count(machine("gospa"), SPIKES, MASK) == DataflowCounts(cycles=4, exposed_cycles=4, busy=7, accumulates=7)
    assert count(machine("gospa", elements=1), SPIKES, MASK).cycles == 7
    # Rows at steps: weights {1 + 2}, {}, {1}, {2 + 1}: 7 of 16 elements is 1, the longest row 3.
    assert count(machine("gamma"), SPIKES, MASK) == DataflowCounts(cycles=3, exposed_cycles=3, busy=7, accumulates=7)
    assert count(machine("gamma", elements=2), SPIKES, MASK).cycles == 4


def test_chunks_tiles_passes_and_second_merges_by_hand():
    # One input never has a weight, so that a chunk of two has one match or none; three rows on two elements.
    spikes = np.ones((2, 2, 3, 4), bool)
    mask = np.array([[1], [0], [1], [0]], bool)
    # Each of two chunks takes a cycle, in each of 2 planes and 2 passes of one step: 8 cycles an output; two tiles.
    assert count(machine("loas", elements=2, lanes=1, chunk=2), spikes, mask) == DataflowCounts(
        cycles=16, exposed_cycles=2 * 8 * 9, busy=24, laggy=3 * 8 * 8, accumulates=24
    )
    # With both steps at once half of that.
    assert count(machine("loas", elements=2, lanes=2, chunk=2), spikes, mask).cycles == 8
    # Gustavson with mergers of two: four fibres of 1, 0, 1, 0 weights make two of one weight each, merged again.
    assert count(machine("gamma", elements=1, radix=2), spikes, mask) == DataflowCounts(
        cycles=12 * 4, exposed_cycles=12 * 4, busy=12 * 4, accumulates=12 * 2, partial=12 * 2
    )


def dense_layer(seed, firing, kept):
    random = np.random.default_rng(seed)
    planes, steps, rows, inputs, outputs = random.integers(1, [3, 6, 9, 12, 6])
    return random.random((planes, steps, rows, inputs)) < firing, random.random((inputs, outputs)) < kept


def joined(spikes, mask, elements, chunk, lanes, laggy):
    """The inner joins, output by output."""
    planes, steps, rows, inputs = spikes.shape
    total = dict.fromkeys(("cycles", "exposed", "busy", "laggy", "accumulates", "corrections"), 0)
    for tile in range(0, rows, elements):
        for n in range(mask.shape[1]):
            times, exposed = [], []
            for m in range(tile, min(rows, tile + elements)):
                time = late = 0
                for p in range(planes):
                    for start in range(0, steps, lanes):
                        for low in range(0, inputs, chunk):
                            together = spikes[p, start : start + lanes, m, low : low + chunk]
                            matched = [k for k in range(together.shape[1]) if together[:, k].any() and mask[low + k, n]]
                            time += max(1, len(matched))
                            late += len(matched) + laggy if matched else 1
                            total["laggy"] += laggy if matched else 0
                            total["accumulates"] += len(matched)
                            total["corrections"] += sum(int((~together[:, k]).sum()) for k in matched)
                times.append(time)
                exposed.append(late)
            total["cycles"] += max(times)
            total["exposed"] += max(exposed)
            total["busy"] += sum(times)
    return DataflowCounts(*total.values())


LAYERS = {
    "seed": st.integers(0, 10**6),
    "firing": st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    "kept": st.sampled_from([0.0, 0.3, 1.0]),
    "elements": st.sampled_from([1, 3, 16]),
    "other": st.sampled_from([2, 3, 5]),
}


@settings(max_examples=40)
@given(**LAYERS)
def test_inner_joins_are_those_of_a_loop(seed, firing, kept, elements, other):
    spikes, mask = dense_layer(seed, firing, kept)
    loas = machine("loas", elements=elements, chunk=other, lanes=2)
    assert count(loas, spikes, mask) == joined(spikes, mask, elements, other, 2, 8)
    sparten = machine("sparten", elements=elements, chunk=other)
    assert count(sparten, spikes, mask) == joined(spikes, mask, elements, other, 1, 0)


def merged(fibres, radix):
    """Values that are merged again, by merging sets."""
    spent = 0
    while len(fibres) > radix:
        fibres = [set().union(*fibres[i : i + radix]) for i in range(0, len(fibres), radix)]
        spent += sum(map(len, fibres))
    return spent


@settings(max_examples=40)
@given(**LAYERS)
def test_outer_products_and_mergers_are_those_of_a_loop(seed, firing, kept, elements, other):
    spikes, mask = dense_layer(seed, firing, kept)
    own, rows, again = [0] * elements, [], 0
    for place in np.ndindex(*spikes.shape[:3]):
        fibres = [set(np.flatnonzero(mask[k])) for k in np.flatnonzero(spikes[place])]
        for one in fibres:
            for n in one:
                own[n % elements] += 1
        spent = merged(fibres, other)
        rows.append(sum(map(len, fibres)) + spent)
        again += spent
    made = sum(own)
    assert count(machine("gospa", elements=elements), spikes, mask) == DataflowCounts(
        cycles=max(own), exposed_cycles=max(own), busy=made, accumulates=made
    )
    cycles = max(ceil(sum(rows) / elements), max(rows))
    assert count(machine("gamma", elements=elements, radix=other), spikes, mask) == DataflowCounts(
        cycles=cycles, exposed_cycles=cycles, busy=sum(rows), accumulates=made, partial=again
    )


@given(seed=st.integers(0, 1000), steps=st.sampled_from([4, 7, 8, 16]))
def test_words_are_prosperitys_where_it_groups_as_many_steps(seed, steps):
    """Its LoAS baseline takes weights as dense, and packs the steps, padded to a power of two, into four words."""
    spikes = np.random.default_rng(seed).random((1, steps, 5, 20)) < 0.15
    padded = np.zeros((2 ** ceil(np.log2(steps)), 5, 20), bool)
    padded[:steps] = spikes[0]
    theirs = int(padded.reshape(4, -1, 5, 20).any(1).sum()) * 3
    lanes = len(padded) // 4
    assert count(machine("loas", lanes=lanes), spikes, np.ones((20, 3), bool)).accumulates == theirs


@pytest.mark.parametrize("name", ["sparten", "gospa", "gamma"])
def test_one_step_after_the_other_adds_a_weight_for_every_spike(name):
    spikes, mask = dense_layer(3, 0.3, 0.5)
    assert count(machine(name), spikes, mask).accumulates == int(np.einsum("ptmk,kn->", spikes * 1, mask * 1))
