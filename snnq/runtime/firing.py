"""The engine's neurons behind attentions, and behind whole numbers of one unit."""

from __future__ import annotations

import math
import time
from functools import partial

import numpy as np

from snnq.arithmetic.whole_network import Compared
from snnq.network.operations import Attention
from snnq.runtime import kernels, layer_kernels, number_kernels
from snnq.runtime.program import Piece
from snnq.runtime.steps import Steps
from snnq.runtime.streams import (
    BitPlanes,
    Numbers,
    bits,
    lanes_of,
    numbers_of,
)
from snnq.runtime.vectors import LANES


def mix(
    steps: Steps, one: Attention, neuron: str, found: Compared, streams: list[BitPlanes], samples: int
) -> BitPlanes:
    """Return the spikes of the neurons behind (Q Kᵀ) V · scale."""
    begun, first_one = time.perf_counter(), streams[0]
    if found.thresholds or any(stream.bound > 1 or stream.channels != first_one.channels for stream in streams):
        return fire(steps, found, _mix_numbers(steps, one, streams, samples), neuron)
    spikes = [stream.spikes for stream in streams]
    size, words = first_one.channels // one.heads, spikes[0].shape[-1]
    out, tokens = np.empty_like(spikes[0]), first_one.pixels
    # Words that no head reaches across.
    together = math.lcm(size, LANES) // LANES
    voltages = steps.voltages(neuron, samples * tokens, words, np.int32)
    state = np.empty((0, 0, 0), np.int32) if voltages is None else voltages
    fixed = (tokens, size, one.chunk, found.shift, found.threshold, found.leak, state, voltages is not None, out)
    pieces = [
        (*spikes, *fixed, sample, first, min(first + together, words))
        for sample in range(samples)
        for first in range(0, words, together)
    ]
    steps.workers.run(kernels.attend, pieces)
    steps.took(one.module, begun)
    return first_one._replace(planes=out[None])


def _mix_numbers(steps: Steps, one: Attention, streams: list[BitPlanes], samples: int) -> Numbers:
    """Return the sums (Q Kᵀ) V of whole numbers."""
    begun, values = time.perf_counter(), streams[2]
    mixed = [np.empty((*stream.planes.shape[1:3], stream.channels), np.int32) for stream in streams]
    steps.workers.run(numbers_of, list(zip(streams, mixed, strict=True)))
    sums = np.zeros((*mixed[2].shape[:2], lanes_of(values.channels)), np.int32)
    fixed = (*mixed, values.pixels, one.heads, one.chunk, sums[:, :, : values.channels])
    pieces = [(*fixed, *part) for part in steps.parts(samples * one.heads, mixed[0][:1].size)]
    steps.workers.run(number_kernels.attend_numbers, pieces)
    steps.took(one.module, begun)
    return Numbers(sums, values.height, values.width, values.channels)


def fire(steps: Steps, found: Compared, numbers: Numbers, name: str) -> BitPlanes:
    """Return the spikes of neurons that are given whole numbers of one unit."""
    begun, values = time.perf_counter(), numbers.values
    pixels, count, lanes = values.shape
    kind = np.int64 if found.wide or values.dtype == np.int64 else np.int32
    if values.dtype != kind:
        values = np.empty(values.shape, kind)
        steps.workers.run(np.copyto, [(values, numbers.values)])
    if found.thresholds:
        return _count(steps, found, numbers._replace(values=np.ascontiguousarray(values)), name)
    threshold = np.full(lanes, np.iinfo(kind).max, kind)
    threshold[: numbers.channels] = found.threshold
    out = np.empty((pixels, count, lanes // LANES), np.uint64)
    voltages = steps.voltages(name, pixels, lanes // LANES, kind)
    pieces = [(values, threshold, found, voltages, out, *part) for part in steps.parts(pixels, values[:1].size)]
    steps.workers.run_prepared(partial(_fire_numbers, steps), pieces)
    steps.took(name, begun)
    return BitPlanes(out[None], numbers.height, numbers.width, numbers.channels)


def _count(steps: Steps, found: Compared, numbers: Numbers, name: str) -> BitPlanes:
    """Return the spikes of integer neurons."""
    begun, values, most = time.perf_counter(), numbers.values, len(found.thresholds)
    pixels, count, lanes = values.shape
    thresholds = np.full((most, lanes), np.iinfo(values.dtype).max, values.dtype)
    thresholds[:, : numbers.channels] = np.array(found.thresholds, values.dtype)[:, None]
    out = np.empty((bits(most), pixels, count, lanes // LANES), np.uint64)
    pieces = [(values, thresholds, out, *part) for part in steps.parts(pixels, values[:1].size)]
    steps.workers.run(number_kernels.count_numbers, pieces)
    steps.took(name, begun)
    return BitPlanes(out, numbers.height, numbers.width, numbers.channels, most)


def _fire_numbers(
    steps: Steps, values: np.ndarray, threshold: np.ndarray, found: Compared, voltages: np.ndarray | None, *rest: object
) -> Piece:
    state = steps.state(voltages, values.dtype.type)
    return ((layer_kernels.fire_numbers, (values, found.shift, threshold, found.leak, *state, *rest)),)
