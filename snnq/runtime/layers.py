"""The engine's layers: what they see as lists, and the loops that run their blocks of 64 outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from snnq.network.graph import COUNT_LIMIT
from snnq.network.stages import Potential, Stage
from snnq.runtime import kernels, layer_kernels, number_kernels
from snnq.runtime.steps import Steps
from snnq.runtime.streams import Lists, Numbers, Stream, bits
from snnq.runtime.vectors import LANES, SPREAD
from snnq.runtime.weights import LayerWeights
from snnq.runtime.workers import aligned, ranges

# A compiled loop and its arguments.
Prepared = tuple[Callable[..., object], tuple[object, ...]]
_NO_LISTS = Lists(np.empty(0, np.uint16), np.empty((0, 0, 0), np.int32), 0, 0)
_AT_ONCE = 256  # sums of 64 channels that are formed before what follows them
_NO_WORDS = np.empty((0, 0, 0, 0), np.uint64)


class Layers:
    """Runs layers that see the same. ``rows`` counts the rows of 64 sums that are looked up while one watches.

    ``tables`` are those of runs that go on, by layer and block.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps, self.workers, self.rows = steps, steps.workers, 0
        self.tables: dict[tuple[str, int], np.ndarray] = {}

    def run(
        self, layers: Sequence[LayerWeights], stream: Stream | Numbers | None, frames: np.ndarray
    ) -> list[Stream | Numbers]:
        """Return what layers give, of what they see: a stream or, without one, the frames."""
        samples, words = len(frames), _NO_WORDS
        if isinstance(stream, Numbers):
            lists, (height, width), words = _NO_LISTS, stream.size, stream.values
        elif layers[0].depthwise:
            assert stream is not None, "frames are convolved with all their channels"
            lists, (height, width), words = _NO_LISTS, stream.size, stream.planes[: bits(stream.bound)]
        elif stream is None:
            lists, (height, width) = self._list_counts(frames, layers[0]), frames.shape[-2:]
        else:
            lists, (height, width) = self._list(stream.planes[: bits(stream.bound)], layers[0]), stream.size
        steps, begun = frames.shape[1], time.perf_counter()
        steps = stream.values.shape[1] if isinstance(stream, Numbers) else steps  # some have the first steps alone
        call = self._plain if all(layer.plain for layer in layers) else self._other
        outs = [_room(layer, samples, steps, height, width) for layer in layers]
        pieces = [
            (layer, lists, words, (height, width), self._voltages(layer, out), _memory(layer, out), block, *part)
            for layer, out in zip(layers, outs, strict=True)
            for block in range(layer.blocks)
            for part in self._split(layer, samples * out.height, out.width, layers)
        ]
        if self.workers.threads == 1:
            for piece in pieces:  # prepared here and now, each call goes on the tape as it is
                loop, arguments = call(*piece)
                self.workers.run(loop, [arguments])
        else:
            self.workers.run(_made, [(call, *piece) for piece in pieces])
        self.steps.took(", ".join(layer.name for layer in layers), begun)
        if self.steps.watch is not None:
            self.rows += sum(int(lists.lengths.sum()) * layer.taps * layer.blocks for layer in layers)
        return outs

    def _split(
        self, layer: LayerWeights, rows: int, across: int, layers: Sequence[LayerWeights]
    ) -> list[tuple[int, int]]:
        """Return the parts of the output for each block: rows of pixels where they are pooled, else pixels."""
        threads, blocks = self.workers.threads, sum(one.blocks for one in layers)
        pooled = not isinstance(layer.step, Potential) and layer.step.pooled
        if pooled and layer.summed:
            return [(0, rows * across)]
        return ranges(rows if pooled else rows * across, -(-2 * threads // blocks) if threads > 1 else 1)

    def _list_counts(self, frames: np.ndarray, layer: LayerWeights) -> Lists:
        """Return the lists of event counts."""
        begun = time.perf_counter()
        (samples, steps, _, height, width), planes = frames.shape, digit_planes(frames)
        lengths = np.empty((planes, samples * height * width, steps), np.int32)
        entries = layer.groups * kernels.LARGEST_DIGIT
        lists = np.empty(lengths.size * entries + SPREAD, np.uint16)
        pieces = [
            (frames, COUNT_LIMIT, planes, lists, lengths, *part)
            for part in self.steps.parts(samples * height, steps * width)
        ]
        self.workers.run(kernels.list_counts, pieces)
        self.steps.took("frames", begun)
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
            for part in self.steps.parts(lengths[0].size, planes.shape[-1])
        ]
        self.workers.run(kernels.list_groups, pieces)
        self.steps.took("lists", begun)
        return Lists(lists.reshape(-1), lengths, entries, 1)

    def _table(self, layer: LayerWeights, block: int) -> np.ndarray:
        """Return a block's table, made in this thread's own memory; a depth-wise layer's weights are one."""
        if layer.depthwise:
            return layer.kept[0]
        if self.steps.memory is not None:
            return self._kept_table(layer, block)
        table = self.workers.scratch("table", layer.table_size, layer.table_type)
        lanes = table, block * LANES, min(LANES, layer.outputs - block * LANES)
        if self.workers.threads == 1:
            self.workers.run(layer.build, [lanes])
        else:
            layer.build(*lanes)
        return table

    def _kept_table(self, layer: LayerWeights, block: int) -> np.ndarray:
        """Return a block's table, which stays in memory: a run that goes on would make it anew at every step."""
        place = layer.name, block
        if place not in self.tables:
            table = aligned(layer.table_size * np.dtype(layer.table_type).itemsize).view(layer.table_type)
            layer.build(table, block * LANES, min(LANES, layer.outputs - block * LANES))
            self.tables[place] = table  # two threads may make it, the same
        return self.tables[place]

    def _voltages(self, layer: LayerWeights, out: Stream | Numbers) -> np.ndarray | None:
        """Return the voltages that a layer's neurons were left with, if any; integer neurons keep none."""
        if isinstance(layer.step, Potential) or isinstance(out, Numbers) or layer.counts:
            return None
        return self.steps.voltages(layer.step.neuron, len(out.spikes), layer.blocks, layer.neuron_type)

    def _plain(
        self,
        layer: LayerWeights,
        lists: Lists,
        words: np.ndarray,
        size: tuple[int, int],
        voltages: np.ndarray | None,
        out: np.ndarray,
        block: int,
        *part: int,
    ) -> Prepared:
        """Prepare a block of 64 output channels and their neurons for a range of pixels."""
        scratch = self.workers.scratch
        table = self._table(layer, block)
        inputs = (*lists, *size, layer.radius, layer.groups, *layer.block_numbers(block), layer.leak)
        state = self.steps.state(voltages, layer.neuron_type)
        sums = scratch("sums", LANES, layer.sum_type)
        return kernels.run_block, (table, *inputs, sums, *state, out, block, *part)

    def _other(
        self,
        layer: LayerWeights,
        lists: Lists,
        words: np.ndarray,
        size: tuple[int, int],
        voltages: np.ndarray | None,
        out: np.ndarray,
        block: int,
        *part: int,
    ) -> Prepared:
        """Prepare a block that is strided, depth-wise, pooled or kept, for a range of pixels, or of rows."""
        scratch, made = self.workers.scratch, layer.step.made
        if layer.summed:
            return self._run_summed, (layer, lists, words, size, voltages, out, block, *part)
        groups = 0 if layer.depthwise else layer.groups
        inputs = (self._table(layer, block), *lists, words, size, layer.radius, groups)
        steps, numbers = out.shape[1], layer.block_numbers(block)
        sums = scratch("sums", steps * LANES, layer.sum_type).reshape(steps, LANES)
        if isinstance(layer.step, Potential):
            return layer_kernels.keep_block, (inputs, made.strides[0], numbers, sums, out, block, *part)
        state = self.steps.state(voltages, layer.neuron_type)
        if not layer.step.pooled:
            fixed = (inputs, made.strides[0], numbers, layer.leak, sums)
            return layer_kernels.run_strided, (*fixed, *state, out, block, *part)
        ring = scratch("ring", 3 * size[1] * steps * LANES, layer.sum_type).reshape(3, size[1], steps, LANES)
        return layer_kernels.run_pooled, (inputs, numbers, layer.leak, ring, sums, *state, out, block, *part)

    def _run_summed(
        self,
        layer: LayerWeights,
        lists: Lists,
        words: np.ndarray,
        size: tuple[int, int],
        voltages: np.ndarray | None,
        out: np.ndarray,
        block: int,
        begin: int,
        end: int,
    ) -> None:
        """Run a block of a layer that is given numbers, or whose neurons are integer ones, for a range of pixels."""
        made, step, numbers = layer.step.made, layer.step, layer.block_numbers(block)
        table, steps = self._table(layer, block), out.shape[-2]
        edge = (0, 0) if made.padded else tuple(side // 2 for side in made.sides)
        facts = zip(size, edge, made.strides, strict=True)
        low, across = (-(-(side - 2 * off) // stride) for side, off, stride in facts)
        pooled, left = isinstance(step, Stage) and step.pooled, -(-low // 2) * -(-across // 2)
        # Where they are pooled, those of a whole image at once.
        most = low * across if pooled else max(1, _AT_ONCE // max(1, steps))
        for start in range(begin, out.shape[-3] // left * most if pooled else end, most):
            count = most if pooled else min(most, end - start)
            sums = self.workers.scratch("sums", count * steps * LANES, layer.sum_type).reshape(count, steps, LANES)
            if layer.given_numbers:
                inputs = 0 if layer.depthwise else layer.inputs
                place = (size, low, across, made.strides, made.sides, edge, inputs, block)
                number_kernels.sum_numbers(table, words, *place, sums, start)
            else:
                groups = 0 if layer.depthwise else layer.groups
                seen = (table, *lists, words, size, layer.radius, groups)
                number_kernels.sum_lists(seen, low, across, made.strides[0], block, sums, start)
            at = start
            if pooled:
                sums, at = _pooled(sums, low, across), start // most * left
            self._follow(layer, sums, numbers, voltages, out, block, at)

    def _follow(
        self,
        layer: LayerWeights,
        sums: np.ndarray,
        numbers: tuple[np.ndarray, ...],
        voltages: np.ndarray | None,
        out: np.ndarray,
        block: int,
        at: int,
    ) -> None:
        """Do what is done with a layer's sums, from the output pixel ``at`` on."""
        if isinstance(layer.step, Potential):
            number_kernels.keep_sums(sums, numbers, out, block, at)
        elif layer.counts:
            number_kernels.count_sums(sums, np.stack(numbers), out, block, at)
        else:
            state = self.steps.state(voltages, layer.neuron_type)
            number_kernels.fire_sums(sums, numbers, layer.leak, *state, out, block, at)


def digit_planes(frames: np.ndarray) -> int:
    """Return how many digits the largest of event counts takes."""
    most = min(int(frames.max(initial=0)), COUNT_LIMIT)
    return max(1, -(-most.bit_length() // kernels.DIGIT_BITS))


def _made(call: Callable[..., Prepared], *piece: object) -> None:
    """Prepare a piece, in the memory of the thread that runs it, and run it."""
    loop, arguments = call(*piece)
    loop(*arguments)


def _pooled(sums: np.ndarray, low: int, across: int) -> np.ndarray:
    """Return the 3×3 maxima of an image's sums at stride 2."""
    rows = -(-low // 2)
    found = np.empty((rows * -(-across // 2), *sums.shape[1:]), sums.dtype)
    layer_kernels.pool_numbers(sums, low, across, 2, found, 0, rows)
    return found


def _memory(layer: LayerWeights, out: Stream | Numbers) -> np.ndarray:
    """Return the array that a layer's loops write to."""
    if isinstance(out, Numbers):
        return out.values
    return out.planes if layer.counts else out.spikes


def _room(layer: LayerWeights, samples: int, steps: int, height: int, width: int) -> Stream | Numbers:
    """Return the memory of what a layer gives."""
    made, pooled = layer.step.made, 1 if isinstance(layer.step, Potential) or not layer.step.pooled else 2
    lost = (0 if made.padded else side - 1 for side in made.sides)
    facts = zip((height, width), lost, made.strides, strict=True)
    low, across = (-(-(side - off) // (stride * pooled)) for side, off, stride in facts)
    shape = (samples * low * across, steps)
    if isinstance(layer.step, Potential):
        return Numbers(np.empty((*shape, layer.blocks * LANES), np.int32), low, across, layer.outputs)
    most = layer.step.fires.rounds.most if layer.step.fires.rounds else 1
    return Stream(np.empty((bits(most), *shape, layer.blocks), np.uint64), low, across, layer.outputs, most)
