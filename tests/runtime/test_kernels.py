"""Every compiled loop against plain numpy, bit for bit, over random shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnq.network.leaks import FIXED
from snnq.runtime import kernels, reference, tables
from snnq.runtime.streams import unpack
from snnq.runtime.vectors import LANES, SPREAD
from snnq.runtime.weights import _words

SEEDS = st.integers(0, 2**32 - 1)
TYPES = [(np.int8, np.int16, np.int32), (np.int16, np.int32, np.int32), (np.int32,) * 3, (np.int64,) * 3]
LARGEST = {np.int8: 7, np.int16: 2000, np.int32: 2**12, np.int64: 2**40}
FAST = settings(max_examples=25, deadline=None)


def pack(spikes: np.ndarray) -> np.ndarray:
    """bool (pixels, steps, channels) → uint64 (pixels, steps, words)."""
    words = -(-spikes.shape[-1] // 64)
    padded = np.zeros((*spikes.shape[:-1], 64 * words), bool)
    padded[..., : spikes.shape[-1]] = spikes
    return np.packbits(padded, axis=-1, bitorder="little").view(np.uint64)


def table_of(weight: np.ndarray, kind: Any) -> np.ndarray:
    """The table of W (taps, inputs, ≤ 64), written the obvious way."""
    taps, inputs, lanes = weight.shape
    groups = -(-inputs // 4)
    padded = np.zeros((taps, 4 * groups, LANES), np.int64)
    padded[:, :inputs, :lanes] = weight
    rows = padded.reshape(taps, groups, 4, LANES)
    patterns = (np.arange(16)[:, None] >> np.arange(4)) & 1
    return np.einsum("pi,tgil->tgpl", patterns, rows).astype(kind).reshape(-1)


@FAST
@given(SEEDS, st.integers(1, 9), st.integers(1, 8), st.integers(1, 64), st.integers(0, 70))
def test_uniform_tables(seed: int, inputs: int, bits: int, lanes: int, first: int) -> None:
    draw = np.random.default_rng(seed)
    out, taps = first + lanes, int(draw.choice([1, 9]))
    codes = draw.integers(0, 2**bits, (taps * inputs, out)).astype(np.uint8)
    factor, shift = draw.integers(-2, 3, out).astype(np.int8), draw.integers(-300, 300, out).astype(np.int16)
    table = np.full(taps * -(-inputs // 4) * 16 * LANES, 77, np.int32)
    tables.build_uniform(table, _words(codes, bits), bits, factor, shift, first, lanes, taps, inputs)
    weight = factor.astype(int) * codes - shift
    assert np.array_equal(table, table_of(weight.reshape(taps, inputs, out)[..., first:], np.int32))


@FAST
@given(SEEDS, st.integers(1, 9), st.integers(2, 8), st.integers(1, 64))
def test_power_tables(seed: int, inputs: int, bits: int, lanes: int) -> None:
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 2**bits, (inputs, lanes)).astype(np.uint8)
    sign = draw.integers(-1, 2, lanes).astype(np.int8)
    lead = draw.integers(-3, 40 - min(2 ** (bits - 1), 35), lanes).astype(np.int16)
    k = codes.astype(int) & (2 ** (bits - 1) - 1)
    codes = np.where(k + lead > 40, 0, codes).astype(np.uint8)
    k = codes.astype(int) & (2 ** (bits - 1) - 1)
    table = np.full(-(-inputs // 4) * 16 * LANES, 77, np.int64)
    tables.build_power(table, _words(codes, bits), bits, sign, lead, 0, lanes, 1, inputs)
    power = k + lead
    size = np.where((k > 0) & (power >= 0), 1 << np.maximum(power, 0), 0)
    weight = np.where(codes >= 2 ** (bits - 1), -size, size) * sign
    assert np.array_equal(table, table_of(weight[None], np.int64))


@FAST
@given(SEEDS, st.integers(1, 9), st.integers(1, 64))
def test_fixed_point_tables(seed: int, inputs: int, lanes: int) -> None:
    draw = np.random.default_rng(seed)
    weight = draw.normal(size=(inputs, lanes)).astype(np.float32)
    scale = np.ldexp(draw.integers(-1, 2, lanes).astype(float), draw.integers(0, 38, lanes))
    table = np.full(-(-inputs // 4) * 16 * LANES, 77, np.int64)
    tables.build_fixed(table, weight, scale, 0, lanes, 1, inputs)
    assert np.array_equal(table, table_of(np.rint(weight * scale).astype(np.int64)[None], np.int64))


def draw_neurons(draw: np.random.Generator, kind: Any, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shifts, offsets and thresholds around which the sums (…, 64) fire now and then."""
    shift = draw.integers(0, 4, LANES)
    reach = max(1, int(np.abs(sums).max(initial=1)))
    offset = draw.integers(-reach, reach + 1, LANES)
    threshold = draw.integers(1, 4 * reach + 2, LANES)
    return shift.astype(kind), offset.astype(kind), threshold.astype(kind)


