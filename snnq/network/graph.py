"""A network as people draw it: operations over named streams, plain facts without torch.

A stream is (T, B, C, h, w); its name is given once. Every operation is one record: what it takes, what it gives, and
what that carries. ``snnq.network.graph_check`` runs a graph in float torch with a model's weights and compares logits:
what it says is what the model computes. Whole numbers are made of it in ``snnq.network.wiring``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Literal

from snnq.base.errors import UsageError
from snnq.base.strict_json import Json

# Larger event counts in one pixel and step count as this many: it bounds the first layer's sums.
COUNT_LIMIT = 4095
FRAMES, LOGITS = "frames", "logits"
THRESHOLD, ATTENTION_THRESHOLD = 1.0, 0.5
Kind = Literal["counts", "pixels", "spikes", "integers", "reals"]
Streams = Mapping[str, "Stream"]
Sides = int | tuple[int, int]  # of a square, or height and width


@dataclass(frozen=True)
class Stream:
    """What flows between operations, for every step and sample: (channels, height, width).

    ``kind``: event counts, pixels of images, spikes {0, 1}, integers (sums of spikes, or integer spikes), or reals. All
    but reals are whole numbers from 0 to ``bound`` times ``unit``, which is 1 or the scale of an attention; pixels in
    fixed point go from -``bound``. A mean is a sum of ``parts`` numbers divided by them.
    """

    kind: Kind
    channels: int
    size: tuple[int, int]
    bound: int | None = 1
    unit: float = 1.0
    parts: int = 1

    @property
    def pixels(self) -> int:
        """Height × width."""
        return math.prod(self.size)

    @property
    def whole(self) -> bool:
        """Whether it is of whole numbers, of unit 1."""
        return self.kind != "reals" and self.unit == 1 and self.parts == 1


def _of(streams: Streams, name: str, reader: str) -> Stream:
    if name not in streams:
        raise UsageError(f"graph: {reader} takes stream '{name}', but nothing gives it")
    return streams[name]


def _spikes(streams: Streams, names: tuple[str, ...], reader: str, *, integers: bool = False) -> list[Stream]:
    found = [_of(streams, name, reader) for name in names]
    for name, one in zip(names, found, strict=True):
        if one.kind != "spikes" and not (integers and one.kind == "integers" and one.whole):
            raise UsageError(f"graph: {reader} takes spikes, but stream '{name}' carries {one.kind}")
    return found


def _pair(sides: Sides) -> tuple[int, int]:
    return (sides, sides) if isinstance(sides, int) else sides


@dataclass(frozen=True)
class Layer:
    """y = norm(W x), zero-padded by kernel // 2; ``norm`` None: W x + bias. A linear layer is one of kernel 1.

    ``kernel`` and ``stride`` are a pair where they are not the same along both sides of an image. ``depthwise``:
    every channel by itself. ``padded`` False: nothing is padded. ``outer``: a second norm behind the first.
    """

    layer: str
    norm: str | None
    takes: tuple[str]
    gives: str
    outputs: int
    kernel: Sides = 1
    stride: Sides = 1
    depthwise: bool = False
    padded: bool = True
    outer: str | None = None
    name = "layer"

    @property
    def sides(self) -> tuple[int, int]:
        """The kernel's height and width."""
        return _pair(self.kernel)

    @property
    def strides(self) -> tuple[int, int]:
        """The stride along the height and along the width."""
        return _pair(self.stride)

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms behind it, the inner one first."""
        return tuple(one for one in (self.norm, self.outer) if one is not None)

    def carries(self, streams: Streams) -> Stream:
        """Return the stream of currents, or potentials."""
        given = _of(streams, self.takes[0], f"layer {self.layer}")
        lost = (0 if self.padded else side - 1 for side in self.sides)
        height, width = (
            -(-(side - off) // step) for side, off, step in zip(given.size, lost, self.strides, strict=True)
        )
        return Stream("reals", self.outputs, (height, width), None)


@dataclass(frozen=True)
class Rounding:
    """c = round(clamp(gain · x, 0, D)) spikes, D = ``most``: integer neurons without a potential (I-LIF).

    ``half_up``: a half is rounded up, else to the nearest even number.
    """

    most: int
    gain: float = 1.0
    half_up: bool = False

    @property
    def thresholds(self) -> tuple[tuple[float, bool], ...]:
        """For c = 1 … D: the least x that gives so many, and whether it does so itself."""
        return tuple(((c - 0.5) / self.gain, self.half_up or c % 2 == 0) for c in range(1, self.most + 1))


@dataclass(frozen=True)
class Neuron:
    """h = v + (x − v)/tau; spike = [h ≥ threshold]; v = h·(1 − spike), at rest at the first step.

    ``tau`` None: every neuron of the model has learned its own. With ``rounds`` they are integer neurons instead.
    """

    neuron: str
    takes: tuple[str]
    gives: str
    threshold: float = THRESHOLD
    tau: float | None = 2.0
    rounds: Rounding | None = None
    name = "neuron"

    def carries(self, streams: Streams) -> Stream:
        """Return spikes of the shape of its currents."""
        given = _of(streams, self.takes[0], f"neuron {self.neuron}")
        if self.rounds is not None and self.rounds.most > 1:
            return Stream("integers", given.channels, given.size, self.rounds.most)
        return Stream("spikes", given.channels, given.size)


@dataclass(frozen=True)
class Pad:
    """One pixel of zeros around every image of spikes."""

    takes: tuple[str]
    gives: str
    name = "padding"

    def carries(self, streams: Streams) -> Stream:
        """Return the same, two pixels higher and wider."""
        (given,) = _spikes(streams, self.takes, "a padding", integers=True)
        return replace(given, size=(given.size[0] + 2, given.size[1] + 2))


@dataclass(frozen=True)
class Pool:
    """The maximum over 3×3, padded by 1; of spikes an OR.

    ``heads``: the 3×3 are of matrices (tokens, features of a head) instead of images.
    """

    takes: tuple[str]
    gives: str
    stride: int = 2
    heads: int | None = None
    name = "max-pool"

    def carries(self, streams: Streams) -> Stream:
        """Return the stream, its sides divided by the stride and rounded up."""
        given = _of(streams, self.takes[0], "a max-pool")
        height, width = (-(-side // self.stride) for side in given.size)
        return replace(given, size=(height, width))


@dataclass(frozen=True)
class Add:
    """A residual: the sum of two streams of one shape."""

    takes: tuple[str, str]
    gives: str
    name = "add"

    def carries(self, streams: Streams) -> Stream:
        """Return integers up to the sum of both bounds, or reals."""
        first, second = (_of(streams, one, "a residual") for one in self.takes)
        if (first.channels, first.size) != (second.channels, second.size):
            raise UsageError(f"graph: '{self.takes[0]}' and '{self.takes[1]}', which are added, differ in shape")
        if first.bound is None or second.bound is None:
            return Stream("reals", first.channels, first.size, None)
        if not first.whole or not second.whole:
            raise UsageError(f"graph: '{self.takes[0]}' and '{self.takes[1]}', which are added, have different units")
        return replace(first, kind="integers", bound=first.bound + second.bound)


@dataclass(frozen=True)
class Concat:
    """The channels of two streams, one behind the other.

    Beside reals, whole numbers are reals, too; beside a mean, the mean of so many equal ones.
    """

    takes: tuple[str, str]
    gives: str
    name = "concatenation"

    def carries(self, streams: Streams) -> Stream:
        """Return spikes, integers up to the larger bound, or reals."""
        first, second = given = [_of(streams, one, "a concatenation") for one in self.takes]
        if first.size != second.size:
            raise UsageError(f"graph: '{self.takes[0]}' and '{self.takes[1]}', which are concatenated, differ in size")
        for name, one in zip(self.takes, given, strict=True):
            if one.kind != "reals" and not (one.whole and one.kind in ("spikes", "integers")):
                raise UsageError(f"graph: a concatenation takes spikes, sums of them or reals, but '{name}' has others")
        channels, reals = first.channels + second.channels, [one for one in given if one.kind == "reals"]
        if len({one.parts for one in reals}) > 1:
            raise UsageError(f"graph: '{self.takes[0]}' and '{self.takes[1]}', which are concatenated, are other means")
        if reals:
            return replace(reals[0], channels=channels)
        kind = "spikes" if first.kind == second.kind == "spikes" else "integers"
        return replace(first, kind=kind, channels=channels, bound=max(one.bound or 0 for one in given))

    def mixes(self, streams: Streams) -> bool:
        """Whether one of them is of reals and the other one of whole numbers."""
        return len({streams[name].kind == "reals" for name in self.takes}) > 1


@dataclass(frozen=True)
class First:
    """The first ``steps`` time steps of a stream: what is made of them has no others."""

    takes: tuple[str]
    gives: str
    steps: int
    name = "first steps"

    def carries(self, streams: Streams) -> Stream:
        """Return the stream."""
        return _of(streams, self.takes[0], "the first steps")


@dataclass(frozen=True)
class Switch:
    """In the first ``steps`` time steps the first stream, which has no others; the second one in those after them.

    Of the second one, every ``stride``-th pixel.
    """

    takes: tuple[str, str]
    gives: str
    steps: int
    stride: Sides = 1
    name = "switch"

    @property
    def strides(self) -> tuple[int, int]:
        """The stride along the height and along the width."""
        return _pair(self.stride)

    def carries(self, streams: Streams) -> Stream:
        """Return the first stream."""
        first, later = (_of(streams, one, "a switch") for one in self.takes)
        size = tuple(-(-side // step) for side, step in zip(later.size, self.strides, strict=True))
        if (first.kind, first.channels, first.size) != (later.kind, later.channels, size):
            raise UsageError(
                f"graph: '{self.takes[0]}' and '{self.takes[1]}', which follow one another, differ in shape"
            )
        return first


@dataclass(frozen=True)
class Multiply:
    """Spikes times spikes. The first may be one a channel, (C, 1, 1), or one a head and token, (heads, h, w)."""

    takes: tuple[str, str]
    gives: str
    name = "gate"

    def carries(self, streams: Streams) -> Stream:
        """Return spikes."""
        gate, given = _spikes(streams, self.takes, "a product of spikes")
        by_channel = (gate.channels, gate.size) == (given.channels, (1, 1))
        by_head = gate.size == given.size and given.channels % gate.channels == 0
        if not by_channel and not by_head:
            raise UsageError(f"graph: '{self.takes[0]}' and '{self.takes[1]}', which are multiplied, differ in shape")
        return given


@dataclass(frozen=True)
class Sum:
    """The sum of spikes over all tokens, (C, 1, 1), or over the features of every head, (heads, h, w)."""

    over: Literal["tokens", "features"]
    takes: tuple[str]
    gives: str
    heads: int = 1
    name = "sum"

    def carries(self, streams: Streams) -> Stream:
        """Return integers."""
        (given,) = _spikes(streams, self.takes, "a sum")
        if self.over == "tokens":
            return replace(given, kind="integers", size=(1, 1), bound=given.pixels)
        width = given.channels // self.heads
        return replace(given, kind="integers", channels=self.heads, bound=width)


@dataclass(frozen=True)
class Attention:
    """(Q Kᵀ) V · scale of spikes, by head; ``chunk`` steps are mixed at once, as if they were more tokens.

    Values may have more features than queries and keys.

    ``order``: ``scores`` (Q Kᵀ) V, or ``keys`` Q (Kᵀ V); ``scaled``: which is multiplied by the scale, what is made
    first or the end. Both change the rounding of floats alone. ``module`` is the path of its ``SpikingAttention``.
    """

    module: str
    takes: tuple[str, str, str]
    gives: str
    heads: int
    scale: float
    order: Literal["scores", "keys"] = "scores"
    scaled: Literal["operand", "end"] = "end"
    chunk: int = 1
    name = "attention"

    def carries(self, streams: Streams) -> Stream:
        """Return integers up to tokens · features of a head · chunk · D³, of unit ``scale``."""
        given = _spikes(streams, self.takes, f"attention {self.module}", integers=True)
        largest = math.prod(one.bound or 1 for one in given)
        bound = given[0].pixels * self.chunk * (given[0].channels // self.heads) * largest
        return replace(given[2], kind="integers", bound=bound, unit=self.scale)


@dataclass(frozen=True)
class Mean:
    """The mean over tokens, (C, 1, 1)."""

    takes: tuple[str]
    gives: str
    name = "mean"

    def carries(self, streams: Streams) -> Stream:
        """Return whole numbers, N times as large, or reals."""
        given = _of(streams, self.takes[0], "a mean")
        parts = given.parts * given.pixels
        if given.bound is None:
            return replace(given, size=(1, 1), parts=parts)
        return replace(given, kind="integers", size=(1, 1), bound=given.bound * given.pixels, parts=parts)


@dataclass(frozen=True)
class Head:
    """Logits: a linear layer on the mean over the time steps of (C, 1, 1)."""

    layer: str
    takes: tuple[str]
    outputs: int
    gives: str = LOGITS
    name = "head"

    def carries(self, streams: Streams) -> Stream:
        """Return the logits, the same at every step."""
        given = _of(streams, self.takes[0], f"head {self.layer}")
        if given.size != (1, 1):
            raise UsageError(
                f"graph: head {self.layer} takes a mean over tokens, but '{self.takes[0]}' has {given.size}"
            )
        return Stream("reals", self.outputs, (1, 1), None)


Operation = Layer | Neuron | Pad | Pool | Add | Concat | First | Switch | Multiply | Sum | Attention | Mean | Head


@dataclass(frozen=True)
class Graph:
    """All operations in an order they can run in, the first of ``FRAMES``, the last a ``Head``; T is ``steps``.

    Raises ``UsageError``, naming the stream, where streams do not fit.
    """

    operations: tuple[Operation, ...]
    frames: Stream
    steps: int
    streams: Streams = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        streams = {FRAMES: self.frames}
        for one in self.operations:
            if one.gives in streams:
                raise UsageError(f"graph: stream '{one.gives}' is given twice")
            streams[one.gives] = one.carries(streams)
        if not self.operations or not isinstance(self.operations[-1], Head):
            raise UsageError("graph: its last operation must be a head")
        object.__setattr__(self, "streams", streams)

    @cached_property
    def readers(self) -> dict[str, tuple[Operation, ...]]:
        """The operations that take each stream."""
        found: dict[str, tuple[Operation, ...]] = dict.fromkeys(self.streams, ())
        for one in self.operations:
            for name in one.takes:
                found[name] = (*found[name], one)
        return found

    def resized(self, outputs: Mapping[str, int]) -> Graph:
        """Return the graph of a model whose layers were edited: how many ``outputs`` those have now, by path."""
        return replace(
            self,
            operations=tuple(
                replace(one, outputs=outputs[one.layer]) if isinstance(one, Layer) and one.layer in outputs else one
                for one in self.operations
            ),
        )

    @property
    def head(self) -> Head:
        """The last operation."""
        last = self.operations[-1]
        assert isinstance(last, Head)
        return last

    @property
    def norms(self) -> dict[str, str]:
        """The batch normalisation behind each layer; the head has none. Where there are two, it is the inner one."""
        return {one.layer: one.norm for one in self.operations if isinstance(one, Layer) and one.norm}

    def to_dict(self) -> Json:
        """Return operations and streams as JSON-ready values."""
        operations = [
            {"operation": one.name, **asdict(one), "takes": list(one.takes), "gives": one.gives}
            for one in self.operations
        ]
        streams = {name: {**asdict(one), "size": list(one.size)} for name, one in self.streams.items()}
        return {"steps": self.steps, "operations": operations, "streams": streams}
