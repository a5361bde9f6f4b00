"""Why a graph has no whole numbers: each operation, or what it is given, for which that arithmetic does not apply."""

from __future__ import annotations

from collections.abc import Iterator

from snnq.network.activations import KeyFrames, Quantise, Rectify
from snnq.network.combining import Add, Concat, MeanPool, Pool, Residual
from snnq.network.graph import Graph, Operation
from snnq.network.leaks import is_fixed, lead, leak
from snnq.network.operations import Attention, Head, LayerOperation, Neuron
from snnq.network.streams import FRAMES, Stream

# Of an attention: twice as many fit an int32, a neuron's voltage and its current.
SUM_LIMIT = 2**30
# Steps that the voltages of neurons without a leak surely stay below 64 bits in, whatever they are given.
INTEGRATED_STEPS = 256


def obstacles(graph: Graph) -> Iterator[str]:
    """Yield half a sentence, after "because", for everything that has no whole numbers."""
    for one in graph.operations:
        given = [graph.streams[name] for name in one.takes]
        if graph.traced and (reason := _unusual(one, given)) is not None:
            yield reason
        elif isinstance(one, Neuron) and one.integrates and graph.steps > INTEGRATED_STEPS:
            yield f"its neurons have no leak, and their voltages are whole numbers for up to {INTEGRATED_STEPS} steps"
        elif isinstance(one, Neuron) and one.integrates and given[0].bound is None and given[0].parts > 1:
            yield f"neurons {one.neuron}, which have no leak, are given a mean of potentials"
        elif isinstance(one, MeanPool) and (given[0].kind != "reals" or given[0].parts > 1):
            yield f"a mean-pool is given '{one.takes[0]}', and takes potentials"
        elif (reason := _of_activations(graph, one)) is not None:
            yield reason
        elif isinstance(one, LayerOperation) and not _readable(graph, one):
            yield f"layer {one.layer} is given a mean, and whole numbers need spikes, sums of them, or potentials"
        elif isinstance(one, LayerOperation) and one.depthwise and one.takes[0] in _frames(graph):
            yield f"layer {one.layer} convolves every channel of the frames by itself"
        elif isinstance(one, Pool) and given[0].kind == "integers":
            yield f"a max-pool is given '{one.takes[0]}', which has more than one spike, and takes spikes or potentials"
        elif isinstance(one, LayerOperation) and not one.padded and given[0].kind != "reals":
            yield f"layer {one.layer} convolves spikes without padding"
        elif isinstance(one, Add) and one.mixes(graph.streams) and any(one.parts > 1 or one.unit != 1 for one in given):
            yield f"residual '{one.gives}' adds a mean, or sums of an attention, to potentials"
        elif isinstance(one, Add) and one.mixes(graph.streams) and not (graph.traced or one.raised):
            yield f"residual '{one.gives}' adds spikes to potentials, and no module raises them"
        elif isinstance(one, Concat) and one.mixes(graph.streams) and not _read_by_head(graph, one):
            yield f"'{one.gives}' has potentials and spikes side by side, and not a head alone reads it"
        elif isinstance(one, Attention) and not (
            len(reading_neurons(graph, one)) == 1 == len(graph.readers[one.gives])
        ):
            yield f"what attention {one.module} gives is read by something else than one neuron"
        elif isinstance(one, Attention) and not _fits(graph, one):
            yield f"the sums of attention {one.module} reach {graph.streams[one.gives].bound:,}, too many for 32 bits"


def _read_by_head(graph: Graph, one: Concat) -> bool:
    return all(isinstance(reader, Head) for reader in graph.readers[one.gives])


def _readable(graph: Graph, one: LayerOperation) -> bool:
    """Whether a layer multiplies what it is given as it is: the means of a mean-pool as sums."""
    given, pooled = graph.streams[one.takes[0]], {made.gives for made in graph.operations if isinstance(made, MeanPool)}
    single = given.parts == 1 or one.takes[0] in pooled
    return given.whole or (single and given.kind in ("reals", "pixels", "codes"))


def _of_activations(graph: Graph, one: Operation) -> str | None:
    """Return what is wrong with the activations that a layer is given, as half a sentence; None where nothing is."""
    if isinstance(one, LayerOperation) and one.takes[0] in _rectified(graph):
        return f"layer {one.layer} is given real activations; snnq quantise-activations makes whole numbers of them"
    if isinstance(one, Quantise) and not any(_quantised_for(one, reader) for reader in graph.readers[one.gives]):
        return f"layer {one.layer}, whose activations are quantised, was made several ones"
    if isinstance(one, Head) and one.quantised is not None and graph.segment is None:
        return f"{one.layer} is given quantised activations after all time steps, and whole numbers run step by step"
    return None


def _rectified(graph: Graph) -> set[str]:
    """Return the activations of a part that does not spike: their bounds grow from layer to layer, beyond 32 bits."""
    found = set[str]()
    for one in graph.operations:
        if isinstance(one, Rectify) or (isinstance(one, Pool) and one.takes[0] in found):
            found.add(one.gives)
    return found


def _quantised_for(one: Quantise, reader: Operation) -> bool:
    return isinstance(reader, LayerOperation) and reader.layer == one.layer


def _frames(graph: Graph) -> set[str]:
    """Return the frames, and what is cut out of them."""
    return {FRAMES} | {one.gives for one in graph.operations if isinstance(one, KeyFrames | Residual)}


def _fits(graph: Graph, one: Attention) -> bool:
    """Whether the sums of an attention stay within ``SUM_LIMIT`` where they are shifted (``arithmetic.integers``)."""
    (neuron,) = reading_neurons(graph, one)
    if neuron.rounds:
        return (graph.streams[one.gives].bound or 0) <= SUM_LIMIT
    p = leak(neuron)
    if p is None or is_fixed(p):
        return (graph.streams[one.gives].bound or 0) << 8 <= SUM_LIMIT
    finer = 0 if (p * neuron.threshold / one.scale).is_integer() else 8
    return (graph.streams[one.gives].bound or 0) << finer + lead(p) - 1 <= SUM_LIMIT


def _unusual(one: Operation, given: list[Stream]) -> str | None:
    """Return what no graph that is drawn by hand has, and a user's may have: half a sentence, None for nothing."""
    whole = given[0].kind != "reals"
    if FRAMES in one.takes and not isinstance(one, LayerOperation):
        return f"a {one.name} is given the frames, and whole numbers begin with a layer"
    if isinstance(one, Neuron) and whole and given[0].parts == 1:
        return f"neurons {one.neuron} are given spikes, or sums of them, by no layer"
    if isinstance(one, Add) and max(stream.parts for stream in given) > 1:
        return f"'{one.gives}' is a sum of means"
    if isinstance(one, LayerOperation) and whole and not len(set(one.sides)) == len(set(one.strides)) == 1:
        return f"layer {one.layer} sees spikes by a kernel or stride that is not the same along both sides"
    return None


def reading_neurons(graph: Graph, one: Attention) -> tuple[Neuron, ...]:
    """Return the neurons that read what an attention gives."""
    return tuple(reader for reader in graph.readers[one.gives] if isinstance(reader, Neuron))
