"""Layers of few weights against plain numpy and against looked-up sums, bit for bit; and where they are chosen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import write_lively
from test_kernels import draw_neurons, neurons_of, pack

from snnq.runtime import Engine, reference, sparse_kernels, sparse_weights
from snnq.runtime.bit_sums import BLOCK, SPARE, UNITS
from snnq.runtime.listing import _taps
from snnq.runtime.sparse_weights import SparseWeights, together
from snnq.runtime.streams import unpack
from snnq.runtime.vectors import LANES

SEEDS = st.integers(0, 2**32 - 1)


def entries_of(values: np.ndarray, taps: int, bound: int) -> SparseWeights:
    """The entries of weights, whether they pay or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse_weights, "_pays", lambda *_: True)
        found = sparse_weights.sparse_weights(values, taps, bound)
    assert found is not None
    return found


def draw_weights(draw: np.random.Generator, shape: tuple[int, ...], largest: int, density: float) -> np.ndarray:
    values = draw.integers(-largest, largest + 1, shape) * (draw.random(shape) < density)
    values[draw.integers(len(values))] = 0  # a dead channel
    return values


def test_entries_by_hand() -> None:
    """Weights 1, -2 and 3 = 4 - 1 of three inputs that are bits: input 3 is silent, and fills up the blocks."""
    found = entries_of(np.array([[1, -2, 3]]), 1, 1)
    lists = found.entries.reshape(-1, BLOCK)
    assert [row[row < 3].tolist() for row in lists] == [[0], [2], [1], [2]]
    assert (np.sort(lists)[:, 1:] == 3).all()
    assert found.groups.tolist() == [[0, BLOCK, 2 * BLOCK], [1, 2 * BLOCK, 3 * BLOCK], [2, 4 * BLOCK, 4 * BLOCK]]
    assert found.firsts.tolist() == [0, 3]
    assert found.count == 8


@settings(max_examples=50, deadline=None)
@given(SEEDS, st.sampled_from([1, 9]), st.integers(1, 9), st.integers(1, 5), st.sampled_from([1, 7, 300, 2**17]))
def test_entries_are_the_weights(seed: int, taps: int, inputs: int, bound: int, largest: int) -> None:
    draw = np.random.default_rng(seed)
    values = draw_weights(draw, (int(draw.integers(1, 70)), inputs * taps), largest, 0.3)
    found, planes = entries_of(values, taps, bound), bound.bit_length()
    due = np.zeros((len(values), planes, taps, inputs), np.int64)
    rows, begin = np.zeros((len(values), planes * taps * inputs + 1), np.int64), 0
    for channel in range(len(values)):
        for group in range(found.firsts[channel], found.firsts[channel + 1]):
            digit, middle, end = found.groups[group]
            np.add.at(rows[channel], found.entries[begin:middle], 1 << digit)
            np.add.at(rows[channel], found.entries[middle:end], -(1 << digit))
            begin = end
    for plane in range(planes):
        due[:, plane] = values.reshape(len(values), inputs, taps).transpose(0, 2, 1) << plane
    assert np.array_equal(rows[:, :-1], due.reshape(len(values), -1))
    assert int(np.abs(values).sum(1).max()) * bound < 1 << (found.count - 1)


