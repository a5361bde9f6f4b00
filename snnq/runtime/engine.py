"""``snnq.runtime``: running a packed folder in integers, without torch.

The engine walks the wiring of a folder's architecture. The arithmetic is that of ``snnq.arithmetic``, spike for spike.
Time is walked through innermost: a block of 64 output channels is run at a pixel for all T steps, its voltages in
registers, and each step's 64 spikes are one word.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import RLock

import numpy as np

from snnq.base.machine import fitting_threads
from snnq.models.registry import described
from snnq.network.activations import Hold, KeyFrames, Quantise, Rectify
from snnq.network.combining import (
    Add,
    Concat,
    First,
    Flatten,
    MeanPool,
    Multiply,
    Pad,
    Pool,
    Residual,
    Sum,
    Switch,
)
from snnq.network.layers import check_frames_shape
from snnq.network.operations import Head, Mean, Neuron
from snnq.network.stages import Fire, Mix, Potential, Step
from snnq.network.streams import FRAMES
from snnq.packed.arrays import open_arrays
from snnq.runtime import changing, firing, joining
from snnq.runtime.layers import Layers
from snnq.runtime.listing import digit_planes
from snnq.runtime.running import NeuronMemory, Running, of_clips, segments_of
from snnq.runtime.steps import Steps, Watch
from snnq.runtime.streams import BitPlanes, Numbers, bits, shown
from snnq.runtime.tape import Tape
from snnq.runtime.weights import LayerWeights, read_layer
from snnq.runtime.workers import Workers

# Batches of less work have calls that take longer to prepare than to make, and little memory to keep for them. A sample
# alone is run by threads that would wait for Python between any two layers; larger batches of such are run one by one.
TAPED_MACS, TAPED_MACS_ALONE = 2**29, 2**33
TAPES = 4
Streams = dict[str, BitPlanes | Numbers]


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
        self.config = described(arrays.config.architecture).config(arrays.config.config)
        self.wiring, self._frames = arrays.wiring, arrays.frames
        self.pixels = arrays.config.quantization_config.pixels
        layers = {one.layer: read_layer(arrays, one) for one in self.wiring.layers}
        compared = (*self.wiring.neurons, *(mixing.fires for mixing in self.wiring.mixings))
        self.compared = {neuron.neuron: arrays.network.compared(neuron) for neuron in compared}
        joined = [one for one in self.wiring.flow if isinstance(one, Concat)]
        self.factors = {one.gives: arrays.network.factors(one) for one in (*joined, *self.wiring.raising)}
        self.codes = {one.gives: arrays.network.codes(one) for one in self.wiring.flow if isinstance(one, Quantise)}
        self.heads = arrays.heads()
        self.head = self.heads.after(self.wiring.graph.steps)
        self.workers, self._fitting = Workers(threads), threads is None
        self.steps = Steps(self.workers, bits(self.wiring.largest))
        self._layers, self._tapes = Layers(self.steps), dict[tuple[object, ...], Tape]()
        self.layers = layers
        self._alone = RLock()  # a call's memory is kept for the next one
        # Calls are kept of loops that do all of their work: those of the first graphs.
        self.taped = self.wiring.beyond is None
        self.macs = self._macs_of_a_sample()

    @property
    def layers(self) -> Mapping[str, LayerWeights]:
        """What is run, by layer; others may be put in its place."""
        return self._weights

    @layers.setter
    def layers(self, layers: Mapping[str, LayerWeights]) -> None:
        self._weights = layers
        self._tapes.clear()  # their calls, and tables that were kept, are those of the layers before
        self._layers.tables.clear()

    @property
    def seconds(self) -> dict[str, float]:
        """The time of every part, summed."""
        return self.steps.seconds

    @property
    def rows(self) -> int:
        """Rows of 64 sums that were looked up while a ``watch`` looked on."""
        return self._layers.rows

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights and neurons that stay in memory."""
        return sum(layer.nbytes for layer in self.layers.values()) + self.head.weight.nbytes + self.head.bias.nbytes

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        """Return logits float32 (B, classes) of event counts (B, T, C, H, W); ``watch`` is shown every neuron's spikes.

        A model of images takes their bytes, or normalised pixels. Raises UsageError for frames of another shape, or
        that are no counts.
        """
        check_frames_shape(frames.shape, self.config.frames_shape)
        return self.head.logits(self.advance(frames, None, watch))

    def stream(self) -> Running:
        """Return a run that goes on: its ``step`` takes a step's frame, and gives the logits of all steps so far."""
        return Running(self, self.wiring)

    def advance(self, frames: np.ndarray, memory: NeuronMemory | None, watch: Watch | None = None) -> np.ndarray:
        """Run steps (B, any number, C, H, W) and return what the head is given of them: sums, int64 (B, n).

        ``memory``: the voltages that neurons start from, and are left with; None: they start at rest.
        """
        with self._alone:
            return self._advanced(self._frames(frames), memory, watch)

    def _advanced(self, frames: np.ndarray, memory: NeuronMemory | None, watch: Watch | None) -> np.ndarray:
        self.steps.watch, self.steps.memory = watch, memory
        if self._fitting:
            self.workers.threads = fitting_threads(self.macs * len(frames) * frames.shape[1] // self.wiring.graph.steps)
        work = self.macs * len(frames) * frames.shape[1] // self.wiring.graph.steps
        if not self.taped or watch is not None or not len(frames):
            return self._walk(frames)
        if work <= (TAPED_MACS_ALONE if len(frames) == 1 else TAPED_MACS):
            return self._taped(frames, memory)
        if memory is None and TAPED_MACS < work / len(frames) <= TAPED_MACS_ALONE:  # their streams stay in the caches
            return np.concatenate([self._taped(frames[i : i + 1], None) for i in range(len(frames))])
        return self._walk(frames)

    def _taped(self, frames: np.ndarray, memory: NeuronMemory | None) -> np.ndarray:
        """Return the sums of a sample or small batch, by calls that were prepared for one of its shape, or are now."""
        key = self._kept_by(frames, memory)
        tape = self._tapes.pop(key, None)
        if tape is not None:
            tape.play(frames, memory, self.workers, self.steps.seconds)
        else:
            tape = self._record(frames, memory)
        self._tapes[key] = tape  # the last ones used stay
        if len(self._tapes) > TAPES:
            self._tapes.pop(next(iter(self._tapes)))
        return tape.sums.copy()

    def _kept_by(self, frames: np.ndarray, memory: NeuronMemory | None) -> tuple[object, ...]:
        """Return what is the same of all runs that the same calls make."""
        return frames.shape, frames.dtype, digit_planes(frames), memory is None, self.workers.threads

    def _record(self, frames: np.ndarray, memory: NeuronMemory | None) -> Tape:
        tape = Tape(frames)
        for neuron, voltages in (memory or {}).items():
            memory[neuron] = voltages.copy()  # pyright: ignore[reportOptionalSubscript]
        self.workers.tape = calls = []
        try:
            tape.sums = self._walk(tape.frames)
        finally:
            self.workers.tape = None
        tape.keep(calls, self.workers.threads)
        if memory is not None:
            tape.own(memory)
        return tape

    def _walk(self, frames: np.ndarray) -> np.ndarray:
        """Run all steps of the flow; return the sums that the head is given."""
        clips, frames = len(frames), segments_of(frames, self.wiring.graph.segment)
        streams: Streams = {FRAMES: _pixels(frames)} if self.wiring.numbers(FRAMES) else {}
        for number, one in enumerate(self.wiring.flow):
            if isinstance(one, Head):
                return of_clips(changing.total(self.steps, streams[one.takes[0]], len(frames), one.layer), clips)
            self._run(one, number, streams, frames)
            for name in one.takes:
                if self.wiring.last_read[name] == number:
                    streams.pop(name, None)
        raise AssertionError("a graph ends with a head")

    def _run(self, one: Step, number: int, streams: Streams, frames: np.ndarray) -> None:
        """Run a step of the wiring's flow: put what it gives beside the other streams."""
        given, samples, steps = [streams.get(name) for name in one.takes], len(frames), self.steps
        if isinstance(one, Fire | Potential):
            self._run_layers(one, given[0], streams, frames)
        elif isinstance(one, Mix):
            found = self.compared[one.fires.neuron]
            streams[one.gives] = firing.mix(
                steps, one.mixes, one.fires.neuron, found, list(map(_planes, given)), samples
            )
            steps.show(one.fires.neuron, shown(_planes(streams[one.gives])))
        elif isinstance(one, Neuron):
            streams[one.gives] = firing.fire(steps, self.compared[one.neuron], _numbers(given[0]), one.neuron)
            steps.show(one.neuron, shown(_planes(streams[one.gives])))
        elif isinstance(one, Pad):
            streams[one.gives] = changing.pad(steps, _planes(given[0]), samples)
        elif isinstance(one, Pool):
            streams[one.gives] = changing.pool(steps, one, _there(given[0]), samples)
        elif isinstance(one, MeanPool):
            streams[one.gives] = changing.mean_pool(steps, _numbers(given[0]), samples)
        elif isinstance(one, KeyFrames | Residual | Hold | Rectify | Quantise):
            streams[one.gives] = self._numbers_of(one, given[0], frames)
        elif isinstance(one, Flatten):
            streams[one.gives] = changing.flatten(steps, _there(given[0]), samples)
        elif isinstance(one, Concat):
            streams[one.gives] = joining.concat(steps, self.factors[one.gives], list(map(_there, given)))
        elif isinstance(one, First):
            streams[one.gives] = changing.first_steps(steps, one, _numbers(given[0]))
        elif isinstance(one, Switch):
            streams[one.gives] = joining.switch(steps, one, _numbers(given[0]), _numbers(given[1]), samples)
        elif isinstance(one, Multiply):
            streams[one.gives] = joining.multiply(steps, one, _planes(given[0]), _planes(given[1]), samples)
        elif isinstance(one, Sum):
            streams[one.gives] = changing.sum_spikes(steps, one, _planes(given[0]), samples)
        elif isinstance(one, Mean):  # the head adds up tokens itself
            read = _there(given[0])
            streams[one.gives] = changing.mean(steps, read, samples) if self._compared_later(one) else read
        elif isinstance(one, Add):
            streams[one.gives] = self._added(one, number, _there(given[0]), _there(given[1]), streams)

    def _numbers_of(
        self,
        one: KeyFrames | Residual | Hold | Rectify | Quantise,
        given: BitPlanes | Numbers | None,
        frames: np.ndarray,
    ) -> Numbers:
        """Return frames that are cut, and activations."""
        if isinstance(one, KeyFrames):
            return _pixels(frames[:, :1].astype(np.int32))
        if isinstance(one, Residual):
            return _pixels(frames[:, 1:].astype(np.int32) - frames[:, :1])
        read = _pixels(frames.astype(np.int32)) if one.takes[0] == FRAMES else _numbers(given)
        if isinstance(one, Hold):
            return read._replace(values=read.values.repeat(one.steps, 1))
        if isinstance(one, Rectify):
            return changing.rectify(self.steps, read)
        return changing.quantise(self.steps, self.codes[one.gives], read)

    def _added(
        self, one: Add, number: int, first: BitPlanes | Numbers, second: BitPlanes | Numbers, streams: Streams
    ) -> BitPlanes | Numbers:
        """Return a residual sum, in the memory of what it is the last to read, if that can be."""
        free, second_free = (self.wiring.last_read[name] == number for name in one.takes)
        if (second_free and not free) or (isinstance(second, Numbers) and isinstance(first, BitPlanes)):
            first, second, free = second, first, second_free
        # A mean that the head forms is the same memory, and who watches may keep what was shown.
        shared = first is second or sum(stream is first for stream in streams.values()) > 1
        free = free and not shared and self.steps.watch is None
        if isinstance(first, Numbers) and isinstance(second, BitPlanes):
            return joining.raised(self.steps, first, second, max(self.factors[one.gives]), free)
        return joining.add(self.steps, first, second, free)

    def _run_layers(
        self, one: Fire | Potential, stream: BitPlanes | Numbers | None, streams: Streams, frames: np.ndarray
    ) -> None:
        members = one.stages if isinstance(one, Fire) else (one,)
        outs = self._layers.run([self.layers[member.layer] for member in members], stream, frames)
        for member, out in zip(members, outs, strict=True):
            streams[member.gives] = out
            if isinstance(out, BitPlanes) and not isinstance(member, Potential):
                self.steps.show(member.neuron, shown(out))

    def _compared_later(self, one: Mean) -> bool:
        return any(not isinstance(reader, Head) for reader in self.wiring.graph.readers[one.gives])

    def _macs_of_a_sample(self) -> int:
        """Return ``macs``."""
        graph, total = self.wiring.graph, 0
        for one in self.wiring.layers:
            total += self.layers[one.layer].products * graph.streams[one.made.gives].pixels
        return self.heads.summed(graph.steps) * total


def _pixels(frames: np.ndarray) -> Numbers:
    """Return pixels (B, T, C, H, W) as numbers (B · H · W, T, C)."""
    _, steps, channels, height, width = frames.shape
    values = frames.transpose(0, 3, 4, 1, 2).reshape(-1, steps, channels)
    return Numbers(np.ascontiguousarray(values), height, width, channels)


def _there(stream: BitPlanes | Numbers | None) -> BitPlanes | Numbers:
    assert stream is not None, "a graph gives every stream before it is taken"
    return stream


def _planes(stream: BitPlanes | Numbers | None) -> BitPlanes:
    assert isinstance(stream, BitPlanes), "a graph's kinds say which streams are bits"
    return stream


def _numbers(stream: BitPlanes | Numbers | None) -> Numbers:
    assert isinstance(stream, Numbers), "a graph's kinds say which streams are numbers"
    return stream
