"""A graph as a table: a row an operation, what it takes, and what its stream carries."""

from __future__ import annotations

from snnq.network.activations import Quantise
from snnq.network.combining import First, Pool, Sum, Switch
from snnq.network.graph import Graph, Operation
from snnq.network.operations import Attention, Head, LayerOperation, Neuron
from snnq.network.streams import Stream
from snnq.network.wiring import FloatWiring, Wiring
from snnq.reporting.table import Table

COLUMNS = ("stream", "operation", "takes", "carries", "C×h×w", "in whole numbers")


def graph_table(graph: Graph, wiring: Wiring | FloatWiring, spikes: int) -> Table:
    """Return a graph's operations in the order they run, and what packing makes of each.

    ``spikes``: how many it made on its way to the same logits as its model.
    """
    roles = _roles(wiring)
    rows = [
        (
            one.gives,
            _said(one),
            " + ".join(one.takes),
            _carried(stream := graph.streams[one.gives]),
            "×".join(map(str, (stream.channels, *stream.size))),
            roles.get(one.gives, ""),
        )
        for one in graph.operations
    ]
    title = f"Operations, T = {graph.steps}; run with these weights, they gave the model's logits by {spikes:,} spikes"
    return Table(title, COLUMNS, tuple(rows))


def _roles(wiring: Wiring | FloatWiring) -> dict[str, str]:
    """Return, by stream, what is made of it in whole numbers, where that is not plain."""
    if isinstance(wiring, FloatWiring):
        return {}
    found = {stage.gives: "sums compared" + (", pooled before" if stage.pooled else "") for stage in wiring.stages}
    found |= {one.gives: "sums compared" for one in wiring.mixings}
    found |= dict.fromkeys(wiring.chains, "fixed point")
    return found | {one.gives: "fixed point from sums" for one in wiring.potentials}


def _carried(stream: Stream) -> str:
    if stream.bound is None:
        return stream.kind
    begins = {"pixels": "±", "codes": "≤ "}.get(stream.kind, "0…")
    size = "" if stream.kind == "spikes" else f" {begins}{stream.bound:,}"
    unit = (f" · {stream.unit:g}" if stream.unit != 1 else "") + (f" / {stream.parts:,}" if stream.parts > 1 else "")
    return f"{stream.kind}{size}{unit}"


def _said(one: Operation) -> str:
    """Return an operation with what makes it differ from another of its kind."""
    if isinstance(one, LayerOperation):
        kind = "depth-wise " if one.depthwise else f"grouped ({one.groups}) " if one.groups > 1 else ""
        strides, sides = one.strides, "×".join(map(str, one.sides))
        stride = f", stride {strides[0]}" if strides[0] == strides[1] else f", strides {strides[0]}×{strides[1]}"
        return f"{kind}layer {sides}{stride if strides != (1, 1) else ''}{'' if one.padded else ', not padded'}"
    if isinstance(one, Neuron) and one.rounds:
        return f"neuron, 0 … {one.rounds.most} spikes, rounded"
    if isinstance(one, Neuron):
        tau = "tau learned" if one.tau is None else f"tau {one.tau:g}"
        tau = "no leak" if one.integrates else tau
        return f"neuron, threshold {one.threshold:g}, {tau}"
    if isinstance(one, Pool):
        where = "" if one.heads is None else f" of tokens × features, {one.heads} heads"
        padded = "" if one.usual else f", padded by {one.padding}" if one.padding else ", not padded"
        return f"max-pool {one.kernel}×{one.kernel}, stride {one.stride}{padded}{where}"
    if isinstance(one, Attention):
        steps = f", {one.chunk} steps at once" if one.chunk > 1 else ""
        return f"(QKᵀ)V · {one.scale:g}, {one.heads} heads{steps}"
    if isinstance(one, Sum):
        return "sum over tokens" if one.over == "tokens" else f"sum over features, {one.heads} heads"
    if isinstance(one, Quantise):
        return f"quantise to {one.bits} bits{', signed' if one.signed else ''}"
    if isinstance(one, First):
        return f"first {one.steps} steps"
    if isinstance(one, Switch):
        return f"{one.takes[0]} up to step {one.steps}, then {one.takes[1]}"
    if isinstance(one, Head):
        quantised = f", in {one.quantised.bits} bits" if one.quantised else ""
        return f"head on the mean over T{quantised}"
    return one.name
