"""Drawing a graph step by step: every method adds an operation to it and returns the name of the stream it gives.

Streams are called by the module whose output they are; pooled, added and summed ones by what they were made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from snnq.network.activations import Hold, KeyFrames, Rectify
from snnq.network.combining import Add, Concat, MeanPool, Multiply, Pad, Pool, Residual, Sum
from snnq.network.graph import Graph, Operation
from snnq.network.operations import THRESHOLD, Attention, Head, LayerOperation, Mean, Neuron, Rounding
from snnq.network.streams import COUNT_LIMIT, FRAMES, Stream


class Drawing:
    """A graph that is being drawn, of ``steps`` frames of (channels, height, width).

    ``tau``, or ``rounds`` of integer neurons, is of all its neurons; ``segment`` is as of ``Graph``.
    """

    def __init__(
        self,
        frames_shape: tuple[int, int, int, int],
        tau: float | None = 2.0,
        rounds: Rounding | None = None,
        segment: int | None = None,
    ) -> None:
        self.steps, channels, *size = frames_shape
        self.frames = Stream("counts", channels, (size[0], size[1]), COUNT_LIMIT)
        self.tau, self.rounds, self.segment = tau, rounds, segment
        self.operations: list[Operation] = []

    def layer(
        self,
        x: str,
        layer: str,
        norm: str | None,
        outputs: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        padded: bool = True,
        outer: str | None = None,
    ) -> str:
        """Add a layer and its norm, or both its norms."""
        gives = outer or norm or layer
        return self._add(LayerOperation(layer, norm, (x,), gives, outputs, kernel, stride, depthwise, padded, outer))

    def neuron(self, x: str, neuron: str, threshold: float = THRESHOLD) -> str:
        """Add neurons."""
        return self._add(Neuron(neuron, (x,), neuron, threshold, self.tau, self.rounds))

    def fire(self, x: str, names: tuple[str, str, str], outputs: int, *, kernel: int = 1, stride: int = 1) -> str:
        """Add a layer, its norm and neurons, by their paths."""
        layer, norm, neuron = names
        return self.neuron(self.layer(x, layer, norm, outputs, kernel=kernel, stride=stride), neuron)

    def pad(self, x: str) -> str:
        """Add a pixel of zeros around spikes."""
        return self._add(Pad((x,), f"{x}, padded"))

    def pool(self, x: str, stride: int = 2, heads: int | None = None) -> str:
        """Add a max-pool."""
        return self._add(Pool((x,), f"{x}, pooled", stride, heads))

    def mean_pool(self, x: str, module: str) -> str:
        """Add the mean over windows of 2×2."""
        return self._add(MeanPool((x,), module, module))

    def residual(self, x: str, module: str) -> str:
        """Add the other frames of every segment, minus the first."""
        return self._add(Residual((x,), "residual frames", module))

    def key_frames(self, x: str, module: str) -> str:
        """Add the first frame of every segment."""
        return self._add(KeyFrames((x,), "key frames", module))

    def hold(self, x: str, steps: int) -> str:
        """Add the same at so many steps."""
        return self._add(Hold((x,), f"{x}, held", steps))

    def rectify(self, x: str) -> str:
        """Add max(x, 0)."""
        return self._add(Rectify((x,), f"{x}, rectified"))

    def add(self, x: str, y: str, name: str, raised: str | None = None) -> str:
        """Add a residual called ``name``."""
        return self._add(Add((x, y), name, raised))

    def concat(self, x: str, y: str, name: str) -> str:
        """Add channels of ``y`` behind those of ``x``, together called ``name``."""
        return self._add(Concat((x, y), name))

    def multiply(self, gate: str, spikes: str, name: str) -> str:
        """Add a product of spikes called ``name``."""
        return self._add(Multiply((gate, spikes), name))

    def sum(self, x: str, over: Literal["tokens", "features"], heads: int = 1) -> str:
        """Add a sum of spikes."""
        return self._add(Sum(over, (x,), f"{x}, summed", heads))

    def attention(
        self,
        module: str,
        spikes: Iterable[str],
        heads: int,
        scale: float,
        order: Literal["scores", "keys"] = "keys",
        scaled: Literal["operand", "end"] = "end",
        chunk: int = 1,
    ) -> str:
        """Add the products of an attention of queries, keys and values."""
        q, k, v = spikes
        return self._add(Attention(module, (q, k, v), f"{module}.mix", heads, scale, order, scaled, chunk))

    def mean(self, x: str) -> str:
        """Add a mean over tokens."""
        return self._add(Mean((x,), f"{x}, mean"))

    def finish(self, x: str, head: str, outputs: int) -> Graph:
        """Add the head on the mean over time of ``x`` and return the graph."""
        self._add(Head(head, (x,), outputs))
        return Graph(tuple(self.operations), self.frames, self.steps, segment=self.segment)

    def _add(self, one: Operation) -> str:
        self.operations.append(one)
        return one.gives


__all__ = ["FRAMES", "Drawing"]
