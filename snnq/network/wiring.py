"""A graph in whole numbers: which layers fire, which keep a potential, and how large their whole numbers are.

Plain facts, without torch: the arithmetic of packed weights and all that runs it are built from them. Where that
arithmetic does not apply, ``FloatWiring`` says why. Three things become of a graph's operations:

- A layer whose norm only a neuron reads is a ``Stage``: sums of whole numbers are compared with a threshold, exactly.
  A max-pool between them is one of the sums: with the norm's sign in the weights, the largest has the largest current.
- A layer whose norm is read otherwise keeps a ``Potential``, whole numbers of a unit that all that are added share.
  A layer that is given potentials, or pixels in fixed point, multiplies them as they are.
- An attention and its neuron are one ``Mix``. Everything else stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from snnq.base.strict_json import Config
from snnq.network.activations import Hold, Quantise, Rectify
from snnq.network.combining import Add, Concat, First, Flatten, MeanPool, Pad, Pool, Switch
from snnq.network.graph import Graph
from snnq.network.leaks import is_fixed, leak
from snnq.network.obstacles import obstacles, reading_neurons
from snnq.network.operations import Attention, Head, LayerOperation, Mean, Neuron
from snnq.network.stages import Fire, Mix, Potential, Stage, Step
from snnq.network.streams import Stream

if TYPE_CHECKING:
    from torch import nn

# Of potentials that layers are given: their sums stay exact in 64 bits.
READ_LIMIT = 2**22
# Of pixels: normalised ones are whole numbers of 16 bits, their sign included.
PIXEL_LIMIT = 2**15 - 1


@dataclass(frozen=True)
class Wiring:
    """What a graph is in whole numbers: its ``flow`` of steps, the last of which is its head.

    ``chains`` has, of every stream of potentials, the number of the chain whose unit it is counted in. ``engines`` are
    those of ``snnq eval`` that packed weights run on.
    """

    graph: Graph
    flow: tuple[Step, ...]
    chains: Mapping[str, int] = field(default_factory=dict)
    arithmetic: ClassVar[str] = "integer"
    engines: ClassVar[tuple[str, ...]] = ("torch", "integer")

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in the order they run."""
        return tuple(stage for one in self.flow if isinstance(one, Fire) for stage in one.stages)

    @cached_property
    def potentials(self) -> tuple[Potential, ...]:
        """All layers that keep a potential, in the order they run."""
        return tuple(one for one in self.flow if isinstance(one, Potential))

    @property
    def layers(self) -> tuple[Stage | Potential, ...]:
        """Everything that has weights, but the head."""
        return (*self.stages, *self.potentials)

    @cached_property
    def mixings(self) -> tuple[Mix, ...]:
        """All attentions of products in the order they run."""
        return tuple(one for one in self.flow if isinstance(one, Mix))

    @cached_property
    def raising(self) -> tuple[Add, ...]:
        """The additions of whole numbers to potentials."""
        return tuple(one for one in self.flow if isinstance(one, Add) and one.mixes(self.graph.streams))

    @cached_property
    def learned(self) -> tuple[str, ...]:
        """The paths of the neurons whose leaks were learned."""
        every = (one for one in self.graph.operations if isinstance(one, Neuron))
        return tuple(one.neuron for one in every if leak(one) is None)

    @cached_property
    def quantised(self) -> tuple[Quantise, ...]:
        """Everything that quantises activations, the head's last."""
        found = tuple(one for one in self.graph.operations if isinstance(one, Quantise))
        head = self.graph.head.quantised
        return found if head is None else (*found, head)

    @cached_property
    def neurons(self) -> tuple[Neuron, ...]:
        """The neurons that stand behind no layer alone."""
        return tuple(one for one in self.flow if isinstance(one, Neuron))

    @cached_property
    def read_chains(self) -> frozenset[int]:
        """The chains whose potentials layers are given as they are."""
        return frozenset(self.chains[one.takes[0]] for one in self.layers if one.takes[0] in self.chains)

    def numbers(self, stream: str) -> bool:
        """Return whether a stream is kept as whole numbers of 32 bits: potentials, pixels, or quantised activations."""
        return stream in self.chains or self.graph.streams[stream].kind in ("pixels", "codes")

    def of_pixels(self, bits: int) -> Wiring | FloatWiring:
        """Return the same for frames that are images in parts of 2^-``bits``."""
        frames = replace(self.graph.frames, kind="pixels", bound=PIXEL_LIMIT, unit=2.0**-bits)
        return wire(replace(self.graph, frames=frames))

    def of_steps(self, steps: Mapping[str, float]) -> Wiring:
        """Return the same with the steps of quantised activations, by the layer that is given them."""
        if not self.quantised:
            return self
        found = wire(self.graph.with_steps(steps))
        assert isinstance(found, Wiring), "steps change nothing of what runs in whole numbers"
        return found

    @property
    def beyond(self) -> str | None:
        """Half a sentence, after "because": what it has that was not in the first graphs; None where nothing is."""
        if self.graph.segment is not None:
            return "its clips are cut into segments"
        if self.graph.frames.kind == "pixels":
            return "its frames are pixels, whole numbers of either sign"
        if self.quantised:
            return "its activations are quantised"
        if any(isinstance(one, Neuron) and one.rounds for one in self.graph.operations):
            return "its neurons put out integer spikes"
        if any(isinstance(one, Pad) for one in self.flow):
            return "its spikes are padded by themselves"
        if any(isinstance(one, Concat) for one in self.flow):
            return "it concatenates streams"
        if any(isinstance(one, Flatten) for one in self.flow):
            return "it flattens images"
        if self.raising:
            return "it adds spikes to potentials"
        return self.beyond_c or ("its layers are given potentials" if self.read_chains else None)

    @property
    def beyond_c(self) -> str | None:
        """Half a sentence, after "because": what it has that has no form in C; None where nothing is."""
        if any(isinstance(one, Switch) for one in self.flow):
            return "a decomposed layer has another kernel after its first steps"
        padded = {one.gives for one in self.flow if isinstance(one, Pad)}
        bare = [one for one in self.stages if one.pooled and not one.made.padded and one.made.sides != (1, 1)]
        bare = [one for one in bare if one.takes[0] not in padded]
        return f"it max-pools sums of layer {bare[0].layer}, which is not padded" if bare else None

    @property
    def largest(self) -> int:
        """The largest number that sums of spikes grow to."""
        found = [self.graph.streams[one.gives].bound for one in self.flow if isinstance(one, Add)]
        return max((bound for bound in found if bound), default=1)

    @property
    def head(self) -> str:
        """The head's path."""
        return self.graph.head.layer

    @property
    def read(self) -> Stream:
        """The stream that the head sees at every step, as whole numbers times a unit, or potentials."""
        return self.graph.streams[self.graph.head.takes[0]]

    @property
    def norms(self) -> dict[str, str]:
        """The batch normalisation behind each layer; the head has none."""
        return self.graph.norms

    @property
    def first_form(self) -> bool:
        """Whether it is of the steps that packed folders of every version ran in whole numbers: a Spikformer's."""
        layers = all(not one.pooled and one.made.stride == 1 and not one.made.depthwise for one in self.stages)
        layers = layers and not self.graph.traced
        every = (leak(one) for one in self.graph.operations if isinstance(one, Neuron))
        layers = layers and not any(one is None or is_fixed(one) for one in every)
        others = all(isinstance(one, Fire | Pool | Mix | Add | Mean | Head) for one in self.flow) and not self.beyond
        pools = all(one.stride == 2 and one.heads is None for one in self.flow if isinstance(one, Pool))
        return layers and others and pools and all(one.mixes.chunk == 1 for one in self.mixings)

    @property
    def where(self) -> str:
        """Half a sentence: where packed weights run."""
        return "in whole numbers, on torch, on the integer engine" + ("" if self.beyond_c else " and in C")

    @cached_property
    def last_read(self) -> dict[str, int]:
        """The step that reads each stream last."""
        return {name: number for number, one in enumerate(self.flow) for name in one.takes}


