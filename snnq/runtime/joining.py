"""The engine's steps that join streams: residual sums, concatenations, switches, gates."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from snnq.network.combining import Multiply, Switch
from snnq.runtime import kernels, spike_kernels
from snnq.runtime.steps import Steps
from snnq.runtime.streams import (
    BitPlanes,
    Numbers,
    bits,
    concat_numbers,
    concat_spikes,
    lanes_of,
)
from snnq.runtime.vectors import LANES


def add(steps: Steps, first: BitPlanes | Numbers, second: BitPlanes | Numbers, free: bool) -> BitPlanes | Numbers:
    """Return a residual sum, in the memory of the first one where that is ``free``."""
    begun = time.perf_counter()
    if isinstance(first, Numbers) and isinstance(second, Numbers):
        out = first.values if free else np.empty_like(first.values)
        steps.workers.run(np.add, [(first.values, second.values, out)])
        found = first._replace(values=out)
    else:
        assert isinstance(first, BitPlanes)
        assert isinstance(second, BitPlanes)
        found = _add_planes(steps, first, second, free)
    steps.took("residuals", begun)
    return found


def _add_planes(steps: Steps, first: BitPlanes, second: BitPlanes, free: bool) -> BitPlanes:
    planes, bound = first.planes, first.bound + second.bound
    if len(planes) < steps.planes or not free:
        planes = np.empty((steps.planes, *planes.shape[1:]), np.uint64)
        steps.workers.run(_widen, [(first.planes, planes)])
    flat = planes.reshape(len(planes), -1)
    for number, plane in enumerate(second.planes[: bits(second.bound)]):
        high, spikes = flat[number:], plane.reshape(-1)
        pieces = [(high, bits(bound) - number, spikes, *part) for part in steps.parts(flat.shape[1], len(high))]
        steps.workers.run(kernels.add_spikes, pieces)
    return first._replace(planes=planes, bound=bound)


def raised(steps: Steps, numbers: Numbers, spikes: BitPlanes, parts: int, free: bool) -> Numbers:
    """Return potentials and ``parts`` of them for each spike, in the same memory where that is ``free``."""
    begun, values = time.perf_counter(), numbers.values
    assert values.dtype == np.int32, "potentials are in 32 bits, but for their sums"
    out = values if free else np.empty_like(values)
    if not free:
        steps.workers.run(np.copyto, [(out, values)])
    planes, doubling = spikes.planes[: bits(spikes.bound)], parts.bit_length() - 1  # 2^f of them
    pieces = [(planes, doubling, out, *part) for part in steps.parts(len(out), values[:1].size)]
    steps.workers.run(kernels.add_to_numbers, pieces)
    steps.took("residuals", begun)
    return numbers._replace(values=out)


def concat(steps: Steps, factors: Sequence[int], streams: Sequence[BitPlanes | Numbers]) -> BitPlanes | Numbers:
    """Return the channels of two streams, the numbers of each times its factor, one behind the other."""
    begun, size, channels = time.perf_counter(), streams[0].size, sum(one.channels for one in streams)
    spikes = [one for one in streams if isinstance(one, BitPlanes)]
    if len(spikes) == len(streams):
        bound = max(one.bound for one in spikes)
        out = np.empty((bits(bound), *spikes[0].planes.shape[1:3], lanes_of(channels) // LANES), np.uint64)
        steps.workers.run(concat_spikes, [(spikes, out)])
        found = BitPlanes(out, *size, channels, bound)
    else:
        numbers = [one.values for one in streams if isinstance(one, Numbers)]
        kind = np.result_type(*numbers)
        values = np.zeros((*numbers[0].shape[:2], lanes_of(channels)), kind)
        steps.workers.run(concat_numbers, [(streams, factors, values)])
        found = Numbers(values, *size, channels)
    steps.took("concatenations", begun)
    return found


def switch(steps: Steps, one: Switch, first: Numbers, later: Numbers, samples: int) -> Numbers:
    """Return the numbers of the first steps, and behind them the later ones of the other stream."""
    begun, (down, across), values = time.perf_counter(), one.strides, later.values
    taken = first.values.shape[1]
    found = np.empty((len(first.values), *values.shape[1:]), values.dtype)
    images = values.reshape(samples, *later.size, *values.shape[1:])[:, ::down, ::across, taken:]
    to = found.reshape(samples, *first.size, *values.shape[1:])[:, :, :, taken:]
    steps.workers.run(np.copyto, [(found[:, :taken], first.values), (to, images)])
    steps.took("switches", begun)
    return first._replace(values=found)


def multiply(steps: Steps, one: Multiply, gate: BitPlanes, stream: BitPlanes, samples: int) -> BitPlanes:
    """Return spikes times spikes; the gate is of the same shape, one a channel, or one a head."""
    begun, spikes, gates = time.perf_counter(), stream.spikes, gate.spikes
    if gate.channels != stream.channels:
        out = np.empty_like(spikes)
        size = stream.channels // gate.channels
        pieces = [(gates, spikes, size, out, *part) for part in steps.parts(len(spikes), spikes[:1].size)]
        steps.workers.run(spike_kernels.gate_heads, pieces)
    else:
        kept = spikes.reshape(samples, stream.pixels, *spikes.shape[1:])
        passing = gates.reshape(samples, gate.pixels, *gates.shape[1:])
        out = np.empty_like(spikes)
        steps.workers.run(np.bitwise_and, [(kept, passing, out.reshape(kept.shape))])
    steps.took(one.gives, begun)
    return stream._replace(planes=out[None])


def _widen(planes: np.ndarray, wider: np.ndarray) -> None:
    """Copy numbers to more planes."""
    wider[: len(planes)] = planes
    wider[len(planes) :] = 0
