"""``snnq.runtime``: running a packed folder in integers, without torch.

The arithmetic is that of ``snnq.arithmetic.integers``, spike for spike. Time is walked through innermost: a block of 64
output channels is run at a pixel for all T steps, its voltages in registers, and each step's 64 spikes are one word.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from snnq.arithmetic import integers
from snnq.base.errors import PackedError, UsageError
from snnq.base.machine import fitting_threads
from snnq.models.registry import architecture
from snnq.network.layers import NO_COUNTS, check_frames_shape
from snnq.network.wiring import COUNT_LIMIT, FRAMES, Fire, Mix, Mixing, Operation, Pool
from snnq.packed.arrays import open_arrays
from snnq.runtime import kernels
from snnq.runtime.vectors import LANES, SPREAD
from snnq.runtime.weights import LayerWeights, read_layer
from snnq.runtime.workers import Workers, ranges

# Fewer words of work than these are done before another thread has woken up.
ALONE = 20_000
# Called with a neuron's module path and its spikes, uint64 (pixels, steps, words).
Watch = Callable[[str, np.ndarray], None]


class Lists(NamedTuple):
    """What a layer looks up, see ``kernels.run_block``: its groups of four inputs that are not silent."""

    entries: np.ndarray
    lengths: np.ndarray
    places: int
    digit_bits: int


class Stream(NamedTuple):
    """Whole numbers from 0 to ``bound``: bit p of them in plane p of ``planes``, uint64 (planes, pixels, steps, words).

    Pixels are those of all samples, ``height`` × ``width`` each.
    """

    planes: np.ndarray
    height: int
    width: int
    channels: int
    bound: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


class Engine:
    """A packed model that runs: ``engine(frames)`` → logits. ``seconds`` has the time of every part, summed.

    ``macs`` are the multiply-accumulates of a sample, silent inputs counted, too; ``rows`` counts the rows of 64 sums
    that were looked up while a ``watch`` looked on (windows at borders as whole).
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        """Read a packed folder; ``threads``: by the size of each batch if None (``machine.fitting_threads``).

        The logits do not depend on their number.

        Raises PackedError for a damaged folder or one the engine cannot run, VerificationError where its file is not
        the one config.json was written for.
        """
        arrays = open_arrays(path)
        self.config = architecture(arrays.config.architecture).config(arrays.config.config)
        self.wiring = arrays.wiring
        self.layers: Mapping[str, LayerWeights] = {
            stage.layer: read_layer(arrays, stage) for stage in self.wiring.stages
        }
        if other := [name for name, layer in self.layers.items() if layer.taps not in (1, 9)]:
            raise PackedError(f"layer {other[0]}: the integer engine runs kernels of 1×1 and 3×3")
        self.mixings = {mixing.module: mixing for mixing in self.wiring.mixings}
        self.head = arrays.head()
        self.workers, self._fitting = Workers(threads), threads is None
        self.macs = self._macs_of_a_sample()
        self.seconds: dict[str, float] = {}
        self.rows = 0
        self._watch: Watch | None = None

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights and neurons that stay in memory."""
        return sum(layer.nbytes for layer in self.layers.values()) + self.head.weight.nbytes + self.head.bias.nbytes

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        """Return logits float32 (B, classes) of event counts (B, T, C, H, W); ``watch`` is shown every neuron's spikes.

        Raises UsageError for frames of another shape, or that are no counts.
        """
        frames = self._checked(frames)
        self._watch = watch
        if self._fitting:
            self.workers.threads = fitting_threads(self.macs * len(frames))
        streams: dict[str, Stream] = {}
        for one in self.wiring.flow:
            self._run(one, streams, frames)
        return self._logits(streams[self.wiring.stream], len(frames))

    def _logits(self, stream: Stream, samples: int) -> np.ndarray:
        begun, planes = time.perf_counter(), stream.planes
        sums = np.empty((samples, LANES * planes.shape[-1]), np.int32)
        tokens = stream.height * stream.width
        pieces = [(planes, tokens, sums, *part) for part in self._parts(samples, planes[:, :1].size)]
        self.workers.run(kernels.total, pieces)
        sums = sums[:, : stream.channels].astype(np.int64)
        logits = ((sums @ self.head.weight.T + self.head.bias) * self.head.scale).astype(np.float32)
        self._took(self.wiring.head, begun)
        return logits

    def _run(self, one: Operation, streams: dict[str, Stream], frames: np.ndarray) -> None:
        """Run an operation of the wiring's flow; streams that it uses up are taken away."""
        if isinstance(one, Fire):
            streams |= zip(one.gives, self._fire(one, streams.get(one.takes), frames), strict=True)
        elif isinstance(one, Pool):
            streams[one.stream] = self._pool(streams[one.stream], len(frames))
        elif isinstance(one, Mix):
            streams[one.gives] = self._mix(one.mixing, [streams.pop(name) for name in one.takes], len(frames))
        else:
            streams[one.stream] = self._add(streams[one.stream], streams.pop(one.spikes))

    def _macs_of_a_sample(self) -> int:
        """Return ``macs``."""
        (steps, _, *size), total = self.config.frames_shape, 0
        sizes = {FRAMES: tuple(size)}
        for one in self.wiring.flow:
            if isinstance(one, Fire):
                sizes |= dict.fromkeys(one.gives, sizes[one.takes])
                products = sum(self.layers[stage.layer].products for stage in one.stages)
                total += products * math.prod(sizes[one.takes])
            elif isinstance(one, Pool):
                height, width = sizes[one.stream]
                sizes[one.stream] = (-(-height // 2), -(-width // 2))
            elif isinstance(one, Mix):
                sizes[one.gives] = sizes[one.takes[0]]
        return steps * total

    def _checked(self, frames: np.ndarray) -> np.ndarray:
        check_frames_shape(frames.shape, self.config.frames_shape)
        if frames.dtype in (np.uint8, np.uint16):
            return np.ascontiguousarray(frames)  # larger counts than the limit become it while they are read
        whole = frames.dtype.kind in "bui" or (frames.dtype.kind == "f" and np.array_equal(frames, np.rint(frames)))
        if not whole or not (np.isfinite(frames).all() and frames.min(initial=0) >= 0):
            raise UsageError(NO_COUNTS)
        return np.ascontiguousarray(np.minimum(frames, COUNT_LIMIT), np.uint16)

    def _fire(self, one: Fire, stream: Stream | None, frames: np.ndarray) -> list[Stream]:
        """Return the spikes of an operation's stages, of what they see: a stream or, without one, the frames."""
        layers = [self.layers[stage.layer] for stage in one.stages]
        if stream is None:
            lists, (height, width) = self._list_counts(frames, layers[0]), frames.shape[-2:]
        else:
            lists, height, width = self._list(stream.planes[: _bits(stream.bound)], layers[0]), *stream.size
        spikes = self._fire_all(layers, lists, height, width)
        return [Stream(found[None], height, width, layer.outputs) for layer, found in zip(layers, spikes, strict=True)]

    def _list_counts(self, frames: np.ndarray, layer: LayerWeights) -> Lists:
        """Return the lists of event counts."""
        begun = time.perf_counter()
        samples, steps, _, height, width = frames.shape
        most = min(int(frames.max(initial=0)), COUNT_LIMIT)
        planes = max(1, -(-most.bit_length() // kernels.DIGIT_BITS))
        lengths = np.empty((planes, samples * height * width, steps), np.int32)
        entries = layer.groups * kernels.LARGEST_DIGIT
        lists = np.empty(lengths.size * entries + SPREAD, np.uint16)
        pieces = [
            (frames, COUNT_LIMIT, planes, lists, lengths, *part)
            for part in self._parts(samples * height, steps * width)
        ]
        self.workers.run(kernels.list_counts, pieces)
        self._took("frames", begun)
        return Lists(lists, lengths, entries, kernels.DIGIT_BITS)

    def _list(self, planes: np.ndarray, layer: LayerWeights) -> Lists:
        """Return the lists of spikes or whole numbers in ``planes`` (planes, pixels, steps, words)."""
        begun = time.perf_counter()
        lengths = np.empty(planes.shape[:3], np.int32)
        entries = layer.groups + SPREAD
        lists = np.empty((len(planes), lengths[0].size, entries), np.uint16)
        pieces = [
            (planes[i].reshape(-1, planes.shape[-1]), layer.groups, lists[i], lengths[i].reshape(-1), *part)
            for i in range(len(planes))
            for part in self._parts(lengths[0].size, planes.shape[-1])
        ]
        self.workers.run(kernels.list_groups, pieces)
        self._took("lists", begun)
        return Lists(lists.reshape(-1), lengths, entries, 1)

    def _fire_all(self, layers: Sequence[LayerWeights], lists: Lists, height: int, width: int) -> list[np.ndarray]:
        """Return the spikes of the neurons of layers that see the same, uint64 (pixels, steps, words) each."""
        begun = time.perf_counter()
        shape, blocks = lists.lengths.shape[1:], sum(layer.blocks for layer in layers)
        outs = [np.empty((*shape, layer.blocks), np.uint64) for layer in layers]
        parts = ranges(shape[0], -(-2 * self.workers.threads // blocks) if self.workers.threads > 1 else 1)
        pieces = [
            (layer, lists, height, width, out, block, *part)
            for layer, out in zip(layers, outs, strict=True)
            for block in range(layer.blocks)
            for part in parts
        ]
        self.workers.run(self._run_block, pieces)
        self._took(", ".join(layer.name for layer in layers), begun)
        for layer, out in zip(layers, outs, strict=True):
            self._show(layer.neuron, out)
        if self._watch is not None:
            self.rows += sum(int(lists.lengths.sum()) * layer.taps * layer.blocks for layer in layers)
        return outs

    def _run_block(
        self, layer: LayerWeights, lists: Lists, height: int, width: int, out: np.ndarray, block: int, *part: int
    ) -> None:
        """Run a block of 64 output channels for a range of pixels: its table is made in this thread's own memory."""
        scratch, run_block = self.workers.scratch, cast(Callable[..., None], kernels.run_block)
        table = scratch("table", layer.table_size, layer.table_type)
        layer.build(table, block * LANES, min(LANES, layer.outputs - block * LANES))
        inputs = (*lists, height, width, 1 if layer.taps == 9 else 0, layer.groups, *layer.block_neurons(block))
        sums, voltages = scratch("sums", LANES, layer.sum_type), scratch("voltages", LANES, layer.neuron_type)
        run_block(table, *inputs, sums, voltages, out, block, *part)

    def _pool(self, stream: Stream, samples: int) -> Stream:
        begun, (spikes,) = time.perf_counter(), stream.planes
        low, across = -(-stream.height // 2), -(-stream.width // 2)
        out = np.empty((samples * low * across, *spikes.shape[1:]), np.uint64)
        parts = self._parts(samples * low, across * spikes[:1].size)
        self.workers.run(kernels.pool, [(spikes, *stream.size, out, *part) for part in parts])
        self._took("pool", begun)
        return Stream(out[None], low, across, stream.channels)

    def _mix(self, mixing: Mixing, streams: list[Stream], samples: int) -> Stream:
        """Return the spikes of the neurons behind (Q Kᵀ) V · scale."""
        begun, first_one = time.perf_counter(), streams[0]
        spikes = [stream.planes[0] for stream in streams]
        size, words = first_one.channels // mixing.heads, spikes[0].shape[-1]
        shift, threshold = integers.mixing_threshold(mixing.scale, mixing.threshold)
        out, tokens = np.empty_like(spikes[0]), first_one.height * first_one.width
        # Words that no head reaches across.
        together = np.lcm(size, LANES) // LANES
        pieces = [
            (*spikes, tokens, size, shift, threshold, out, sample, first, min(first + together, words))
            for sample in range(samples)
            for first in range(0, words, together)
        ]
        self.workers.run(kernels.attend, pieces)
        self._took(mixing.module, begun)
        self._show(mixing.neuron, out)
        return first_one._replace(planes=out[None])

    def _add(self, stream: Stream, added: Stream) -> Stream:
        """Return a stream of whole numbers with spikes added to them, in the same memory."""
        begun, planes, bound = time.perf_counter(), stream.planes, stream.bound + 1
        if len(planes) < self._planes():
            planes = np.zeros((self._planes(), *planes.shape[1:]), np.uint64)
            planes[: len(stream.planes)] = stream.planes
        flat, spikes = planes.reshape(len(planes), -1), added.planes.reshape(-1)
        pieces = [(flat, _bits(bound), spikes, *part) for part in self._parts(flat.shape[1], len(flat))]
        self.workers.run(kernels.add_spikes, pieces)
        self._took("residuals", begun)
        return stream._replace(planes=planes, bound=bound)

    def _planes(self) -> int:
        return _bits(self.wiring.bound)

    def _parts(self, total: int, words: int) -> list[tuple[int, int]]:
        """Return 0 … total in parts for the workers, or whole where each of them is only ``words`` words of work."""
        alone = self.workers.threads == 1 or total * words < ALONE
        return ranges(total, 1 if alone else 2 * self.workers.threads)

    def _took(self, part: str, begun: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begun

    def _show(self, neuron: str, spikes: np.ndarray) -> None:
        if self._watch is not None:
            self._watch(neuron, spikes)


def _bits(bound: int) -> int:
    return int(bound).bit_length()


def unpack(spikes: np.ndarray, channels: int) -> np.ndarray:
    """Return spikes uint64 (pixels, steps, words) as bool (pixels, steps, channels)."""
    octets = spikes.astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., :channels].astype(bool)
