"""From a sketch of a user's own model to its graph: its head, and whether all of it ran at every step."""

from __future__ import annotations

import torch

from snnq.network.followed import FollowedTensor, UntraceableError, time_mean
from snnq.network.graph import Graph, Operation
from snnq.network.operations import Head, LayerOperation, Neuron
from snnq.network.sketch import Sketch
from snnq.network.streams import COUNT_LIMIT, FRAMES, LOGITS, Stream


def graph_of(sketch: Sketch, logits: FollowedTensor) -> Graph:
    """Return the graph of a model that gives logits (B, classes); raises ``UntraceableError`` where it has none."""
    operations = list(sketch.operations.values())
    head = sketch.operations.get(LOGITS)
    if logits.stream != LOGITS:
        head, operations = _head_of(sketch, logits, operations)
    elif not torch.equal(logits.index, torch.arange(logits.index.numel()).view_as(logits.index)) or logits.factor != 1:
        raise UntraceableError("its logits are changed behind its last layer")
    assert head is not None
    ordered = _needed([*(one for one in operations if one is not head), head])
    _ran_everywhere(sketch, ordered)
    if idle := sorted(set(sketch.seen) - {path for one in ordered for path in _modules(one)}):
        raise UntraceableError(f"'{idle[0]}' runs, but its logits are not made of what it gives")
    frames = sketch.shapes[FRAMES]
    stream = Stream("counts", frames.channels, frames.size, COUNT_LIMIT)
    return Graph(tuple(ordered), stream, sketch.steps, traced=True)


def _head_of(sketch: Sketch, logits: FollowedTensor, operations: list[Operation]) -> tuple[Operation, list[Operation]]:
    """Return the head of logits that are the mean over time of a linear layer's output."""
    last, shape = sketch.operations.get(logits.stream), sketch.shapes[logits.stream]
    if not isinstance(last, LayerOperation) or last.norm is not None or shape.pixels != 1 or last.kernel != 1:
        kind = "the frames" if last is None else f"a {last.name} gives, '{last.gives}'"
        raise UntraceableError(f"its logits are what {kind}, and a linear layer must be its last")
    seen = time_mean(logits, shape, sketch.steps, sketch.samples)
    due = torch.arange(sketch.samples * shape.channels).view(1, sketch.samples, shape.channels)
    if seen is None or seen[1] or not torch.equal(seen[0].index, due):
        raise UntraceableError(f"its logits are not the mean over time of layer '{last.layer}', class by class")
    if any(last.gives in one.takes for one in operations):
        raise UntraceableError(f"layer '{last.layer}' gives its logits, and something else reads it")
    head = Head(last.layer, last.takes, last.outputs)
    return head, [one for one in operations if one is not last]


def _ran_everywhere(sketch: Sketch, operations: list[Operation]) -> None:
    """Raise ``UntraceableError`` for a module that did not run at every step of every sample."""
    for one in operations:
        if not isinstance(one, LayerOperation | Neuron):
            continue
        (path,), images = _modules(one), sketch.steps * sketch.samples
        due = (images, images * sketch.shapes[one.gives].pixels) if isinstance(one, LayerOperation) else (sketch.steps,)
        if len(sketch.seen[path]) not in due:
            raise UntraceableError(f"'{path}' does not run at every time step")


def _modules(one: Operation) -> tuple[str, ...]:
    """Return the layer, or the neurons, that an operation runs."""
    return (one.layer,) if isinstance(one, LayerOperation | Head) else (one.neuron,) if isinstance(one, Neuron) else ()


def _needed(operations: list[Operation]) -> list[Operation]:
    """Return the operations that the last one is made of, in their order: a norm stands in its layer's place."""
    needed = {operations[-1].gives}
    found = []
    for one in reversed(operations):
        if one.gives in needed:
            needed |= set(one.takes)
            found.append(one)
    return found[::-1]
