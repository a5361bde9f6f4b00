"""A network as people draw it: operations over named streams, plain facts without torch.

A stream is (T, B, C, h, w); its name is given once. Every operation is one record: what it takes, what it gives, and
what that carries. ``snnq.network.graph_check`` runs a graph in float torch with a model's weights and compares logits:
what it says is what the model computes. Whole numbers are made of it in ``snnq.network.wiring``. The operations are in
``operations`` and ``combining``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property

from snnq.base.errors import UsageError
from snnq.base.strict_json import Json
from snnq.network.activations import KeyFrames, Quantise
from snnq.network.combining import Combining, Residual
from snnq.network.operations import Attention, Head, LayerOperation, Mean, Neuron
from snnq.network.streams import FRAMES, Stream, Streams

Operation = LayerOperation | Neuron | Combining | Attention | Mean | Head


@dataclass(frozen=True)
class Graph:
    """All operations in an order they can run in, the first of ``FRAMES``, the last a ``Head``; T is ``steps``.

    ``traced``: it was found by watching a user's own model run; in whole numbers the model is run as it says.
    ``segment``: so many frames are a sample for themselves, whose neurons begin at rest, and logits are the mean over
    the segments of a clip; None: all T are one.

    Raises ``UsageError``, naming the stream, where streams do not fit.
    """

    operations: tuple[Operation, ...]
    frames: Stream
    steps: int
    traced: bool = False
    segment: int | None = None
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
                replace(one, outputs=outputs[one.layer])
                if isinstance(one, LayerOperation) and one.layer in outputs
                else one
                for one in self.operations
            ),
        )

    def with_steps(self, steps: Mapping[str, float]) -> Graph:
        """Return the graph with the steps of quantised activations, by the layer that is given them."""
        made: list[Operation] = []
        for one in self.operations:
            if isinstance(one, Quantise):
                one = replace(one, step=steps[one.layer])
            elif isinstance(one, Head) and one.quantised is not None:
                one = replace(one, quantised=replace(one.quantised, step=steps[one.layer]))
            made.append(one)
        return replace(self, operations=tuple(made))

    @property
    def pass_steps(self) -> int:
        """The time steps that a segment has for the head: one fewer than frames where they are residual ones.

        Of key frames alone it is one.
        """
        cuts = [one for one in self.operations if isinstance(one, KeyFrames | Residual)]
        return max((one.steps(self.segment or self.steps) for one in cuts), default=self.steps)

    @property
    def head(self) -> Head:
        """The last operation."""
        last = self.operations[-1]
        assert isinstance(last, Head)
        return last

    @property
    def norms(self) -> dict[str, str]:
        """The batch normalisation behind each layer; the head has none. Where there are two, it is the inner one."""
        return {one.layer: one.norm for one in self.operations if isinstance(one, LayerOperation) and one.norm}

    def to_dict(self) -> Json:
        """Return operations and streams as JSON-ready values."""
        operations = [
            {"operation": one.name, **asdict(one), "takes": list(one.takes), "gives": one.gives}
            for one in self.operations
        ]
        streams = {name: {**asdict(one), "size": list(one.size)} for name, one in self.streams.items()}
        return {"steps": self.steps, "operations": operations, "streams": streams}
