"""What layers see: lists of the groups that are not silent, or the windows of event counts."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np

from snnq.network.streams import COUNT_LIMIT
from snnq.runtime import frame_kernels, kernels, sparse_kernels
from snnq.runtime.bit_sums import UNITS
from snnq.runtime.sparse_weights import together
from snnq.runtime.steps import Steps
from snnq.runtime.streams import BitPlanes, Lists, Vectors, Windows, bits
from snnq.runtime.vectors import LANES, SPREAD
from snnq.runtime.weights import LayerWeights


def list_counts(steps: Steps, frames: np.ndarray, layer: LayerWeights) -> Lists | Windows:
    """Return what a layer looks up of event counts (B, T, C, H, W)."""
    begun = time.perf_counter()
    find = _windows if layer.windowed else _counts
    found = find(steps, frames, layer)
    steps.took("frames", begun)
    return found


def _counts(steps: Steps, frames: np.ndarray, layer: LayerWeights) -> Lists:
    (samples, count, _, height, width), planes = frames.shape, digit_planes(frames)
    lengths = np.empty((planes, samples * height * width, count), np.int32)
    entries = layer.groups * kernels.LARGEST_DIGIT
    lists = np.empty(lengths.size * entries + SPREAD, np.uint16)
    pieces = [
        (frames, COUNT_LIMIT, planes, lists, lengths, *part) for part in steps.parts(samples * height, count * width)
    ]
    steps.workers.run(kernels.list_counts, pieces)
    return Lists(lists, lengths, entries, kernels.DIGIT_BITS)


def _windows(steps: Steps, frames: np.ndarray, layer: LayerWeights) -> Windows:
    samples, count, _, height, width = frames.shape
    planes = digit_planes(frames) * kernels.DIGIT_BITS
    patterns = np.empty((planes, samples, height + 2, width, count), np.uint8)
    used = np.empty((samples, height + 2, width), np.uint8)
    for edge in (0, -1):
        patterns[:, :, edge] = 0
        used[:, edge] = 0
    pieces = [(frames, COUNT_LIMIT, patterns, used, *part) for part in steps.parts(samples * height, count * width)]
    steps.workers.run(frame_kernels.list_windows, pieces)
    return Windows(patterns, used)


def list_spikes(steps: Steps, planes: np.ndarray, layer: LayerWeights) -> Lists:
    """Return the lists of spikes or whole numbers in ``planes`` (planes, pixels, steps, words)."""
    begun = time.perf_counter()
    lengths = np.empty(planes.shape[:3], np.int32)
    entries = layer.groups + SPREAD
    lists = np.empty((len(planes), lengths[0].size, entries), np.uint16)
    pieces = [
        (planes[i].reshape(-1, planes.shape[-1]), layer.groups, lists[i], lengths[i].reshape(-1), *part)
        for i in range(len(planes))
        for part in steps.parts(lengths[0].size, planes.shape[-1])
    ]
    steps.workers.run(kernels.list_groups, pieces)
    steps.took("lists", begun)
    return Lists(lists.reshape(-1), lengths, entries, 1)


def list_vectors(steps: Steps, stream: BitPlanes, layer: LayerWeights) -> Vectors:
    """Return what every tap of a layer of few weights sees of 64 pixels at once."""
    begun, planes = time.perf_counter(), stream.planes[: bits(layer.step.bound)]
    pixels, count = planes.shape[1:3]
    parts, joined = -(-pixels // LANES), together(count)
    apart, inside = _taps(*stream.size, layer.radius, pixels)
    lead = -(-int(apart.max(initial=0)) // LANES)
    turned = np.empty((len(planes), layer.inputs, parts + 2 * lead + 1, count), np.uint64)
    pieces = [(planes, lead, turned, *part) for part in steps.parts(parts, planes[:, :LANES].size)]
    steps.workers.run(sparse_kernels.turn_spikes, pieces)
    inputs, rounds = len(planes) * len(apart) * layer.inputs + 1, -(-parts // joined)
    vectors = np.empty((rounds, joined * count // UNITS, inputs, UNITS), np.uint64)
    fixed = (turned, lead, apart, inside, parts, joined, vectors)
    pieces = [(*fixed, *part) for part in steps.parts(rounds, vectors[:1].size)]
    steps.workers.run(sparse_kernels.list_vectors, pieces)
    steps.took("lists", begun)
    return Vectors(vectors)


@lru_cache(maxsize=64)
def _taps(height: int, width: int, radius: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how far behind a pixel every tap looks, int64 (taps,), and where there is one: uint64 (taps, parts)."""
    reach = np.arange(-radius, radius + 1)
    down, across = (one.reshape(-1, 1) for one in np.meshgrid(reach, reach, indexing="ij"))
    pixel = np.arange(-(-pixels // LANES) * LANES)
    y, x = np.divmod(pixel % (height * width), width)
    near_y, near_x = y + down, x + across
    inside = (near_y >= 0) & (near_y < height) & (near_x >= 0) & (near_x < width) & (pixel < pixels)
    packed = np.packbits(inside, axis=1, bitorder="little").view("<u8").astype(np.uint64)
    return (down * width + across).reshape(-1).astype(np.int64), packed


def digit_planes(frames: np.ndarray) -> int:
    """Return how many digits the largest of event counts takes."""
    most = min(int(frames.max(initial=0)), COUNT_LIMIT)
    return max(1, -(-most.bit_length() // kernels.DIGIT_BITS))
