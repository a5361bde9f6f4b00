"""The engine's steps that change one stream: pooling, sums over tokens, activations, edges."""

from __future__ import annotations

import time

import numpy as np

from snnq.arithmetic.integers import Codes
from snnq.network.combining import First, Pool, Sum
from snnq.runtime import kernels, layer_kernels, number_kernels, spike_kernels
from snnq.runtime.steps import Steps
from snnq.runtime.streams import (
    BitPlanes,
    Numbers,
    bits,
    flatten_numbers,
    flatten_spikes,
    lanes_of,
    sum_windows,
)
from snnq.runtime.vectors import LANES


def pool(steps: Steps, one: Pool, stream: BitPlanes | Numbers, samples: int) -> BitPlanes | Numbers:
    """Return a max-pooled stream of spikes, or of numbers."""
    begun, (low, across) = time.perf_counter(), one.pooled(stream.size)
    window = one.kernel, one.padding, one.stride, low, across
    if isinstance(stream, Numbers):
        values = np.empty((samples * low * across, *stream.values.shape[1:]), stream.values.dtype)
        rows = steps.parts(samples * low, across * values[:1].size)
        pieces = [(stream.values, *stream.size, window, values, *part) for part in rows]
        steps.workers.run(layer_kernels.pool_numbers, pieces)
        found = Numbers(values, low, across, stream.channels)
    elif one.heads is not None:
        out = np.empty_like(stream.spikes)
        steps.workers.run(_pool_by_head, [(stream, one.heads, out)])
        found = stream._replace(planes=out[None])
    else:
        spikes = stream.spikes
        out = np.empty((samples * low * across, *spikes.shape[1:]), np.uint64)
        rows = steps.parts(samples * low, across * spikes[:1].size)
        steps.workers.run(kernels.pool, [(spikes, *stream.size, window, out, *part) for part in rows])
        found = BitPlanes(out[None], low, across, stream.channels)
    steps.took("pool", begun)
    return found


def mean_pool(steps: Steps, stream: Numbers, samples: int) -> Numbers:
    """Return the sums of windows of 2×2; at odd edges numbers count twice, in a corner four times."""
    begun, (height, width), values = time.perf_counter(), stream.size, stream.values
    low, across = (height + 1) // 2, (width + 1) // 2
    found = np.empty((samples * low * across, *values.shape[1:]), values.dtype)
    images, sums = (
        one.reshape(samples, *size, *one.shape[1:]) for one, size in ((values, stream.size), (found, (low, across)))
    )
    steps.workers.run(sum_windows, [(images, sums)])
    steps.took("pool", begun)
    return Numbers(found, low, across, stream.channels)


def rectify(steps: Steps, stream: Numbers) -> Numbers:
    """Return max(x, 0) of numbers."""
    begun, values = time.perf_counter(), stream.values
    found = np.empty_like(values)
    parts = steps.parts(len(values), values[:1].size)
    steps.workers.run(np.clip, [(values[first:stop], 0, None, found[first:stop]) for first, stop in parts])
    steps.took("activations", begun)
    return stream._replace(values=found)


def quantise(steps: Steps, codes: Codes, stream: Numbers) -> Numbers:
    """Return numbers as activations of few bits."""
    begun, values = time.perf_counter(), stream.values
    found = np.empty(values.shape, np.int32)
    how = codes.multiplier, codes.half, codes.shift, codes.least, codes.most
    pieces = [(values, how, found, *part) for part in steps.parts(len(values), values[:1].size)]
    steps.workers.run(number_kernels.quantise_numbers, pieces)
    steps.took("activations", begun)
    return stream._replace(values=found)


