"""Windows of event counts, and what is run on them, against plain numpy, bit for bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import write_lively
from test_kernels import table_of

from snnq.network.streams import COUNT_LIMIT
from snnq.runtime import Engine, frame_kernels
from snnq.runtime.streams import unpack

SEEDS = st.integers(0, 2**32 - 1)
FAST = settings(max_examples=25, deadline=None)


def windows_of(frames: np.ndarray, limit: int, planes: int) -> tuple[np.ndarray, np.ndarray]:
    """What ``list_windows`` writes, in two parts."""
    samples, steps, _, height, width = frames.shape
    patterns = np.full((planes, samples, height + 2, width, steps), 99, np.uint8)
    used = np.full((samples, height + 2, width), 99, np.uint8)
    for edge in (0, -1):
        patterns[:, :, edge], used[:, edge] = 0, 0
    frame_kernels.list_windows(frames, limit, patterns, used, 0, 1)
    frame_kernels.list_windows(frames, limit, patterns, used, 1, samples * height)
    return patterns, used


def test_windows_by_hand() -> None:
    frames = np.zeros((1, 2, 2, 1, 3), np.uint8)
    frames[0, 0, 0, 0, 1] = 3  # in the middle, step 0: both planes of channel 0
    frames[0, 1, 1, 0, 2] = 2  # on the right, step 1: the second plane of channel 1
    patterns, used = windows_of(frames, 255, 3)
    assert patterns[0, 0, 1].tolist() == [[0b010000, 0], [0b000100, 0], [0b000001, 0]]
    assert patterns[1, 0, 1].tolist() == [[0b010000, 0], [0b000100, 0b100000], [0b000001, 0b001000]]
    assert not patterns[2].any()
    assert used[0].tolist() == [[0, 0, 0], [2, 2, 2], [0, 0, 0]]


@FAST
@given(SEEDS, st.integers(1, 2), st.sampled_from([np.uint8, np.int8, np.int32, np.uint16]))
def test_windows(seed: int, channels: int, kind: Any) -> None:
    draw = np.random.default_rng(seed)
    samples, steps, height, width = draw.integers(1, 5, 4)
    limit, planes = int(draw.choice([5, 100, 4095])), 12
    frames = (draw.integers(0, 120, (samples, steps, channels, height, width)) * draw.integers(0, 2)).astype(kind)
    patterns, used = windows_of(frames, limit, planes)
    counts = np.pad(np.minimum(frames.astype(int), limit), ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))
    for plane in range(planes):
        pixel = np.sum([((counts[:, :, c] >> plane) & 1) << c for c in range(channels)], 0)
        due = np.sum([pixel[..., j : j + width] << (2 * j) for j in range(3)], 0)
        assert np.array_equal(patterns[plane], np.moveaxis(due, 1, -1))
    most = np.bitwise_or.reduce(counts, (1, 2))
    near = most[..., :-2] | most[..., 1:-1] | most[..., 2:]
    assert np.array_equal(used, np.vectorize(lambda one: int(one).bit_length())(near))


@FAST
@given(SEEDS, st.integers(1, 2), st.integers(1, 64), st.booleans())
def test_frames_are_convolved_and_neurons_fire(seed: int, channels: int, outputs: int, kept: bool) -> None:
    draw = np.random.default_rng(seed)
    samples, steps, height, width = draw.integers(1, 5, 4)
    block, words, largest = int(draw.integers(0, 2)), 2, int(draw.choice([7, 1800]))
    lanes = 32 if outputs <= 32 else 64
    weight = draw.integers(-largest, largest + 1, (9, channels, outputs))
    rate = draw.choice([0.02, 0.5])
    frames = (draw.poisson(rate, (samples, steps, channels, height, width)) * draw.choice([1, 9])).astype(np.uint8)
    table = np.full(frame_kernels.TABLE_SIZE, 77, np.int16)
    frame_kernels.widen_table(table_of(weight, np.int16), table, lanes)
    shift, offset = draw.integers(0, 3, 64).astype(np.int32), draw.integers(-50, 50, 64).astype(np.int32)
    threshold = draw.integers(1, 200, 64).astype(np.int32)
    first = draw.integers(-99, 99, (samples * height * width, words, 64)).astype(np.int32)
    state = first.copy() if kept else np.full((1, 1, 64), 55, np.int32)
    out = np.full((samples * height * width, steps, words), 7, np.uint64)
    fixed = (table, *windows_of(frames, COUNT_LIMIT, 9), lanes, shift, offset, threshold, state, kept, out, block)
    frame_kernels.run_frames(*fixed, 0, 1)
    frame_kernels.run_frames(*fixed, 1, len(out))

    padded = np.pad(frames.astype(int), ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))
    sums = np.zeros((samples, steps, height, width, outputs), int)
    for tap in range(9):
        part = padded[..., tap // 3 : tap // 3 + height, tap % 3 : tap % 3 + width]
        sums += np.einsum("stchw,co->sthwo", part, weight[tap])
    sums = np.moveaxis(sums, 1, 3).reshape(len(out), steps, outputs)
    voltages = (first[:, block, :outputs] if kept else np.zeros((len(out), outputs))).astype(int)
    found = unpack(out[:, :, block : block + 1], outputs)
    for step in range(steps):
        u = voltages + (sums[:, step] << shift[:outputs]) + offset[:outputs]
        assert np.array_equal(found[:, step], u >= threshold[:outputs])
        voltages = np.where(u >= threshold[:outputs], 0, u >> 1)
    assert (out[:, :, 1 - block] == 7).all()
    if kept:
        assert np.array_equal(state[:, block, :outputs], voltages)
        assert np.array_equal(state[:, 1 - block], first[:, 1 - block])


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"in_channels": 1, "dim": 48},
        pytest.param({"dim": 1152, "heads": 8, "depth": 1}, marks=pytest.mark.slow),  # three blocks of channels
    ],
    ids=str,
)
def test_windows_give_what_lists_give(sizes: dict[str, Any], tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-4", "uniform-2"], **sizes)
    frames = frames.astype(np.int32)
    frames[0, 0, 0, :2] = 6000  # more than counts
    mine, due = Engine(tmp_path / "packed", 2), Engine(tmp_path / "packed", 1)
    first = next(iter(due.layers))
    assert mine.layers[first].windowed
    due.layers = dict(due.layers) | {first: dataclasses.replace(due.layers[first], windowed=False)}
    seen: list[dict[str, np.ndarray]] = [{}, {}]
    for one, engine in zip(seen, (mine, due), strict=True):
        engine(frames, lambda name, spikes, one=one: one.__setitem__(name, spikes.copy()))
    assert seen[0].keys() == seen[1].keys()
    assert all(np.array_equal(seen[0][name], seen[1][name]) for name in seen[0])
    assert np.array_equal(mine(frames), due(frames))
    streams = [mine.stream(), due.stream()]
    for step in range(frames.shape[1]):
        first, second = (one.step(frames[:, step]) for one in streams)
        assert np.array_equal(first, second)
