"""The operations of a graph without weights that move, pool and combine streams, a record each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from snnq.base.errors import UsageError
from snnq.network.activations import Hold, KeyFrames, Quantise, Rectify
from snnq.network.streams import Sides, Stream, Streams, pair, spikes_of, stream_of

MEAN_PARTS = 4  # numbers in a window of a mean-pool


@dataclass(frozen=True)
class Pad:
    """One pixel of zeros around every image of spikes."""

    takes: tuple[str]
    gives: str
    name = "padding"

    def carries(self, streams: Streams) -> Stream:
        """Return the same, two pixels higher and wider."""
        (given,) = spikes_of(streams, self.takes, "a padding", integers=True)
        return replace(given, size=(given.size[0] + 2, given.size[1] + 2))


@dataclass(frozen=True)
class Pool:
    """The maximum over windows of ``kernel`` × ``kernel``, 3×3, padded by ``padding``, 1 or 0; of spikes an OR.

    ``heads``: the 3×3 are of matrices (tokens, features of a head) instead of images.
    """

    takes: tuple[str]
    gives: str
    stride: int = 2
    heads: int | None = None
    kernel: int = 3
    padding: int = 1
    name = "max-pool"

    @property
    def usual(self) -> bool:
        """Whether its windows are 3×3, padded by 1."""
        return (self.kernel, self.padding) == (3, 1)

    def pooled(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the sides of an image of that size after it: how many windows begin within the padded sides."""
        height, width = ((side + 2 * self.padding - self.kernel) // self.stride + 1 for side in size)
        return height, width

    def carries(self, streams: Streams) -> Stream:
        """Return the stream, its sides divided by the stride: of 3×3 rounded up."""
        given = stream_of(streams, self.takes[0], "a max-pool")
        if min(size := self.pooled(given.size)) < 1:
            raise UsageError(f"graph: '{self.takes[0]}' of {given.size} is smaller than a max-pool of {self.kernel}")
        return replace(given, size=size)


@dataclass(frozen=True)
class Flatten:
    """Every pixel of every channel as a channel of its own, (C · h · w, 1, 1): channel c's pixels side by side."""

    takes: tuple[str]
    gives: str
    name = "flatten"

    def carries(self, streams: Streams) -> Stream:
        """Return the same numbers."""
        given = stream_of(streams, self.takes[0], "a flatten")
        return replace(given, channels=given.channels * given.pixels, size=(1, 1))


@dataclass(frozen=True)
class Add:
    """A residual: the sum of two streams of one shape.

    ``raised``: the path of a module that leaves spikes what they are on their way to potentials. In whole numbers it
    counts them in the potentials' parts.
    """

    takes: tuple[str, str]
    gives: str
    raised: str | None = None
    name = "add"

    def carries(self, streams: Streams) -> Stream:
        """Return integers up to the sum of both bounds, or reals."""
        first, second = (stream_of(streams, one, "a residual") for one in self.takes)
        if (first.channels, first.size) != (second.channels, second.size):
            raise UsageError(f"graph: '{self.takes[0]}' and '{self.takes[1]}', which are added, differ in shape")
        if first.bound is None or second.bound is None:
            return Stream("reals", first.channels, first.size, None)
        if not first.whole or not second.whole:
            raise UsageError(f"graph: '{self.takes[0]}' and '{self.takes[1]}', which are added, have different units")
        return replace(first, kind="integers", bound=first.bound + second.bound)

    def mixes(self, streams: Streams) -> bool:
        """Whether it adds whole numbers to potentials."""
        return len({streams[name].kind == "reals" for name in self.takes}) > 1


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
        first, second = given = [stream_of(streams, one, "a concatenation") for one in self.takes]
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
        return stream_of(streams, self.takes[0], "the first steps")


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
        return pair(self.stride)

    def carries(self, streams: Streams) -> Stream:
        """Return the first stream."""
        first, later = (stream_of(streams, one, "a switch") for one in self.takes)
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
        gate, given = spikes_of(streams, self.takes, "a product of spikes")
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
        (given,) = spikes_of(streams, self.takes, "a sum")
        if self.over == "tokens":
            return replace(given, kind="integers", size=(1, 1), bound=given.pixels)
        width = given.channels // self.heads
        return replace(given, kind="integers", channels=self.heads, bound=width)


@dataclass(frozen=True)
class Residual:
    """The frames of every segment but its first, its key frame, each minus that.

    ``module``: the path of what leaves frames what they are. In whole numbers it makes them whole, before.
    """

    takes: tuple[str]
    gives: str
    module: str
    name = "residual frames"

    def carries(self, streams: Streams) -> Stream:
        """Return numbers of either sign: of counts as large as these, of pixels twice as large."""
        given = stream_of(streams, self.takes[0], "the residual frames")
        most = (given.bound or 0) * (2 if given.kind == "pixels" else 1)
        return replace(given, kind="pixels", bound=most)

    def steps(self, segment: int) -> int:
        """Return how many time steps it gives of a segment."""
        return segment - 1


@dataclass(frozen=True)
class MeanPool:
    """The mean over windows of 2×2, stride 2; at odd edges, of what is there. ``module``: the path of what does it."""

    takes: tuple[str]
    gives: str
    module: str
    name = "mean-pool"

    def carries(self, streams: Streams) -> Stream:
        """Return reals, sums of four: at an edge every number counts twice, in a corner four times."""
        given = stream_of(streams, self.takes[0], "a mean-pool")
        height, width = (-(-side // 2) for side in given.size)
        return replace(given, size=(height, width), parts=given.parts * MEAN_PARTS)


# What graphs and their whole numbers have alike: everything but layers, neurons, attentions and means.
Combining = (
    Pad
    | Pool
    | MeanPool
    | Flatten
    | Add
    | Concat
    | First
    | Switch
    | KeyFrames
    | Residual
    | Hold
    | Rectify
    | Quantise
    | Multiply
    | Sum
)