def flatten(steps: Steps, stream: BitPlanes | Numbers, samples: int) -> BitPlanes | Numbers:
    """Return a stream whose channels are all pixels of all channels."""
    begun, count = time.perf_counter(), stream.channels * stream.pixels
    if isinstance(stream, Numbers):
        values = np.zeros((samples, stream.values.shape[1], lanes_of(count)), stream.values.dtype)
        steps.workers.run(flatten_numbers, [(stream, values)])
        found = Numbers(values, 1, 1, count)
    else:
        planes = bits(stream.bound)
        out = np.empty((planes, samples, stream.planes.shape[2], lanes_of(count) // LANES), np.uint64)
        steps.workers.run(flatten_spikes, [(stream, out)])
        found = BitPlanes(out, 1, 1, count, stream.bound)
    steps.took("flattened", begun)
    return found


def pad(steps: Steps, stream: BitPlanes, samples: int) -> BitPlanes:
    """Return a stream with a pixel of zeros around every image."""
    planes, (height, width) = stream.planes, stream.size
    images = planes.reshape(len(planes), samples, height, width, *planes.shape[2:])
    padded = np.zeros((len(planes), samples, height + 2, width + 2, *planes.shape[2:]), np.uint64)
    steps.workers.run(np.copyto, [(padded[:, :, 1:-1, 1:-1], images)])
    size = {"height": height + 2, "width": width + 2}
    return stream._replace(planes=padded.reshape(len(planes), -1, *planes.shape[2:]), **size)


def first_steps(steps: Steps, one: First, stream: Numbers) -> Numbers:
    """Return the first steps of numbers, as many of them as are still to come."""
    begun, left = time.perf_counter(), max(0, one.steps - (steps.memory.taken if steps.memory is not None else 0))
    seen = stream.values[:, :left]
    found = np.empty(seen.shape, seen.dtype)
    steps.workers.run(np.copyto, [(found, seen)])
    steps.took("switches", begun)
    return stream._replace(values=found)


def sum_spikes(steps: Steps, one: Sum, stream: BitPlanes, samples: int) -> Numbers:
    """Return sums of spikes over tokens, or over the features of each head."""
    begun, spikes = time.perf_counter(), stream.spikes
    if one.over == "tokens":
        sums = np.empty((samples, spikes.shape[1], spikes.shape[2] * LANES), np.int32)
        pieces = [(spikes, stream.pixels, sums, *part) for part in steps.parts(samples, spikes.size)]
        steps.workers.run(spike_kernels.sum_tokens, pieces)
        found = Numbers(sums, 1, 1, stream.channels)
    else:
        sums = np.empty((*spikes.shape[:2], lanes_of(one.heads)), np.int32)
        size = stream.channels // one.heads
        pieces = [(spikes, size, sums, *part) for part in steps.parts(len(spikes), spikes[:1].size)]
        steps.workers.run(spike_kernels.sum_features, pieces)
        found = Numbers(sums, stream.height, stream.width, one.heads)
    steps.took(one.gives, begun)
    return found


def mean(steps: Steps, read: BitPlanes | Numbers, samples: int) -> Numbers:
    """Return sums over tokens, int64."""
    if isinstance(read, Numbers):
        values = read.values.reshape(samples, read.pixels, *read.values.shape[1:])
        total = np.empty((samples, *read.values.shape[1:]), np.int64)
        steps.workers.run(np.sum, [(values, 1, np.int64, total)])
    else:
        total = np.empty((samples, read.planes.shape[2], read.planes.shape[3] * LANES), np.int64)
        steps.workers.run(_sum_planes, [(read.planes[: bits(read.bound)], read.pixels, total)])
    return Numbers(total, 1, 1, read.channels)


def total(steps: Steps, read: BitPlanes | Numbers, samples: int, name: str) -> np.ndarray:
    """Return what a head is given: sums over tokens and steps, int64 (samples, channels)."""
    begun, sums = time.perf_counter(), totals(steps, read, samples)
    steps.took(name, begun)
    return sums


def totals(steps: Steps, read: BitPlanes | Numbers, samples: int) -> np.ndarray:
    """Return the sums of a stream over tokens and steps, int64 (samples, channels)."""
    found = np.empty((samples, read.channels), np.int64)
    if isinstance(read, Numbers):
        _, count, lanes = read.values.shape
        sums = np.empty((samples, lanes), np.int64)
        values = read.values.reshape(samples, read.pixels * count, lanes)
        steps.workers.run(np.sum, [(values, 1, np.int64, sums)])
    else:
        sums = np.empty((samples, LANES * read.planes.shape[-1]), np.int32)
        pieces = [(read.planes, read.pixels, sums, *part) for part in steps.parts(samples, read.planes[:, :1].size)]
        steps.workers.run(kernels.total, pieces)
    steps.workers.run(np.copyto, [(found, sums[:, : read.channels])])
    return found


def _pool_by_head(stream: BitPlanes, heads: int, pooled: np.ndarray) -> None:
    """Pool spikes by an OR over 3×3 of (tokens, features of a head), uint64 (pixels, steps, words)."""
    spikes, size, tokens = stream.spikes, stream.channels // heads, stream.pixels
    channels = np.arange(spikes.shape[-1] * LANES)
    first, last = (
        np.packbits(channels % size == place, bitorder="little").view("<u8").astype(np.uint64)
        for place in (0, size - 1)
    )
    one, top = np.uint64(1), np.uint64(LANES - 1)
    up, down = spikes << one, spikes >> one
    up[..., 1:] |= spikes[..., :-1] >> top
    down[..., :-1] |= spikes[..., 1:] << top
    wide = spikes | (up & ~first) | (down & ~last)
    by_sample = wide.reshape(-1, tokens, *wide.shape[1:])
    out = by_sample.copy()
    out[:, 1:] |= by_sample[:, :-1]
    out[:, :-1] |= by_sample[:, 1:]
    pooled[:] = out.reshape(spikes.shape)


def _sum_planes(planes: np.ndarray, tokens: int, total: np.ndarray) -> None:
    """Sum whole numbers over the tokens of each sample, int64 (samples, steps, lanes)."""
    sums = np.empty(total.shape, np.int32)
    total[:] = 0
    for number, plane in enumerate(planes):
        spike_kernels.sum_tokens(plane, tokens, sums, 0, len(total))
        total += sums.astype(np.int64) << number
