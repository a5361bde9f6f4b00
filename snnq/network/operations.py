"""The operations of a graph that compute: layers, neurons, attention, means and the head, a record each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from snnq.base.errors import UsageError
from snnq.network.activations import Quantise
from snnq.network.streams import LOGITS, Sides, Stream, Streams, pair, spikes_of, stream_of

THRESHOLD, ATTENTION_THRESHOLD = 1.0, 0.5


@dataclass(frozen=True)
class LayerOperation:
    """y = norm(W x), zero-padded by kernel // 2; ``norm`` None: W x + bias. A linear layer is one of kernel 1.

    ``kernel`` and ``stride`` are a pair where they are not the same along both sides of an image. ``depthwise``:
    every channel by itself; ``groups`` of channels that are convolved apart from each other are more than 1 elsewhere.
    ``padded`` False: nothing is padded. ``outer``: a second norm behind the first.
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
    groups: int = 1
    name = "layer"

    @property
    def sides(self) -> tuple[int, int]:
        """The kernel's height and width."""
        return pair(self.kernel)

    @property
    def strides(self) -> tuple[int, int]:
        """The stride along the height and along the width."""
        return pair(self.stride)

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms behind it, the inner one first."""
        return tuple(one for one in (self.norm, self.outer) if one is not None)

    def carries(self, streams: Streams) -> Stream:
        """Return the stream of currents, or potentials."""
        given = stream_of(streams, self.takes[0], f"layer {self.layer}")
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

    ``tau`` None: the module has learned its own, 1/tau = sigmoid(w). ``integrates``: nothing leaks, h = v + x, whatever
    tau. ``decays_input`` False: h = v·(1 − 1/tau) + x, of a tau that was learned. With ``rounds`` they are integer
    neurons instead.
    """

    neuron: str
    takes: tuple[str]
    gives: str
    threshold: float = THRESHOLD
    tau: float | None = 2.0
    rounds: Rounding | None = None
    integrates: bool = False
    decays_input: bool = True
    name = "neuron"

    def carries(self, streams: Streams) -> Stream:
        """Return spikes of the shape of its currents."""
        given = stream_of(streams, self.takes[0], f"neuron {self.neuron}")
        if self.rounds is not None and self.rounds.most > 1:
            return Stream("integers", given.channels, given.size, self.rounds.most)
        return Stream("spikes", given.channels, given.size)


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
        given = spikes_of(streams, self.takes, f"attention {self.module}", integers=True)
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
        given = stream_of(streams, self.takes[0], "a mean")
        parts = given.parts * given.pixels
        if given.bound is None:
            return replace(given, size=(1, 1), parts=parts)
        return replace(given, kind="integers", size=(1, 1), bound=given.bound * given.pixels, parts=parts)


@dataclass(frozen=True)
class Head:
    """Logits: a linear layer on the mean over the time steps of (C, 1, 1), which is ``quantised`` before, or not."""

    layer: str
    takes: tuple[str]
    outputs: int
    gives: str = LOGITS
    quantised: Quantise | None = None
    name = "head"

    def carries(self, streams: Streams) -> Stream:
        """Return the logits, the same at every step."""
        given = stream_of(streams, self.takes[0], f"head {self.layer}")
        if given.size != (1, 1):
            raise UsageError(
                f"graph: head {self.layer} takes a mean over tokens, but '{self.takes[0]}' has {given.size}"
            )
        return Stream("reals", self.outputs, (1, 1), None)
