"""The engine's layers: what they see as lists, and the loops that run their blocks of 64 outputs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from snnq.network.stages import Potential, Stage
from snnq.runtime import frame_kernels, kernels, layer_kernels, number_kernels, sparse_kernels
from snnq.runtime.bit_sums import SPARE, UNITS
from snnq.runtime.listing import list_counts, list_spikes, list_vectors
from snnq.runtime.program import Call, Piece
from snnq.runtime.steps import Steps
from snnq.runtime.streams import BitPlanes, Lists, Numbers, Vectors, Windows, bits
from snnq.runtime.vectors import LANES
from snnq.runtime.weights import LayerWeights
from snnq.runtime.workers import aligned, make, ranges

_Seen = TypeVar("_Seen", bound=Lists | Windows | Vectors)
_NO_LISTS = Lists(np.empty(0, np.uint16), np.empty((0, 0, 0), np.int32), 0, 0)
_AT_ONCE = 256  # sums of 64 channels that are formed before what follows them
_NO_WORDS = np.empty((0, 0, 0, 0), np.uint64)


class LayerPart(NamedTuple, Generic[_Seen]):
    """What one thread does of a layer: a block of 64 outputs, for a range of pixels, of rows of them, or of rounds.

    ``words`` are the streams that are read as they are; ``size`` is that of the images that are seen.
    """

    layer: LayerWeights
    seen: _Seen
    words: np.ndarray
    size: tuple[int, int]
    voltages: np.ndarray | None
    out: np.ndarray
    block: int
    begin: int
    end: int

    @property
    def gives(self) -> tuple[np.ndarray, int, int, int]:
        """What loops end with: where they write, the block, and the range."""
        return self.out, self.block, self.begin, self.end


class Layers:
    """Runs layers that see the same. ``rows`` counts the rows of 64 sums that are looked up while one watches (of
    inputs that are alike at the edges and inside), but for those of ``frame_kernels``, whose loop is another one.

    ``tables`` are those of runs that go on, by layer and block.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps, self.workers, self.rows = steps, steps.workers, 0
        self.tables: dict[tuple[str, int], np.ndarray] = {}

    def run(
        self, layers: Sequence[LayerWeights], stream: BitPlanes | Numbers | None, frames: np.ndarray
    ) -> list[BitPlanes | Numbers]:
        """Return what layers give, of what they see: a stream or, without one, the frames."""
        samples, words = len(frames), _NO_WORDS
        if isinstance(stream, Numbers):
            lists, (height, width), words = _NO_LISTS, stream.size, stream.values
        elif layers[0].depthwise:
            assert stream is not None, "frames are convolved with all their channels"
            lists, (height, width), words = _NO_LISTS, stream.size, stream.planes[: bits(stream.bound)]
        elif stream is None:
            lists, (height, width) = list_counts(self.steps, frames, layers[0]), frames.shape[-2:]
        elif all(one.sparse and one.sparse.pays(samples * stream.pixels, frames.shape[1]) for one in layers):
            lists, (height, width) = list_vectors(self.steps, stream, layers[0]), stream.size
        else:
            lists, (height, width) = (
                list_spikes(self.steps, stream.planes[: bits(stream.bound)], layers[0]),
                stream.size,
            )
        steps, begun = frames.shape[1], time.perf_counter()
        if stream is not None:  # some have the first steps alone
            steps = stream.values.shape[1] if isinstance(stream, Numbers) else stream.planes.shape[2]
        prepare = self._preparing(layers, lists)
        outs = [_room(layer, samples, steps, height, width) for layer in layers]
        pieces = [
            (
                LayerPart(
                    layer, lists, words, (height, width), self._voltages(layer, out), _memory(layer, out), block, *span
                ),
            )
            for layer, out in zip(layers, outs, strict=True)
            for block in range(layer.blocks)
            for span in self._split(layer, samples * out.height, out.width, layers, lists)
        ]
        self.workers.run_prepared(prepare, pieces)
        self.steps.took(", ".join(layer.name for layer in layers), begun)
        if self.steps.watch is not None:
            self.rows += sum(_looked_up(lists, layer, height, width) for layer in layers if not layer.sparse)
        return outs

    def _preparing(self, layers: Sequence[LayerWeights], seen: Lists | Windows | Vectors) -> Callable[..., Piece]:
        if isinstance(seen, Vectors):
            return self._sparse
        if isinstance(seen, Windows):
            return self._windowed
        return self._plain if all(layer.plain for layer in layers) else self._other

    def _split(
        self,
        layer: LayerWeights,
        rows: int,
        across: int,
        layers: Sequence[LayerWeights],
        seen: Lists | Windows | Vectors,
    ) -> list[tuple[int, int]]:
        """Return the parts of the output for each block: rows of pixels where they are pooled, else pixels, or rounds
        of them."""
        threads, blocks = self.workers.threads, sum(one.blocks for one in layers)
        if isinstance(seen, Vectors):
            return ranges(len(seen.vectors), -(-2 * threads // blocks) if threads > 1 else 1)
        pooled = not isinstance(layer.step, Potential) and layer.step.pooled
        if pooled and layer.summed:
            return [(0, rows * across)]
        return ranges(rows if pooled else rows * across, -(-2 * threads // blocks) if threads > 1 else 1)

    def _table(self, layer: LayerWeights, block: int) -> tuple[np.ndarray, Piece]:
        """Return a block's table in this thread's own memory, and what fills it; depth-wise weights are one."""
        if layer.depthwise:
            return layer.kept[0], ()
        if self.steps.memory is not None:
            return self._kept_table(layer, block), ()
        table = self.workers.scratch("table", layer.table_size, layer.table_type)
        return table, (_filling(layer, table, block),)

    def _kept_table(self, layer: LayerWeights, block: int) -> np.ndarray:
        """Return a block's table, which stays in memory: a run that goes on would make it anew at every step."""
        place = layer.name, block
        if place not in self.tables:
            table = aligned(layer.table_size * np.dtype(layer.table_type).itemsize).view(layer.table_type)
            make([_filling(layer, table, block)])
            self.tables[place] = table  # two threads may make it, the same
        return self.tables[place]

    def _voltages(self, layer: LayerWeights, out: BitPlanes | Numbers) -> np.ndarray | None:
        """Return the voltages that a layer's neurons were left with, if any; integer neurons keep none."""
        if isinstance(layer.step, Potential) or isinstance(out, Numbers) or layer.counts:
            return None
        return self.steps.voltages(layer.step.neuron, len(out.spikes), layer.blocks, layer.neuron_type)

    def _plain(self, part: LayerPart[Lists]) -> Piece:
        """Prepare a block of 64 output channels and their neurons for a range of pixels."""
        layer = part.layer
        table, filling = self._table(layer, part.block)
        inputs = (*part.seen, *part.size, layer.radius, layer.groups, *layer.block_numbers(part.block), layer.leak)
        state = self.steps.state(part.voltages, layer.neuron_type)
        sums = self.workers.scratch("sums", LANES, layer.sum_type)
        return *filling, (kernels.run_block, (table, *inputs, sums, *state, *part.gives))

    def _windowed(self, part: LayerPart[Windows]) -> Piece:
        """Prepare a block of a layer that looks up windows of event counts, for a range of pixels."""
        layer = part.layer
        narrow, filling = self._table(layer, part.block)
        lanes = frame_kernels.HALF if layer.outputs - part.block * LANES <= frame_kernels.HALF else LANES
        table = self.workers.scratch("windows", frame_kernels.TABLE_SIZE, np.int16)
        widening = frame_kernels.widen_table, (narrow, table, lanes)
        state = self.steps.state(part.voltages, layer.neuron_type)
        fixed = (table, *part.seen, lanes, *layer.block_numbers(part.block), *state, *part.gives)
        return *filling, widening, (frame_kernels.run_frames, fixed)

    def _sparse(self, part: LayerPart[Vectors]) -> Piece:
        """Prepare a block of a layer of few weights, for a range of rounds of pixels."""
        layer, one, scratch = part.layer, part.layer.sparse, self.workers.scratch
        assert one is not None
        planes = scratch("planes", (one.count + SPARE) * UNITS, np.uint64)
        sums = scratch("sums", part.seen.vectors.shape[1] * UNITS * LANES, one.sum_type)
        state = self.steps.state(part.voltages, layer.neuron_type)
        weights = (one.entries, one.groups, one.firsts)
        fixed = (part.seen.vectors, weights, one.count, *layer.block_numbers(part.block), layer.leak, planes, sums)
        return ((sparse_kernels.run_sparse, (*fixed, *state, *part.gives)),)

    def _other(self, part: LayerPart[Lists]) -> Piece:
        """Prepare a block that is strided, depth-wise, pooled or kept, for a range of pixels, or of rows."""
        layer, scratch, made = part.layer, self.workers.scratch, part.layer.step.made
        if layer.summed:
            return self._summed(part)
        groups = 0 if layer.depthwise else layer.groups
        table, filling = self._table(layer, part.block)
        inputs = (table, *part.seen, part.words, part.size, layer.radius, groups)
        steps, numbers = part.out.shape[1], layer.block_numbers(part.block)
        sums = scratch("sums", steps * LANES, layer.sum_type).reshape(steps, LANES)
        if isinstance(layer.step, Potential):
            fixed = (inputs, made.strides[0], numbers, sums, *part.gives)
            return *filling, (layer_kernels.keep_block, fixed)
        state = self.steps.state(part.voltages, layer.neuron_type)
        if not layer.step.pooled:
            fixed = (inputs, made.strides[0], numbers, layer.leak, sums)
            return *filling, (layer_kernels.run_strided, (*fixed, *state, *part.gives))
        across = part.size[1]
        ring = scratch("ring", 3 * across * steps * LANES, layer.sum_type).reshape(3, across, steps, LANES)
        fixed = (inputs, numbers, layer.leak, ring, sums, *state, *part.gives)
        return *filling, (layer_kernels.run_pooled, fixed)

    def _summed(self, part: LayerPart[Lists]) -> Piece:
        """Prepare a block that is given numbers, or whose neurons are integer ones, for a range of pixels."""
        layer, made, steps = part.layer, part.layer.step.made, part.out.shape[-2]
        table, filling = self._table(layer, part.block)
        edge = (0, 0) if made.padded else tuple(side // 2 for side in made.sides)
        facts = zip(part.size, edge, made.strides, strict=True)
        low, across = (-(-(side - 2 * off) // stride) for side, off, stride in facts)
        pooled, rows = isinstance(layer.step, Stage) and layer.step.pooled, -(-low // 2)
        left = rows * -(-across // 2)
        # Where they are pooled, those of a whole image at once.
        most = low * across if pooled else max(1, _AT_ONCE // max(1, steps))
        calls = list[Call](filling)
        for start in range(part.begin, part.out.shape[-3] // left * most if pooled else part.end, most):
            count = most if pooled else min(most, part.end - start)
            sums, at = self._sums(layer, "sums", count, steps), start
            calls.append(_summing(part, table, (low, across), edge, sums, start))
            if pooled:
                found = self._sums(layer, "pooled", left, steps)
                window = 3, 1, 2, rows, left // rows
                calls.append((layer_kernels.pool_numbers, (sums, low, across, window, found, 0, rows)))
                sums, at = found, start // most * left
            calls.append(self._following(part, sums, at))
        return calls

    def _sums(self, layer: LayerWeights, name: str, pixels: int, steps: int) -> np.ndarray:
        return self.workers.scratch(name, pixels * steps * LANES, layer.sum_type).reshape(pixels, steps, LANES)

    def _following(self, part: LayerPart[Lists], sums: np.ndarray, at: int) -> Call:
        """Prepare what is done with a layer's sums, from the output pixel ``at`` on."""
        layer, numbers, place = part.layer, part.layer.block_numbers(part.block), (part.out, part.block, at)
        if isinstance(layer.step, Potential):
            return number_kernels.keep_sums, (sums, numbers, *place)
        if layer.counts:
            return number_kernels.count_sums, (sums, np.stack(numbers), *place)
        state = self.steps.state(part.voltages, layer.neuron_type)
        return number_kernels.fire_sums, (sums, numbers, layer.leak, *state, *place)


def _summing(
    part: LayerPart[Lists],
    table: np.ndarray,
    size: tuple[int, int],
    edge: tuple[int, ...],
    sums: np.ndarray,
    start: int,
) -> Call:
    """Prepare the sums of output pixels from ``start`` on, of an output image of ``size``."""
    layer, made = part.layer, part.layer.step.made
    if layer.given_numbers:
        place = (part.size, *size, made.strides, made.sides, edge, 0 if layer.depthwise else layer.inputs, part.block)
        return number_kernels.sum_numbers, (table, part.words, *place, sums, start)
    seen = (table, *part.seen, part.words, part.size, layer.radius, 0 if layer.depthwise else layer.groups)
    return number_kernels.sum_lists, (seen, *size, made.strides[0], part.block, sums, start)


def _filling(layer: LayerWeights, table: np.ndarray, block: int) -> Call:
    """Prepare what fills a block's table."""
    return layer.build(table, block * LANES, min(LANES, layer.outputs - block * LANES))


def _memory(layer: LayerWeights, out: BitPlanes | Numbers) -> np.ndarray:
    """Return the array that a layer's loops write to."""
    if isinstance(out, Numbers):
        return out.values
    return out.planes if layer.counts else out.spikes


def _room(layer: LayerWeights, samples: int, steps: int, height: int, width: int) -> BitPlanes | Numbers:
    """Return the memory of what a layer gives."""
    made, pooled = layer.step.made, 1 if isinstance(layer.step, Potential) or not layer.step.pooled else 2
    lost = (0 if made.padded else side - 1 for side in made.sides)
    facts = zip((height, width), lost, made.strides, strict=True)
    low, across = (-(-(side - off) // (stride * pooled)) for side, off, stride in facts)
    shape = (samples * low * across, steps)
    if isinstance(layer.step, Potential):
        return Numbers(np.empty((*shape, layer.blocks * LANES), np.int32), low, across, layer.outputs)
    most = layer.step.fires.rounds.most if layer.step.fires.rounds else 1
    return BitPlanes(np.empty((bits(most), *shape, layer.blocks), np.uint64), low, across, layer.outputs, most)


def _looked_up(lists: Lists | Windows | Vectors, layer: LayerWeights, height: int, width: int) -> int:
    """Return how many rows of 64 sums a layer looks up for what is listed of images of that size."""
    if not isinstance(lists, Lists):
        return 0
    pairs = [
        _meetings(side, kernel, stride)
        for side, kernel, stride in zip((height, width), layer.sides, layer.step.made.strides, strict=True)
    ]
    return round(lists.rows * layer.blocks * math.prod(pairs) / (height * width))


def _meetings(side: int, kernel: int, stride: int) -> int:
    """Return how often the taps of a kernel meet a pixel along a side: edges have none outside."""
    return sum(0 <= place + tap - kernel // 2 < side for place in range(0, side, stride) for tap in range(kernel))