@dataclass(frozen=True)
class FloatWiring:
    """The batch normalisation behind each layer, where packed weights are run in floating point, and ``reason`` why.

    ``reason`` is half a sentence: it follows "because".
    """

    norms: dict[str, str]
    reason: str
    arithmetic: ClassVar[str] = "float"
    engines: ClassVar[tuple[str, ...]] = ("torch",)

    @property
    def where(self) -> str:
        """Half a sentence: where packed weights run, and why not elsewhere."""
        return f"in floating point, on torch alone, because {self.reason}"


def wire(graph: Graph) -> Wiring | FloatWiring:
    """Return a graph in whole numbers, or why it has none."""
    if reason := next(obstacles(graph), None):
        return FloatWiring(graph.norms, reason)
    chains, stages = _chains(graph), {stage.layer: stage for stage in _stages(graph)}
    fused = {stage.fires.gives for stage in stages.values()}  # neurons that stages and attentions have
    fused |= {
        neuron.gives for one in graph.operations if isinstance(one, Attention) for neuron in reading_neurons(graph, one)
    }
    inside = {stage.made.gives for stage in stages.values()}
    inside |= {one.gives for one in graph.operations if isinstance(one, Pool) and one.takes[0] in inside}
    flow: list[Step] = []
    for one in graph.operations:
        if isinstance(one, LayerOperation) and one.layer in stages:
            _fire(flow, stages[one.layer])
        elif isinstance(one, LayerOperation):
            flow.append(Potential(one, _bound(graph, one), chains[one.gives]))
        elif isinstance(one, Attention):
            flow.append(Mix(one, *reading_neurons(graph, one)))
        elif one.gives not in fused | inside:
            flow.append(one)
    return Wiring(graph, tuple(flow), {name: chains[name] for name in chains if name not in inside})