@settings(max_examples=30, deadline=None)
@given(
    SEEDS,
    st.integers(1, 70),
    st.integers(1, 3),
    st.integers(1, 9),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from([0, 1]),
    st.sampled_from([(1, 0.1), (1, 0.9), (2, 0.3), (100, 0.2), (3000, 0.5)]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_a_block(
    seed: int,
    inputs: int,
    planes: int,
    steps: int,
    size: tuple[int, int],
    radius: int,
    weights: tuple[int, float],
    rate: float,
) -> None:
    """Two blocks of channels, the second one cut off; in two runs of rounds, and in two of steps with voltages."""
    draw = np.random.default_rng(seed)
    (height, width), samples, side = size, 2, 2 * radius + 1
    pixels, outputs = samples * height * width, LANES + int(draw.integers(1, LANES + 1))
    bits = draw.random((planes, pixels, steps, inputs)) < rate
    values = draw_weights(draw, (outputs, inputs * side * side), *weights)
    found = entries_of(values, side * side, 2**planes - 1)
    x = (bits * (1 << np.arange(planes))[:, None, None, None]).sum(0)
    x = x.reshape(samples, height, width, steps, inputs).transpose(0, 3, 4, 1, 2)
    sums = reference.convolve(x, values.reshape(outputs, inputs, side, side))
    leak, neurons = int(draw.choice([2, 3])), draw_neurons(draw, np.int32, sums)
    halves = sums[:, :, :LANES], sums[:, :, LANES:]
    due = [neurons_of(half, tuple(one[: half.shape[2]] for one in neurons), leak) for half in halves]
    out = np.full((pixels, steps, 3), 7, np.uint64)
    state, cut = np.zeros((pixels, 3, LANES), np.int32), int(draw.integers(0, steps + 1))
    for block in (0, 1):
        run(bits, size, found, radius, neurons, leak, out, block, None)
        wanted = due[block].transpose(0, 3, 4, 1, 2).reshape(pixels, steps, -1)
        fired = unpack(np.ascontiguousarray(out[..., block : block + 1]), wanted.shape[-1])
        assert np.array_equal(fired, wanted)
        for part in (slice(0, cut), slice(cut, steps)):
            if part.stop > part.start:
                some = np.full((pixels, part.stop - part.start, 3), 7, np.uint64)
                run(bits[:, :, part], size, found, radius, neurons, leak, some, block, state)
                assert np.array_equal(some[..., block], out[:, part, block])
    assert (out[..., 2] == 7).all()


def run(
    bits: np.ndarray,
    size: tuple[int, int],
    found: SparseWeights,
    radius: int,
    neurons: tuple[np.ndarray, ...],
    leak: int,
    out: np.ndarray,
    block: int,
    state: np.ndarray | None,
) -> None:
    """Run a block as the engine does."""
    words = np.stack([pack(plane) for plane in bits])
    planes, pixels, steps, inputs = bits.shape
    apart, inside = _taps(*size, radius, pixels)
    lead, parts, joined = -(-int(apart.max()) // LANES), -(-pixels // LANES), together(steps)
    turned = np.full((planes, inputs, parts + 2 * lead + 1, steps), 2**64 - 1, np.uint64)
    rounds = -(-parts // joined)
    vectors = np.full((rounds, joined * steps // UNITS, planes * len(apart) * inputs + 1, UNITS), 9, np.uint64)
    sparse_kernels.turn_spikes(words, lead, turned, 0, parts)
    sparse_kernels.list_vectors(turned, lead, apart, inside, parts, joined, vectors, 0, rounds)
    scratch = np.full((found.count + SPARE) * UNITS, 5, np.uint64), np.full(joined * steps * LANES, 5, found.sum_type)
    voltages = (np.empty((1, 1, LANES), np.int32), False) if state is None else (state, True)
    weights = found.entries, found.groups, found.firsts
    for begin, end in ((0, rounds // 2), (rounds // 2, rounds)):
        fixed = (vectors, weights, found.count, *neurons, leak, *scratch, *voltages)
        sparse_kernels.run_sparse(*fixed, out, block, begin, end)


@pytest.mark.parametrize(("layout", "schemes"), [("cifar10dvs", ["uniform-2", "ternary"]), ("imagenet", ["uniform-4"])])
def test_the_engine_fires_the_same_spikes(
    layout: str, schemes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All layers that can are run by their weights: with one thread or two, prepared or not, in steps and at once."""
    frames = write_lively(tmp_path / "packed", schemes, layout)
    due = Engine(tmp_path / "packed", 1)
    assert not any(one.sparse for one in due.layers.values())
    monkeypatch.setattr(sparse_weights, "_pays", lambda *_: True)
    engine, spikes = Engine(tmp_path / "packed", 2), dict[str, np.ndarray]()
    assert sum(one.sparse is not None for one in engine.layers.values()) > 3
    wanted = due(frames, lambda name, fired: spikes.__setitem__(name, fired.copy()))
    checked = []

    def watch(name: str, fired: np.ndarray) -> None:
        assert np.array_equal(fired, spikes[name]), name
        checked.append(name)

    assert np.array_equal(engine(frames, watch), wanted)
    assert len(checked) == len(spikes)
    for _ in range(2):
        assert np.array_equal(engine(frames), wanted)
        stream = engine.stream()
        logits = [stream.step(frames[:, step]) for step in range(frames.shape[1])]
        assert np.array_equal(logits[-1], wanted)


def test_where_they_pay() -> None:
    """A tenth of the weights of a 3×3 convolution of 128 channels pays on 64 pixels, all of them do not."""
    draw = np.random.default_rng(0)
    shape = (64, 9 * 128)
    few = sparse_weights.sparse_weights(draw_weights(draw, shape, 1, 0.1), 9, 1)
    assert few is not None
    assert few.pays(64, 16)
    assert not few.pays(4, 1)  # most of a round would be empty
    assert sparse_weights.sparse_weights(draw_weights(draw, shape, 1, 1.0), 9, 1) is None
    dense: Any = dataclasses.replace(few, entries=np.zeros(64 * 9 * 128, np.uint16))
    assert not dense.pays(64, 16)
