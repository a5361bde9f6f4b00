"""The operations of a part of a network that does not spike: key frames, rectified and quantised activations."""

from __future__ import annotations

from dataclasses import dataclass, replace

from snnq.network.streams import Stream, Streams, stream_of


@dataclass(frozen=True)
class KeyFrames:
    """The first frame of every segment, one step. ``module``: the path of what leaves frames what they are.

    In whole numbers it makes them whole.
    """

    takes: tuple[str]
    gives: str
    module: str
    name = "key frames"

    def carries(self, streams: Streams) -> Stream:
        """Return numbers as layers multiply them, as large as those of the frames."""
        return replace(stream_of(streams, self.takes[0], "the key frames"), kind="pixels")

    def steps(self, segment: int) -> int:
        """Return how many time steps it gives of a segment."""
        return 1


@dataclass(frozen=True)
class Hold:
    """What a stream of one step carries, at ``steps`` steps."""

    takes: tuple[str]
    gives: str
    steps: int
    name = "hold"

    def carries(self, streams: Streams) -> Stream:
        """Return the same."""
        return stream_of(streams, self.takes[0], "what is held")


@dataclass(frozen=True)
class Rectify:
    """max(x, 0) of reals (ReLU)."""

    takes: tuple[str]
    gives: str
    name = "rectify"

    def carries(self, streams: Streams) -> Stream:
        """Return the stream."""
        return stream_of(streams, self.takes[0], "a rectifier")


@dataclass(frozen=True)
class Quantise:
    """Activations that a layer is given: step · clamp(round(x / step), …), whole numbers of ``bits`` (``levels``).

    In floating point the ``layer`` does it itself. ``step`` None: the model has learned it, and knows it alone; nothing
    is made of such a stream's unit.
    """

    layer: str
    takes: tuple[str]
    gives: str
    bits: int
    signed: bool
    step: float | None = None
    name = "quantise"

    @property
    def levels(self) -> tuple[int, int]:
        """The least and the largest of its whole numbers."""
        return levels(self.bits, self.signed)

    def carries(self, streams: Streams) -> Stream:
        """Return whole numbers times the step."""
        given = stream_of(streams, self.takes[0], f"what quantises for {self.layer}")
        unit = 1.0 if self.step is None else self.step
        return replace(given, kind="codes", bound=self.levels[1], unit=unit, parts=1)


def levels(bits: int, signed: bool) -> tuple[int, int]:
    """Return the least and the largest whole number of quantised activations."""
    return (1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