def _fire(flow: list[Step], stage: Stage) -> None:
    """Add a stage to the flow: to the last step, if that fires from the same stream in the same way."""
    last = flow[-1] if flow else None
    if isinstance(last, Fire) and _way(last.stages[-1]) == _way(stage):
        flow[-1] = Fire((*last.stages, stage))
    else:
        flow.append(Fire((stage,)))


def _way(stage: Stage) -> tuple[object, ...]:
    made = stage.made
    fires = stage.fires
    how = fires.tau, fires.rounds, fires.integrates, fires.decays_input
    return made.takes, made.kernel, made.stride, made.depthwise, made.groups, stage.pooled, how


def _stages(graph: Graph) -> Iterator[Stage]:
    for one in graph.operations:
        if isinstance(one, LayerOperation):
            (reader, *others), pooled = graph.readers[one.gives] or (None,), False
            if isinstance(reader, Pool) and not others and _within_stages(reader) and one.strides == (1, 1):
                (reader, *others), pooled = graph.readers[reader.gives] or (None,), True
            if isinstance(reader, Neuron) and not others:
                yield Stage(one, reader, _bound(graph, one), pooled)


def _within_stages(one: Pool) -> bool:
    return one.stride == 2 and one.heads is None and one.usual


def _bound(graph: Graph, one: LayerOperation) -> int:
    given = graph.streams[one.takes[0]]
    return given.bound or READ_LIMIT * given.parts


def _chains(graph: Graph) -> dict[str, int]:
    """Return a number for every stream of reals that is read: those that are pooled, added or switched share it."""
    found: dict[str, int] = {}
    for one in graph.operations:
        if isinstance(one, LayerOperation):
            found[one.gives] = len(found)
        elif (
            isinstance(one, Pool | MeanPool | Flatten | Add | Concat | First | Switch | Hold | Rectify | Mean)
            and graph.streams[one.gives].kind == "reals"
        ):
            numbers = {found[name] for name in one.takes if name in found}
            found = {name: min(numbers) if number in numbers else number for name, number in found.items()}
            found[one.gives] = min(numbers)
    return found


def float_wiring(build: Callable[[Config], nn.Module], config: Config, reason: str) -> FloatWiring:
    """Return the norms of an architecture whose layers name them.

    ``proj1_conv`` has ``proj1_bn`` and ``proj_conv1`` has ``proj_bn1``; where there is none of that name, ``q`` has
    ``q_bn`` and ``conv5`` has ``conv5_bn``; the head has none. Raises ``UsageError`` for sizes that no model can have.
    """
    import torch
    from torch import nn

    with torch.device("meta"):
        model = build(config)
    modules = dict(model.named_modules())
    layers = [name for name, module in modules.items() if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)]
    norms = {name: _norm_of(name, modules) for name in layers}
    for name, module in modules.items():  # the last core of a decomposed layer stands where the layer stood
        if last := getattr(module, "last", None):
            norms[f"{name}.{last}"] = _norm_of(name, modules)
    return FloatWiring({layer: norm for layer, norm in norms.items() if norm in modules}, reason)


def _norm_of(layer: str, modules: Mapping[str, object]) -> str:
    parent, _, name = layer.rpartition(".")
    replaced = f"{parent}.{name.replace('conv', 'bn')}"
    return replaced if replaced != layer and replaced in modules else f"{layer}_bn"
