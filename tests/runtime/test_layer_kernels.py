"""Layers that are strided, depth-wise, pooled before their neurons, or kept: against plain numpy, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import FAST, SEEDS, draw_neurons, neurons_of, pack, table_of

from snnq.network.combining import Multiply, Pool, Sum
from snnq.runtime import changing, joining, kernels, layer_kernels, reference
from snnq.runtime.layers import _meetings
from snnq.runtime.steps import Steps
from snnq.runtime.streams import BitPlanes, Numbers, unpack
from snnq.runtime.vectors import LANES, SPREAD
from snnq.runtime.workers import Workers

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))
SAMPLES = 2


def drawn_layer(
    draw: np.random.Generator, size: tuple[int, int], radius: int, stride: int, steps: int, *, depthwise: bool
) -> tuple[tuple[Any, ...], np.ndarray]:
    """The inputs of a layer's loop for block 0, and its sums (S, T, 64, h, w)."""
    (height, width), side, planes = size, 2 * radius + 1, int(draw.integers(1, 3))
    inputs = LANES if depthwise else int(draw.integers(1, 12))
    bits = draw.random((planes, SAMPLES * height * width, steps, inputs)) < 0.4
    words = np.stack([pack(plane) for plane in bits])
    x = (bits * (1 << np.arange(planes))[:, None, None, None]).sum(0)
    x = x.reshape(SAMPLES, height, width, steps, inputs).transpose(0, 3, 4, 1, 2)
    weight = draw.integers(-9, 10, (side * side, 1 if depthwise else inputs, LANES))
    sums = reference.convolve(x, weight.transpose(2, 1, 0).reshape(LANES, -1, side, side), (stride, stride))
    if depthwise:
        nothing = (np.empty(0, np.uint16), np.empty((0, 0, 0), np.int32), 0, 0)
        return (weight.astype(np.int32).reshape(-1), *nothing, words, size, radius, 0), sums
    groups = -(-inputs // 4)
    lists = np.full((planes, SAMPLES * height * width * steps, groups + SPREAD), 9999, np.uint16)
    lengths = np.zeros(lists.shape[:2], np.int32)
    for plane in range(planes):
        kernels.list_groups(
            words[plane].reshape(lists.shape[1], -1), groups, lists[plane], lengths[plane], 0, lists.shape[1]
        )
    shape = (planes, SAMPLES * height * width, steps)
    seen = (lists.reshape(-1), lengths.reshape(shape), lists.shape[-1], 1)
    return (table_of(weight, np.int32), *seen, np.empty((0, 0, 0, 0), np.uint64), size, radius, groups), sums


def by_pixel(values: np.ndarray) -> np.ndarray:
    """(S, T, C, h, w) as (pixels, T, C)."""
    return values.transpose(0, 3, 4, 1, 2).reshape(-1, values.shape[1], values.shape[2])


@FAST
@given(SEEDS, SIZES, st.integers(0, 2), st.integers(1, 3), st.integers(1, 4), st.booleans())
def test_strided_and_kept(
    seed: int, size: tuple[int, int], radius: int, stride: int, steps: int, depthwise: bool
) -> None:
    draw = np.random.default_rng(seed)
    inputs, due = drawn_layer(draw, size, radius, stride, steps, depthwise=depthwise)
    neurons, leak = draw_neurons(draw, np.int32, due), int(draw.choice([1, 2, 3]))
    sums, state = np.empty((steps, LANES), np.int32), np.empty((1, 1, LANES), np.int32)
    out = np.full((len(by_pixel(due)), steps, 1), 7, np.uint64)
    half = len(out) // 2
    for part in ((0, half), (half, len(out))):
        layer_kernels.run_strided(inputs, stride, neurons, leak, sums, state, False, out, 0, *part)
    assert np.array_equal(unpack(out, LANES), by_pixel(neurons_of(due, neurons, leak)))

    shift = draw.integers(0, 20, LANES)
    kept = (draw.integers(0, 2**16, LANES), (1 << shift) >> 1, shift, draw.integers(-1000, 1000, LANES))
    potentials = np.full((len(out), steps, LANES), 7, np.int32)
    layer_kernels.keep_block(inputs, stride, kept, sums, potentials, 0, 0, len(out))
    exact = np.floor((by_pixel(due) * kept[0] + kept[1]) / 2.0**shift) + kept[3]  # whole in float64
    assert np.array_equal(potentials, exact.astype(np.int64))


@FAST
@given(SEEDS, SIZES, st.integers(0, 1), st.integers(1, 4), st.booleans())
def test_pooled(seed: int, size: tuple[int, int], radius: int, steps: int, depthwise: bool) -> None:
    draw = np.random.default_rng(seed)
    inputs, sums = drawn_layer(draw, size, radius, 1, steps, depthwise=depthwise)
    neurons, leak = draw_neurons(draw, np.int32, sums), int(draw.choice([1, 2, 3]))
    due = by_pixel(neurons_of(reference.max_pool(sums), neurons, leak))
    rows = SAMPLES * -(-size[0] // 2)
    ring = np.full((3, size[1], steps, LANES), 77, np.int32)
    scratch, state = np.empty((steps, LANES), np.int32), np.empty((1, 1, LANES), np.int32)
    out = np.full((len(due), steps, 1), 7, np.uint64)
    middle = int(draw.integers(0, rows + 1))
    for part in ((middle, rows), (0, middle)):
        layer_kernels.run_pooled(inputs, neurons, leak, ring, scratch, state, False, out, 0, *part)
    assert np.array_equal(unpack(out, LANES), due)


@FAST
@given(SEEDS, SIZES, st.sampled_from([1, 2]), st.integers(1, 4), st.integers(1, 5), st.integers(1, 40))
def test_steps_without_weights(
    seed: int, size: tuple[int, int], stride: int, steps: int, heads: int, width: int
) -> None:
    draw, channels, run = np.random.default_rng(seed), heads * width, Steps(Workers(1), 3)
    x, y = ((draw.random((SAMPLES, steps, channels, *size)) < 0.3).astype(np.int64) for _ in range(2))
    first, second = (BitPlanes(pack(by_pixel(one) == 1)[None], *size, channels) for one in (x, y))
    tokens = size[0] * size[1]

    def check(found: BitPlanes | Numbers, due: np.ndarray) -> None:
        if isinstance(found, BitPlanes):
            parts = [unpack(plane, found.channels).astype(int) << i for i, plane in enumerate(found.planes)]
            assert np.array_equal(sum(parts), by_pixel(due))
        else:
            assert np.array_equal(found.values[..., : found.channels], by_pixel(due))

    check(changing.pool(run, Pool(("x",), "y", stride), first, SAMPLES), reference.max_pool(x, stride))
    if min(size) > 1:
        check(
            changing.pool(run, Pool(("x",), "y", 2, kernel=2, padding=0), first, SAMPLES),
            reference.max_pool(x, 2, 2, 0),
        )
    check(changing.flatten(run, first, SAMPLES), x.reshape(*x.shape[:2], -1, 1, 1))
    check(
        changing.flatten(run, joining.add(run, first, second, False), SAMPLES), (x + y).reshape(*x.shape[:2], -1, 1, 1)
    )
    by_head = x.reshape(SAMPLES, steps, heads, width, tokens)
    check(
        changing.pool(run, Pool(("x",), "y", 1, heads), first, SAMPLES), reference.max_pool(by_head, 1).reshape(x.shape)
    )
    check(joining.multiply(run, Multiply(("x", "y"), "z"), first, second, SAMPLES), x * y)
    sums = changing.sum_spikes(run, Sum("tokens", ("x",), "s"), first, SAMPLES)
    check(sums, x.sum((3, 4), keepdims=True))
    check(changing.mean(run, first, SAMPLES), x.sum((3, 4), keepdims=True))
    check(
        changing.sum_spikes(run, Sum("features", ("x",), "s", heads), first, SAMPLES),
        x.reshape(*x.shape[:2], heads, width, *size).sum(3),
    )
    gate = (draw.random((SAMPLES, steps, heads, *size)) < 0.5).astype(np.int64)
    gates = BitPlanes(pack(by_pixel(gate) == 1)[None], *size, heads)
    check(joining.multiply(run, Multiply(("g", "x"), "z"), gates, first, SAMPLES), gate.repeat(width, 2) * x)
    one = (draw.random((SAMPLES, steps, channels, 1, 1)) < 0.5).astype(np.int64)
    alone = BitPlanes(pack(by_pixel(one) == 1)[None], 1, 1, channels)
    check(joining.multiply(run, Multiply(("g", "x"), "z"), alone, first, SAMPLES), one * x)
    added = joining.add(run, joining.add(run, first, second, False), first, True)
    check(added, 2 * x + y)
    check(first, x)


@pytest.mark.parametrize("stride", [1, 2])
def test_potentials_are_pooled_and_added(stride: int) -> None:
    draw, run = np.random.default_rng(stride), Steps(Workers(1), 1)
    x = draw.integers(-(2**27), 2**27, (SAMPLES, 3, LANES, 5, 4))
    numbers = Numbers(by_pixel(x).astype(np.int32), 5, 4, LANES)
    found = changing.pool(run, Pool(("x",), "y", stride), numbers, SAMPLES)
    assert isinstance(found, Numbers)
    assert np.array_equal(found.values, by_pixel(reference.max_pool(x, stride)))
    found = changing.pool(run, Pool(("x",), "y", 2, kernel=2, padding=0), numbers, SAMPLES)
    assert isinstance(found, Numbers)
    assert np.array_equal(found.values, by_pixel(reference.max_pool(x, 2, 2, 0)))
    found = changing.flatten(run, numbers, SAMPLES)
    assert isinstance(found, Numbers)
    assert np.array_equal(found.values[..., : found.channels], by_pixel(x.reshape(*x.shape[:2], -1, 1, 1)))
    before = numbers.values.copy()
    found = joining.add(run, numbers, numbers, False)
    assert isinstance(found, Numbers)
    assert np.array_equal(found.values, 2 * before)
    assert np.array_equal(numbers.values, before)


@pytest.mark.parametrize(("side", "kernel", "stride", "due"), [(5, 3, 1, 13), (5, 3, 2, 7), (4, 3, 2, 5), (4, 1, 1, 4)])
def test_taps_outside_an_image_look_nothing_up(side: int, kernel: int, stride: int, due: int) -> None:
    assert _meetings(side, kernel, stride) == due
