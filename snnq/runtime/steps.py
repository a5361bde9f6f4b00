"""The engine's steps without weights: pooling, attention, neurons of one unit, sums and gates; and its bookkeeping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from snnq.arithmetic.integers import Codes
from snnq.arithmetic.whole_network import Compared
from snnq.network.combining import First, Multiply, Pool, Sum, Switch
from snnq.network.operations import Attention
from snnq.runtime import kernels, layer_kernels, number_kernels, spike_kernels
from snnq.runtime.program import Piece
from snnq.runtime.running import NeuronMemory
from snnq.runtime.streams import (
    BitPlanes,
    Numbers,
    bits,
    concat_numbers,
    concat_spikes,
    flatten_numbers,
    flatten_spikes,
    lanes_of,
    numbers_of,
    sum_windows,
)
from snnq.runtime.vectors import LANES
from snnq.runtime.workers import Workers, ranges

# Fewer words of work than these are done before another thread has woken up.
ALONE = 20_000
# Called with a neuron's module path and its spikes, uint64 (pixels, steps, words), of several a step (planes, …).
Watch = Callable[[str, np.ndarray], None]


@dataclass
class Steps:
    """What runs steps: workers, the time that every part took, summed, and a ``watch`` that is shown spikes.

    ``planes``: how many bits a sum of spikes may grow to. ``memory``: the voltages that neurons are left with from call
    to call, by neuron, int (pixels, words, 64); None: they start at rest.
    """

    workers: Workers
    planes: int
    seconds: dict[str, float] = field(default_factory=dict)
    watch: Watch | None = None
    memory: NeuronMemory | None = None

    def voltages(self, neuron: str, pixels: int, words: int, kind: type) -> np.ndarray | None:
        """Return the voltages that neurons were left with, int (pixels, words, 64), or None if they start at rest."""
        if self.memory is not None and neuron not in self.memory:
            self.memory[neuron] = np.zeros((pixels, words, LANES), kind)
        return None if self.memory is None else self.memory[neuron]

    def state(self, voltages: np.ndarray | None, kind: type) -> tuple[np.ndarray, bool]:
        """Return what loops take as ``state`` and ``kept``: voltages, or scratch of this thread's own."""
        if voltages is not None:
            return voltages, True
        return self.workers.scratch("voltages", LANES, kind).reshape(1, 1, LANES), False

    def parts(self, total: int, words: int) -> list[tuple[int, int]]:
        """Return 0 … total in parts for the workers, or whole where each of them is only ``words`` words of work."""
        alone = self.workers.threads == 1 or total * words < ALONE
        return ranges(total, 1 if alone else 2 * self.workers.threads)

    def took(self, part: str, begun: float) -> None:
        """Add the time since ``begun`` to a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begun
        if self.workers.tape is not None:
            self.workers.tape.append(part)

    def show(self, neuron: str, spikes: np.ndarray) -> None:
        """Show spikes to whom it may concern."""
        if self.watch is not None:
            self.watch(neuron, spikes)

    def pool(self, one: Pool, stream: BitPlanes | Numbers, samples: int) -> BitPlanes | Numbers:
        """Return a max-pooled stream of spikes, or of numbers."""
        begun, (low, across) = time.perf_counter(), one.pooled(stream.size)
        window = one.kernel, one.padding, one.stride, low, across
        if isinstance(stream, Numbers):
            values = np.empty((samples * low * across, *stream.values.shape[1:]), stream.values.dtype)
            rows = self.parts(samples * low, across * values[:1].size)
            pieces = [(stream.values, *stream.size, window, values, *part) for part in rows]
            self.workers.run(layer_kernels.pool_numbers, pieces)
            found = Numbers(values, low, across, stream.channels)
        elif one.heads is not None:
            out = np.empty_like(stream.spikes)
            self.workers.run(_pool_by_head, [(stream, one.heads, out)])
            found = stream._replace(planes=out[None])
        else:
            spikes = stream.spikes
            out = np.empty((samples * low * across, *spikes.shape[1:]), np.uint64)
            rows = self.parts(samples * low, across * spikes[:1].size)
            self.workers.run(kernels.pool, [(spikes, *stream.size, window, out, *part) for part in rows])
            found = BitPlanes(out[None], low, across, stream.channels)
        self.took("pool", begun)
        return found

    def mean_pool(self, stream: Numbers, samples: int) -> Numbers:
        """Return the sums of windows of 2×2; at odd edges numbers count twice, in a corner four times."""
        begun, (height, width), values = time.perf_counter(), stream.size, stream.values
        low, across = (height + 1) // 2, (width + 1) // 2
        found = np.empty((samples * low * across, *values.shape[1:]), values.dtype)
        images, sums = (
            one.reshape(samples, *size, *one.shape[1:]) for one, size in ((values, stream.size), (found, (low, across)))
        )
        self.workers.run(sum_windows, [(images, sums)])
        self.took("pool", begun)
        return Numbers(found, low, across, stream.channels)

    def rectify(self, stream: Numbers) -> Numbers:
        """Return max(x, 0) of numbers."""
        begun, values = time.perf_counter(), stream.values
        found = np.empty_like(values)
        parts = self.parts(len(values), values[:1].size)
        self.workers.run(np.clip, [(values[first:stop], 0, None, found[first:stop]) for first, stop in parts])
        self.took("activations", begun)
        return stream._replace(values=found)

    def quantise(self, codes: Codes, stream: Numbers) -> Numbers:
        """Return numbers as activations of few bits."""
        begun, values = time.perf_counter(), stream.values
        found = np.empty(values.shape, np.int32)
        how = codes.multiplier, codes.half, codes.shift, codes.least, codes.most
        pieces = [(values, how, found, *part) for part in self.parts(len(values), values[:1].size)]
        self.workers.run(number_kernels.quantise_numbers, pieces)
        self.took("activations", begun)
        return stream._replace(values=found)

    def flatten(self, stream: BitPlanes | Numbers, samples: int) -> BitPlanes | Numbers:
        """Return a stream whose channels are all pixels of all channels."""
        begun, count = time.perf_counter(), stream.channels * stream.pixels
        if isinstance(stream, Numbers):
            values = np.zeros((samples, stream.values.shape[1], lanes_of(count)), stream.values.dtype)
            self.workers.run(flatten_numbers, [(stream, values)])
            found = Numbers(values, 1, 1, count)
        else:
            planes = bits(stream.bound)
            out = np.empty((planes, samples, stream.planes.shape[2], lanes_of(count) // LANES), np.uint64)
            self.workers.run(flatten_spikes, [(stream, out)])
            found = BitPlanes(out, 1, 1, count, stream.bound)
        self.took("flattened", begun)
        return found

    def mix(self, one: Attention, neuron: str, found: Compared, streams: list[BitPlanes], samples: int) -> BitPlanes:
        """Return the spikes of the neurons behind (Q Kᵀ) V · scale."""
        begun, first_one = time.perf_counter(), streams[0]
        if found.thresholds or any(stream.bound > 1 or stream.channels != first_one.channels for stream in streams):
            return self.neurons(found, self._mix_numbers(one, streams, samples), neuron)
        spikes = [stream.spikes for stream in streams]
        size, words = first_one.channels // one.heads, spikes[0].shape[-1]
        out, tokens = np.empty_like(spikes[0]), first_one.pixels
        # Words that no head reaches across.
        together = math.lcm(size, LANES) // LANES
        voltages = self.voltages(neuron, samples * tokens, words, np.int32)
        state = np.empty((0, 0, 0), np.int32) if voltages is None else voltages
        fixed = (tokens, size, one.chunk, found.shift, found.threshold, found.leak, state, voltages is not None, out)
        pieces = [
            (*spikes, *fixed, sample, first, min(first + together, words))
            for sample in range(samples)
            for first in range(0, words, together)
        ]
        self.workers.run(kernels.attend, pieces)
        self.took(one.module, begun)
        return first_one._replace(planes=out[None])

    def _mix_numbers(self, one: Attention, streams: list[BitPlanes], samples: int) -> Numbers:
        """Return the sums (Q Kᵀ) V of whole numbers."""
        begun, values = time.perf_counter(), streams[2]
        mixed = [np.empty((*stream.planes.shape[1:3], stream.channels), np.int32) for stream in streams]
        self.workers.run(numbers_of, list(zip(streams, mixed, strict=True)))
        sums = np.zeros((*mixed[2].shape[:2], lanes_of(values.channels)), np.int32)
        fixed = (*mixed, values.pixels, one.heads, one.chunk, sums[:, :, : values.channels])
        pieces = [(*fixed, *part) for part in self.parts(samples * one.heads, mixed[0][:1].size)]
        self.workers.run(number_kernels.attend_numbers, pieces)
        self.took(one.module, begun)
        return Numbers(sums, values.height, values.width, values.channels)

    def pad(self, stream: BitPlanes, samples: int) -> BitPlanes:
        """Return a stream with a pixel of zeros around every image."""
        planes, (height, width) = stream.planes, stream.size
        images = planes.reshape(len(planes), samples, height, width, *planes.shape[2:])
        padded = np.zeros((len(planes), samples, height + 2, width + 2, *planes.shape[2:]), np.uint64)
        self.workers.run(np.copyto, [(padded[:, :, 1:-1, 1:-1], images)])
        size = {"height": height + 2, "width": width + 2}
        return stream._replace(planes=padded.reshape(len(planes), -1, *planes.shape[2:]), **size)

    def neurons(self, found: Compared, numbers: Numbers, name: str) -> BitPlanes:
        """Return the spikes of neurons that are given whole numbers of one unit."""
        begun, values = time.perf_counter(), numbers.values
        pixels, steps, lanes = values.shape
        kind = np.int64 if found.wide or values.dtype == np.int64 else np.int32
        if values.dtype != kind:
            values = np.empty(values.shape, kind)
            self.workers.run(np.copyto, [(values, numbers.values)])
        if found.thresholds:
            return self._count(found, numbers._replace(values=np.ascontiguousarray(values)), name)
        threshold = np.full(lanes, np.iinfo(kind).max, kind)
        threshold[: numbers.channels] = found.threshold
        out = np.empty((pixels, steps, lanes // LANES), np.uint64)
        voltages = self.voltages(name, pixels, lanes // LANES, kind)
        pieces = [(values, threshold, found, voltages, out, *part) for part in self.parts(pixels, values[:1].size)]
        self.workers.run_prepared(self._fire_numbers, pieces)
        self.took(name, begun)
        return BitPlanes(out[None], numbers.height, numbers.width, numbers.channels)

    def _count(self, found: Compared, numbers: Numbers, name: str) -> BitPlanes:
        """Return the spikes of integer neurons."""
        begun, values, most = time.perf_counter(), numbers.values, len(found.thresholds)
        pixels, steps, lanes = values.shape
        thresholds = np.full((most, lanes), np.iinfo(values.dtype).max, values.dtype)
        thresholds[:, : numbers.channels] = np.array(found.thresholds, values.dtype)[:, None]
        out = np.empty((bits(most), pixels, steps, lanes // LANES), np.uint64)
        pieces = [(values, thresholds, out, *part) for part in self.parts(pixels, values[:1].size)]
        self.workers.run(number_kernels.count_numbers, pieces)
        self.took(name, begun)
        return BitPlanes(out, numbers.height, numbers.width, numbers.channels, most)

    def _fire_numbers(
        self, values: np.ndarray, threshold: np.ndarray, found: Compared, voltages: np.ndarray | None, *rest: object
    ) -> Piece:
        state = self.state(voltages, values.dtype.type)
        return ((layer_kernels.fire_numbers, (values, found.shift, threshold, found.leak, *state, *rest)),)

    def add(self, first: BitPlanes | Numbers, second: BitPlanes | Numbers, free: bool) -> BitPlanes | Numbers:
        """Return a residual sum, in the memory of the first one where that is ``free``."""
        begun = time.perf_counter()
        if isinstance(first, Numbers) and isinstance(second, Numbers):
            out = first.values if free else np.empty_like(first.values)
            self.workers.run(np.add, [(first.values, second.values, out)])
            found = first._replace(values=out)
        else:
            assert isinstance(first, BitPlanes)
            assert isinstance(second, BitPlanes)
            found = self._add_planes(first, second, free)
        self.took("residuals", begun)
        return found

    def raised(self, numbers: Numbers, spikes: BitPlanes, parts: int, free: bool) -> Numbers:
        """Return potentials and ``parts`` of them for each spike, in the same memory where that is ``free``."""
        begun, values = time.perf_counter(), numbers.values
        assert values.dtype == np.int32, "potentials are in 32 bits, but for their sums"
        out = values if free else np.empty_like(values)
        if not free:
            self.workers.run(np.copyto, [(out, values)])
        planes, doubling = spikes.planes[: bits(spikes.bound)], parts.bit_length() - 1  # 2^f of them
        pieces = [(planes, doubling, out, *part) for part in self.parts(len(out), values[:1].size)]
        self.workers.run(kernels.add_to_numbers, pieces)
        self.took("residuals", begun)
        return numbers._replace(values=out)

    def _add_planes(self, first: BitPlanes, second: BitPlanes, free: bool) -> BitPlanes:
        planes, bound = first.planes, first.bound + second.bound
        if len(planes) < self.planes or not free:
            planes = np.empty((self.planes, *planes.shape[1:]), np.uint64)
            self.workers.run(_widen, [(first.planes, planes)])
        flat = planes.reshape(len(planes), -1)
        for number, plane in enumerate(second.planes[: bits(second.bound)]):
            high, spikes = flat[number:], plane.reshape(-1)
            pieces = [(high, bits(bound) - number, spikes, *part) for part in self.parts(flat.shape[1], len(high))]
            self.workers.run(kernels.add_spikes, pieces)
        return first._replace(planes=planes, bound=bound)

    def concat(self, factors: Sequence[int], streams: Sequence[BitPlanes | Numbers]) -> BitPlanes | Numbers:
        """Return the channels of two streams, the numbers of each times its factor, one behind the other."""
        begun, size, channels = time.perf_counter(), streams[0].size, sum(one.channels for one in streams)
        spikes = [one for one in streams if isinstance(one, BitPlanes)]
        if len(spikes) == len(streams):
            bound = max(one.bound for one in spikes)
            out = np.empty((bits(bound), *spikes[0].planes.shape[1:3], lanes_of(channels) // LANES), np.uint64)
            self.workers.run(concat_spikes, [(spikes, out)])
            found = BitPlanes(out, *size, channels, bound)
        else:
            numbers = [one.values for one in streams if isinstance(one, Numbers)]
            kind = np.result_type(*numbers)
            values = np.zeros((*numbers[0].shape[:2], lanes_of(channels)), kind)
            self.workers.run(concat_numbers, [(streams, factors, values)])
            found = Numbers(values, *size, channels)
        self.took("concatenations", begun)
        return found

    def first(self, one: First, stream: Numbers) -> Numbers:
        """Return the first steps of numbers, as many of them as are still to come."""
        begun, left = time.perf_counter(), max(0, one.steps - (self.memory.taken if self.memory is not None else 0))
        seen = stream.values[:, :left]
        found = np.empty(seen.shape, seen.dtype)
        self.workers.run(np.copyto, [(found, seen)])
        self.took("switches", begun)
        return stream._replace(values=found)

    def switch(self, one: Switch, first: Numbers, later: Numbers, samples: int) -> Numbers:
        """Return the numbers of the first steps, and behind them the later ones of the other stream."""
        begun, (down, across), values = time.perf_counter(), one.strides, later.values
        taken = first.values.shape[1]
        found = np.empty((len(first.values), *values.shape[1:]), values.dtype)
        images = values.reshape(samples, *later.size, *values.shape[1:])[:, ::down, ::across, taken:]
        to = found.reshape(samples, *first.size, *values.shape[1:])[:, :, :, taken:]
        self.workers.run(np.copyto, [(found[:, :taken], first.values), (to, images)])
        self.took("switches", begun)
        return first._replace(values=found)

    def multiply(self, one: Multiply, gate: BitPlanes, stream: BitPlanes, samples: int) -> BitPlanes:
        """Return spikes times spikes; the gate is of the same shape, one a channel, or one a head."""
        begun, spikes, gates = time.perf_counter(), stream.spikes, gate.spikes
        if gate.channels != stream.channels:
            out = np.empty_like(spikes)
            size = stream.channels // gate.channels
            pieces = [(gates, spikes, size, out, *part) for part in self.parts(len(spikes), spikes[:1].size)]
            self.workers.run(spike_kernels.gate_heads, pieces)
        else:
            kept = spikes.reshape(samples, stream.pixels, *spikes.shape[1:])
            passing = gates.reshape(samples, gate.pixels, *gates.shape[1:])
            out = np.empty_like(spikes)
            self.workers.run(np.bitwise_and, [(kept, passing, out.reshape(kept.shape))])
        self.took(one.gives, begun)
        return stream._replace(planes=out[None])

    def sum(self, one: Sum, stream: BitPlanes, samples: int) -> Numbers:
        """Return sums of spikes over tokens, or over the features of each head."""
        begun, spikes = time.perf_counter(), stream.spikes
        if one.over == "tokens":
            sums = np.empty((samples, spikes.shape[1], spikes.shape[2] * LANES), np.int32)
            pieces = [(spikes, stream.pixels, sums, *part) for part in self.parts(samples, spikes.size)]
            self.workers.run(spike_kernels.sum_tokens, pieces)
            found = Numbers(sums, 1, 1, stream.channels)
        else:
            sums = np.empty((*spikes.shape[:2], lanes_of(one.heads)), np.int32)
            size = stream.channels // one.heads
            pieces = [(spikes, size, sums, *part) for part in self.parts(len(spikes), spikes[:1].size)]
            self.workers.run(spike_kernels.sum_features, pieces)
            found = Numbers(sums, stream.height, stream.width, one.heads)
        self.took(one.gives, begun)
        return found

    def mean(self, read: BitPlanes | Numbers, samples: int) -> Numbers:
        """Return sums over tokens, int64."""
        if isinstance(read, Numbers):
            values = read.values.reshape(samples, read.pixels, *read.values.shape[1:])
            total = np.empty((samples, *read.values.shape[1:]), np.int64)
            self.workers.run(np.sum, [(values, 1, np.int64, total)])
        else:
            total = np.empty((samples, read.planes.shape[2], read.planes.shape[3] * LANES), np.int64)
            self.workers.run(_sum_planes, [(read.planes[: bits(read.bound)], read.pixels, total)])
        return Numbers(total, 1, 1, read.channels)

    def total(self, read: BitPlanes | Numbers, samples: int, name: str) -> np.ndarray:
        """Return what a head is given: sums over tokens and steps, int64 (samples, channels)."""
        begun, sums = time.perf_counter(), self.totals(read, samples)
        self.took(name, begun)
        return sums

    def totals(self, read: BitPlanes | Numbers, samples: int) -> np.ndarray:
        """Return the sums of a stream over tokens and steps, int64 (samples, channels)."""
        found = np.empty((samples, read.channels), np.int64)
        if isinstance(read, Numbers):
            _, steps, lanes = read.values.shape
            sums = np.empty((samples, lanes), np.int64)
            values = read.values.reshape(samples, read.pixels * steps, lanes)
            self.workers.run(np.sum, [(values, 1, np.int64, sums)])
        else:
            sums = np.empty((samples, LANES * read.planes.shape[-1]), np.int32)
            pieces = [(read.planes, read.pixels, sums, *part) for part in self.parts(samples, read.planes[:, :1].size)]
            self.workers.run(kernels.total, pieces)
        self.workers.run(np.copyto, [(found, sums[:, : read.channels])])
        return found


def _widen(planes: np.ndarray, wider: np.ndarray) -> None:
    """Copy numbers to more planes."""
    wider[: len(planes)] = planes
    wider[len(planes) :] = 0


def _sum_planes(planes: np.ndarray, tokens: int, total: np.ndarray) -> None:
    """Sum whole numbers over the tokens of each sample, int64 (samples, steps, lanes)."""
    sums = np.empty(total.shape, np.int32)
    total[:] = 0
    for number, plane in enumerate(planes):
        spike_kernels.sum_tokens(plane, tokens, sums, 0, len(total))
        total += sums.astype(np.int64) << number


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
