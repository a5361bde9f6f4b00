"""What the C source does at every pixel: the steps of a wiring as operations on buffers.

An operation is run at one pixel of its ``grid`` after another, all channels and time steps at once. Most of them read
and write at that pixel alone; what needs all pixels of a stream before it begins ``gathers`` it. A stream is kept as
bits, a bit a step in whole bytes, one such train for each plane of its whole numbers, or as the numbers themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from snnq.arithmetic.fixed_point import POTENTIAL_LIMIT
from snnq.arithmetic.integers import Codes
from snnq.arithmetic.whole_network import Compared, WholeNetwork
from snnq.base.errors import UsageError
from snnq.exporting.c_buffers import TOTALS, Buffer, Operation, Window
from snnq.exporting.c_layers import TILE
from snnq.network.activations import Hold, KeyFrames, Quantise, Rectify
from snnq.network.combining import Add, Combining, Concat, Flatten, MeanPool, Multiply, Pad, Pool, Residual, Sum
from snnq.network.operations import Head, LayerOperation, Mean, Neuron
from snnq.network.stages import Fire, Mix, Potential, Stage
from snnq.network.streams import COUNT_LIMIT, FRAMES
from snnq.network.wiring import Wiring

COUNT_PLANES = COUNT_LIMIT.bit_length()
_INT32 = 2**31


class Operations:
    """All operations of a network, in order, and the buffers of its streams by name. Raises UsageError for others."""

    def __init__(self, network: WholeNetwork, widths: Mapping[str, int]) -> None:
        """``widths``: 32 or 64, the bits of every layer's sums."""
        self.network, self.graph, self.widths = network, network.wiring.graph, widths
        frames = self.graph.frames
        planes = 0 if sees_numbers(network.wiring) else COUNT_PLANES
        self.buffers = {FRAMES: Buffer(FRAMES, frames.channels, frames.size, planes)}
        self._once, self._residual = set[str](), set[str]()  # streams of one step, and residual frames
        self.all: list[Operation] = []
        self._padded = set[str]()
        self._parts = 0
        for one in network.wiring.flow:
            if FRAMES in one.takes and not isinstance(one, Fire | Potential | KeyFrames | Residual | Quantise):
                raise refused("the frames are read by something else than a layer")
            for step in one.stages if isinstance(one, Fire) else (one,):
                once = self._is_once(step)
                made = _MAKE[type(step)](self, step)
                self.all += [replace(made, once=once)] if made else []
        self._widen_sums()

    def _is_once(self, one: Stage | Potential | Mix | Neuron | Combining | Mean | Head) -> bool:
        """Whether what an operation gives has one step: key frames, and what is made of them until it is held."""
        taken = {name in self._once for name in one.takes}
        if len(taken) > 1 or (True in taken and isinstance(one, Stage | Neuron | Mix)):
            raise refused(f"'{one.gives}' is made of key frames and of others, or fires on key frames")
        once = isinstance(one, KeyFrames) or (taken == {True} and not isinstance(one, Hold | Head))
        self._once |= {one.gives} if once else set()
        return once

    def _widen_sums(self) -> None:
        """Give sums of spikes that another is added to in their place the planes of that one."""
        last = {name: number for number, one in enumerate(self.all) for name in one.takes}
        sums = {one.gives for one in self.all if one.run == "add_planes"}
        for number, one in reversed(list(enumerate(self.all))):
            for name in one.takes:
                if one.gives in sums and name in sums and last[name] == number:
                    planes = max(self.buffers[name].planes, self.buffers[one.gives].planes)
                    self.buffers[name] = replace(self.buffers[name], planes=planes)

    def _give(self, name: str, planes: int = 0, bits: int = 32) -> Buffer:
        stream = self.graph.streams[name]
        self.buffers[name] = Buffer(name, stream.channels, stream.size, planes, bits, name not in self._once)
        return self.buffers[name]

    def _fires(self, neuron: Neuron, bits: int) -> tuple[Buffer | None, int]:
        """Return the voltages of neurons whose spikes this operation gives, and the number of what fires."""
        given = self._give(neuron.gives, planes=(self.graph.streams[neuron.gives].bound or 1).bit_length())
        self._parts += 1
        held = Buffer(f"{neuron.neuron}, held", given.channels, given.size, bits=bits, timed=False)
        return None if neuron.rounds else held, self._parts - 1

    def _layer(self, one: Stage | Potential) -> Operation:
        made, (name,), width = one.made, one.made.takes, self.widths[one.layer]
        taken, uses, extra = self.buffers[name], [], name in self._padded
        if not taken.planes and (not self.network.wiring.numbers(name) or taken.bits != 32):
            raise refused(f"layer {one.layer} is given numbers that are not spikes, or sums of two streams of them")
        pooled, leak, (held, part) = False, 2, (None, -1)
        if isinstance(one, Stage):
            pooled, leak, (held, part) = one.pooled, self.network.leak(one.fires), self._fires(one.fires, width)
        given = self.buffers[one.gives] if isinstance(one, Stage) else self._give(one.gives)
        up, left = (made.padded * (side // 2) + extra for side in made.sides)
        if pooled and (up, left) != (made.sides[0] // 2, made.sides[1] // 2):
            raise refused(f"it max-pools sums of layer {one.layer}, which is not padded as others are")
        if taken.name == FRAMES:
            channels = math.prod(made.sides) * taken.channels
            timed = name not in self._once
            uses.append(replace(taken, name=f"{one.layer}, seen", channels=channels, size=(1, 1), timed=timed))
        if pooled:
            uses.append(Buffer(f"{one.layer}, carried", -(-made.outputs // TILE) * TILE, bits=width))
        whole = taken.name != FRAMES and (pooled or extra or made.sides != (1, 1) or made.strides != (1, 1))
        return Operation(
            run="pooled" if pooled else "layer",
            takes=(taken.name,),
            gives=one.gives,
            grid=given.size,
            gathers=(taken.name,) if whole else (),
            window=Window(up, made.strides[0], pooled) if whole else None,
            uses=tuple(uses),
            held=held,
            part=part,
            made=one,
            numbers={
                "stride": made.strides[0],
                "across": made.strides[1],
                "up": up,
                "left": left,
                "leak": leak,
                **self._cut_of(name),
            },
        )

    def _pad(self, one: Pad) -> None:
        """Layers see zeros around an image: nothing is kept of them."""
        if not all(isinstance(reader, LayerOperation) for reader in self.graph.readers[one.gives]):
            raise refused("its padded spikes are read by something else than layers")
        self.buffers[one.gives] = self.buffers[one.takes[0]]
        self._padded.add(one.gives)

    def _cut(self, one: KeyFrames | Residual) -> None:
        """Frames are cut as layers see them: nothing is kept of these."""
        self.buffers[one.gives] = self.buffers[FRAMES]
        self._residual |= {one.gives} if isinstance(one, Residual) else set()

    def _cut_of(self, name: str) -> dict[str, int]:
        return {"residual": 1} if name in self._residual else {}

    def _hold(self, one: Hold) -> Operation:
        bits = self._give(one.gives, bits=self.buffers[one.takes[0]].bits).bits
        return Operation(f"hold_{bits}", one.takes, one.gives, self.buffers[one.gives].size)

    def _rectify(self, one: Rectify) -> Operation:
        if self.buffers[one.takes[0]].bits != 32:
            raise refused("it rectifies sums of potentials")
        return Operation("rectify", one.takes, one.gives, self._give(one.gives).size)

    def _quantise(self, one: Quantise) -> Operation:
        """Return activations of numbers, or of frames, which are cut as they are read."""
        (name,), codes = one.takes, self.network.codes(one)
        taken = self.buffers[name]
        if taken.planes or taken.bits != 32:
            raise refused(f"the activations of {one.layer} are quantised from spikes, or from sums of potentials")
        numbers = _codes(codes) | self._cut_of(name)
        return Operation("quantise", (taken.name,), one.gives, self._give(one.gives).size, numbers=numbers)

    def _mean_pool(self, one: MeanPool) -> Operation:
        """Return the sums of windows, which are read at the pixels of what is given."""
        if self.buffers[one.takes[0]].bits != 32:
            raise refused("it mean-pools sums of potentials")
        return Operation("mean_pool", one.takes, one.gives, self._give(one.gives).size, one.takes)

    def _neuron(self, one: Neuron) -> Operation:
        taken, found = self.buffers[one.takes[0]], self.network.compared(one)
        if taken.planes:
            raise refused(f"neurons {one.neuron} are given spikes, or sums of two streams of them")
        width = 64 if found.wide or taken.bits == 64 or self._large(one.takes[0], found) else 32
        held, part = self._fires(one, width)
        run = f"neuron_{taken.bits}_{width}" if held else f"numbers_{taken.bits}"
        return Operation(
            run, one.takes, one.gives, taken.size, held=held, part=part, numbers=_compared(found), tops=found.thresholds
        )

    def _large(self, name: str, found: Compared) -> bool:
        """Whether currents and voltages of these neurons may pass an int32."""
        bound = self.graph.streams[name].bound
        return ((POTENTIAL_LIMIT if bound is None else bound) << found.shift) + found.threshold >= _INT32

    def _mix(self, one: Mix) -> Operation:
        found, mixes = self.network.compared(one.fires), one.mixes
        held, part = self._fires(one.fires, 32)
        numbers = _compared(found) | {"heads": mixes.heads, "chunk": mixes.chunk}
        every, tops = tuple(mixes.takes), found.thresholds
        return Operation(
            "mix", every, one.gives, (1, 1), every, held=held, alone=True, part=part, numbers=numbers, tops=tops
        )

    def _pool(self, one: Pool) -> Operation:
        taken = self.buffers[one.takes[0]]
        if taken.planes > 1 or taken.bits == 64 or (one.heads and not taken.planes):
            raise refused("it max-pools sums")
        self._give(one.gives, taken.planes)
        if one.heads is not None:
            return Operation("pool_heads", one.takes, one.gives, taken.size, one.takes, numbers={"heads": one.heads})
        run = "pool_planes" if taken.planes else "pool_32"
        numbers = {"stride": one.stride, "side": one.kernel, "up": one.padding}
        return Operation(run, one.takes, one.gives, taken.size, writes="pool", numbers=numbers)

    def _flatten(self, one: Flatten) -> Operation:
        taken = self.buffers[one.takes[0]]
        self._give(one.gives, taken.planes, taken.bits)
        run = "flatten_planes" if taken.planes else f"flatten_{taken.bits}"
        return Operation(run, one.takes, one.gives, taken.size, writes="all")

    def _add(self, one: Add) -> Operation:
        first, second = (self.buffers[name] for name in one.takes)
        if one in self.network.wiring.raising:
            return self._raised(one)
        if bool(first.planes) != bool(second.planes) or first.bits != second.bits:
            raise refused(f"residual {one.gives} adds numbers of two kinds")
        bound = self.graph.streams[one.gives].bound or 0
        self._give(one.gives, bound.bit_length() if first.planes else 0, first.bits)
        return Operation("add_planes" if first.planes else f"add_{first.bits}", one.takes, one.gives, first.size)

    def _raised(self, one: Add) -> Operation:
        """Return an addition of spikes to potentials, which come first here."""
        numbers, spikes = sorted(one.takes, key=lambda name: self.buffers[name].planes)
        if self.buffers[numbers].bits != 32:
            raise refused(f"residual {one.gives} adds spikes to sums of potentials")
        worth = {"worth[1]": max(self.network.factors(one))}
        return Operation("add_spikes", (numbers, spikes), one.gives, self._give(one.gives).size, numbers=worth)

    def _concat(self, one: Concat) -> Operation:
        taken = [self.buffers[name] for name in one.takes]
        numbers = {buffer.bits for buffer in taken if not buffer.planes}
        if len(numbers) > 1:
            raise refused(f"'{one.gives}' concatenates numbers of two widths")
        if not numbers:
            self._give(one.gives, (self.graph.streams[one.gives].bound or 0).bit_length())
            return Operation("concat_planes", one.takes, one.gives, taken[0].size)
        bits = self._give(one.gives, bits=max(numbers)).bits
        worth = {f"worth[{i}]": factor for i, factor in enumerate(self.network.factors(one))}
        return Operation(f"concat_{bits}", one.takes, one.gives, taken[0].size, numbers=worth)

    def _multiply(self, one: Multiply) -> Operation:
        gate, taken = (self.buffers[name] for name in one.takes)
        self._give(one.gives, planes=1)
        gathers = one.takes[:1] if gate.size != taken.size else ()
        return Operation("multiply", one.takes, one.gives, taken.size, gathers)

    def _sum(self, one: Sum) -> Operation:
        if one.over == "tokens":
            return self._total(one)
        self._give(one.gives)
        return Operation("features", one.takes, one.gives, self.buffers[one.takes[0]].size)

    def _total(self, one: Sum | Mean) -> Operation:
        """Return a sum over all pixels, which is a mean, too: its numbers are as many times as large."""
        taken, bound = self.buffers[one.takes[0]], self.graph.streams[one.gives].bound
        wide = bound is None or bound >= _INT32
        if taken.planes and wide:
            raise refused(f"a mean over {taken.pixels:,} pixels is too large for 32 bits")
        bits = self._give(one.gives, bits=64 if wide else 32).bits
        run = "total_planes" if taken.planes else f"total_{taken.bits}_{bits}"
        return Operation(run, one.takes, one.gives, taken.size, writes="all")

    def _mean(self, one: Mean) -> Operation | None:
        """Return a mean, or nothing where the head alone reads it: that adds up pixels itself."""
        if all(isinstance(reader, Head) for reader in self.graph.readers[one.gives]):
            self.buffers[one.gives] = self.buffers[one.takes[0]]
            return None
        return self._total(one)

    def _head(self, one: Head) -> Operation:
        taken = self.buffers[one.takes[0]]
        self.buffers[TOTALS] = Buffer(TOTALS, taken.channels, bits=64, timed=False)
        run = "read_planes" if taken.planes else f"read_{taken.bits}"
        return Operation(run, (taken.name,), TOTALS, taken.size, writes="all")


_MAKE: dict[type, Callable[..., Operation | None]] = {
    Stage: Operations._layer,
    Potential: Operations._layer,
    Neuron: Operations._neuron,
    Mix: Operations._mix,
    Pad: Operations._pad,
    Pool: Operations._pool,
    MeanPool: Operations._mean_pool,
    KeyFrames: Operations._cut,
    Residual: Operations._cut,
    Hold: Operations._hold,
    Rectify: Operations._rectify,
    Quantise: Operations._quantise,
    Flatten: Operations._flatten,
    Add: Operations._add,
    Concat: Operations._concat,
    Multiply: Operations._multiply,
    Sum: Operations._sum,
    Mean: Operations._mean,
    Head: Operations._head,
}


def refused(reason: str) -> UsageError:
    """Return the error of a network that has no form in C; ``reason`` is a sentence's second half."""
    return UsageError(f"the C source has no form of this network, because {reason}", "use another target")


def sees_numbers(wiring: Wiring) -> bool:
    """Return whether frames are read as numbers, not as the bit planes of event counts."""
    quantised = any(isinstance(one, Quantise) and one.takes[0] == FRAMES for one in wiring.flow)
    return quantised or wiring.numbers(FRAMES) or wiring.graph.segment is not None


def _codes(codes: Codes) -> dict[str, int]:
    return {"multiplier": codes.multiplier, "down": codes.shift, "least": codes.least, "greatest": codes.most}


def _compared(found: Compared) -> dict[str, int]:
    if found.thresholds:
        return {"most": len(found.thresholds)}
    return {"shift": found.shift, "threshold": found.threshold, "leak": found.leak}