def neurons_of(sums: np.ndarray, neurons: tuple[np.ndarray, ...], leak: int) -> np.ndarray:
    """Spikes of sums (S, T, 64, H, W)."""
    shift, offset, threshold = (one.astype(np.int64)[:, None, None] for one in neurons)
    return reference.lif((sums << shift) + offset, threshold[:, 0, 0], leak)


@pytest.mark.parametrize("kinds", TYPES, ids=lambda kinds: kinds[0].__name__)
@FAST
@given(
    SEEDS,
    st.integers(1, 70),
    st.integers(1, 3),
    st.integers(1, 6),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([0, 1]),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_a_block(
    kinds: Any, seed: int, inputs: int, planes: int, steps: int, size: tuple[int, int], radius: int, rate: float
) -> None:
    draw = np.random.default_rng(seed)
    (height, width), samples, side = size, 2, 2 * radius + 1
    bits = draw.random((planes, samples * height * width, steps, inputs)) < rate
    largest = min(LARGEST[kinds[0]], (2**15 - 1) // (side * side * inputs * 7) if kinds[0] is np.int8 else 2**62)
    weight = draw.integers(-max(largest, 1), max(largest, 1) + 1, (side * side, inputs, LANES))
    groups = -(-inputs // 4)
    lists = np.full((planes, samples * height * width * steps, groups + SPREAD), 9999, np.uint16)
    lengths = np.zeros(lists.shape[:2], np.int32)
    for plane in range(planes):
        words = pack(bits[plane]).reshape(lists.shape[1], -1)
        kernels.list_groups(words, groups, lists[plane], lengths[plane], 0, lists.shape[1])
    x = (bits * (1 << np.arange(planes))[:, None, None, None]).sum(0)
    x = x.reshape(samples, height, width, steps, inputs).transpose(0, 3, 4, 1, 2)
    sums = reference.convolve(x, weight.transpose(2, 1, 0).reshape(LANES, inputs, side, side))
    neurons, leak = draw_neurons(draw, kinds[2], sums), int(draw.choice([2, 3]))
    shape = (planes, samples * height * width, steps)
    out = np.full((samples * height * width, steps, 3), 7, np.uint64)
    middle = out.shape[0] // 2
    for begin, end in ((0, middle), (middle, out.shape[0])):
        kernels.run_block(
            table_of(weight, kinds[0]),
            lists.reshape(-1),
            lengths.reshape(shape),
            lists.shape[-1],
            1,
            height,
            width,
            radius,
            groups,
            *neurons,
            leak,
            np.empty(LANES, kinds[1]),
            np.empty((1, 1, LANES), kinds[2]),
            False,
            out,
            1,
            begin,
            end,
        )
    due = neurons_of(sums, neurons, leak).transpose(0, 3, 4, 1, 2).reshape(-1, steps, LANES)
    assert np.array_equal(unpack(np.ascontiguousarray(out[..., 1:2]), LANES), due)
    assert (out[..., 0] == 7).all()
    assert (out[..., 2] == 7).all()


@FAST
@given(
    SEEDS,
    st.integers(1, 9),
    st.integers(1, 5),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.sampled_from([1, 8, 150, 5000]),
    st.sampled_from([np.uint8, np.uint16]),
)
def test_event_counts(
    seed: int, channels: int, steps: int, size: tuple[int, int], hot: int, kind: type[np.unsignedinteger]
) -> None:
    draw = np.random.default_rng(seed)
    (height, width), samples, limit = size, 2, 4095
    frames = draw.poisson(0.5, (samples, steps, channels, height, width)).astype(kind)
    frames[draw.random(frames.shape) < 0.05] = min(hot, int(np.iinfo(kind).max))
    clipped = np.minimum(frames.astype(np.int64), limit)
    planes = max(1, -(-int(clipped.max()).bit_length() // kernels.DIGIT_BITS))
    groups = -(-channels // 4)
    entries = groups * kernels.LARGEST_DIGIT
    lengths = np.full((planes, samples * height * width, steps), 5, np.int32)
    lists = np.full(lengths.size * entries + SPREAD, 9999, np.uint16)
    kernels.list_counts(frames, limit, planes, lists, lengths, 0, 1)
    kernels.list_counts(frames, limit, planes, lists, lengths, 1, samples * height)
    weight = draw.integers(-100, 101, (9, channels, LANES))
    sums = reference.convolve(clipped, weight.transpose(2, 1, 0).reshape(LANES, channels, 3, 3))
    neurons = draw_neurons(draw, np.int64, sums)
    out = np.zeros((lengths.shape[1], steps, 1), np.uint64)
    scratch = np.empty(LANES, np.int32), np.empty((1, 1, LANES), np.int64), False
    given_lists = (lists, lengths, entries, kernels.DIGIT_BITS, height, width, 1, groups)
    kernels.run_block(table_of(weight, np.int16), *given_lists, *neurons, 2, *scratch, out, 0, 0, len(out))
    due = neurons_of(sums, neurons, 2).transpose(0, 3, 4, 1, 2).reshape(-1, steps, LANES)
    assert np.array_equal(unpack(out, LANES), due)


@FAST
@given(SEEDS, st.integers(1, 130), st.integers(1, 4), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_pool(seed: int, channels: int, steps: int, size: tuple[int, int]) -> None:
    draw, (height, width), samples = np.random.default_rng(seed), size, 2
    spikes = draw.random((samples, steps, channels, height, width)) < 0.2
    words = pack(spikes.transpose(0, 3, 4, 1, 2).reshape(-1, steps, channels))
    stride, (side, edge) = int(draw.choice([1, 2])), ((3, 1), (1, 0), (2, 0), (2, 1))[int(draw.integers(4))]
    low, across = ((one + 2 * edge - side) // stride + 1 for one in size)
    if min(low, across) < 1:
        return  # no window fits
    window = side, edge, stride, low, across
    out = np.full((samples * low * across, steps, words.shape[-1]), 7, np.uint64)
    kernels.pool(words, height, width, window, out, 0, 1)
    kernels.pool(words, height, width, window, out, 1, samples * low)
    images = torch.from_numpy(spikes.astype(np.float64)).flatten(0, 1)
    torchs = nn.functional.max_pool2d(images, side, stride, edge).unflatten(0, (samples, steps)).numpy()
    assert np.array_equal(reference.max_pool(spikes, stride, side, edge), torchs)
    due = torchs.transpose(0, 3, 4, 1, 2).reshape(-1, steps, channels)
    assert np.array_equal(unpack(out, channels), due)


@FAST
@given(SEEDS, st.integers(0, 6), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_residuals_and_totals(seed: int, bound: int, tokens: int, steps: int, words: int) -> None:
    draw, samples = np.random.default_rng(seed), 2
    values = draw.integers(0, bound + 1, (samples * tokens, steps, 64 * words))
    spikes = draw.random(values.shape) < 0.5
    used = (bound + 1).bit_length()
    planes = np.stack([pack((values >> i) & 1 == 1) for i in range(used + 1)])
    flat = planes.reshape(len(planes), -1)
    kernels.add_spikes(flat, used, pack(spikes).reshape(-1), 0, flat.shape[1])
    found = sum(unpack(plane, 64 * words).astype(int) << i for i, plane in enumerate(planes))
    assert np.array_equal(found, values + spikes)
    numbers, doubling = draw.integers(-(2**20), 2**20, values.shape).astype(np.int32), int(draw.integers(0, 17))
    due = numbers + ((values + spikes) << doubling)
    kernels.add_to_numbers(planes[:used], doubling, numbers, 0, len(numbers))
    assert np.array_equal(numbers, due)
    sums = np.full((samples, 64 * words), 7, np.int32)
    kernels.total(planes, tokens, sums, 0, samples)
    assert np.array_equal(sums, (values + spikes).reshape(samples, tokens * steps, -1).sum(1))


@FAST
@given(SEEDS, st.integers(1, 9), st.integers(1, 5), st.integers(1, 8), st.integers(1, 40), st.integers(0, 8))
def test_attention(seed: int, tokens: int, steps: int, heads: int, size: int, shift: int) -> None:
    draw, samples = np.random.default_rng(seed), 2
    q, k, v = (draw.random((samples * tokens, steps, heads * size)) < 0.4 for _ in range(3))
    threshold, leak = int(draw.integers(1, 12)) << shift, int(draw.choice([2, 3, FIXED + int(draw.integers(FIXED))]))
    chunk = int(draw.choice([one for one in range(1, steps + 1) if steps % one == 0]))
    words = -(-heads * size // 64)
    out = np.full((samples * tokens, steps, words), 7, np.uint64)
    together = int(np.lcm(size, 64)) // 64
    for sample in range(samples):
        for first in range(0, words, together):
            last = min(first + together, words)
            fixed = (tokens, size, chunk, shift, threshold, leak, np.empty((1, 1, LANES), np.int32), False, out)
            kernels.attend(pack(q), pack(k), pack(v), *fixed, sample, first, last)
    parts = (one.reshape(samples, tokens, steps, -1).transpose(0, 2, 3, 1)[..., None].astype(int) for one in (q, k, v))
    mixed = reference.attend(*parts, heads=heads, chunk=chunk) << shift
    due = reference.lif(mixed, np.array([threshold]), leak)[..., 0].transpose(0, 3, 1, 2).reshape(q.shape)
    assert np.array_equal(unpack(out, heads * size), due)
