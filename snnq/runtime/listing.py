"""What layers see: lists of the groups that are not silent, or the windows of event counts."""

from __future__ import annotations

import time

import numpy as np

from snnq.network.streams import COUNT_LIMIT
from snnq.runtime import frame_kernels, kernels
from snnq.runtime.steps import Steps
from snnq.runtime.streams import Lists, Windows
from snnq.runtime.vectors import SPREAD
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


def digit_planes(frames: np.ndarray) -> int:
    """Return how many digits the largest of event counts takes."""
    most = min(int(frames.max(initial=0)), COUNT_LIMIT)
    return max(1, -(-most.bit_length() // kernels.DIGIT_BITS))
