"""Watching a model run, one sample at a time, by forward hooks: what its layers, neurons and attentions do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from snnq.arithmetic.whole_modules import (
    WHOLE_NEURONS,
    ClippedCounts,
    FixedPixels,
    Followed,
    IntegerHead,
    Requantised,
    Widened,
)
from snnq.assessing import counting
from snnq.base.strict_json import Json
from snnq.cost.activity import AttentionActivity, LayerActivity, NeuronActivity
from snnq.models.attention import SpikingAttention, SummingAttention
from snnq.network.layers import Layer
from snnq.network.neurons import is_neuron
from snnq.network.products import Products
from snnq.network.tracing import seeing
from snnq.training.transfers import has_float64

# Of INPUTS, what neurons put out as it is.
SPIKES = ("spikes", "ternary", "multispikes")
QUANTITIES = ("nonzero", "synaptic_operations", "additions", "effective_operations", "effective_additions")


@dataclass
class Tally:
    """Sums over samples, by quantity, one number a time step; extremes; and how often each neuron fired.

    ``alone``: a call's inputs have a first axis of one, so that it may be one step.
    """

    sums: dict[str, list[float]] = field(default_factory=dict)
    calls: dict[str, list[list[float]]] = field(default_factory=dict)
    largest: float = 0.0
    fired: Tensor | None = None
    updates: int = 0
    reals: bool = False
    kind: str = ""
    alone: bool = False

    def add(self, **values: list[float]) -> None:
        """Note what one call did."""
        for name, one in values.items():
            self.calls.setdefault(name, []).append(one)

    def close(self, steps: int) -> None:
        """Take up one sample's calls: as many as there are steps are the steps, others are added up."""
        for name, calls in self.calls.items():
            each_step = len(calls) == steps and (self.alone or all(len(one) == 1 for one in calls))
            whole = [sum(one) for one in (calls if each_step else zip(*calls, strict=True))]
            before = self.sums.get(name, [0.0] * len(whole))
            self.sums[name] = [a + b for a, b in zip(before, whole, strict=True)]
        self.calls = {}

    def size(self, name: str, samples: int) -> int:
        """Return a quantity that is the same at every step and for every sample."""
        return round(self.sums[name][0] / samples)

    def means(self, name: str, samples: int) -> tuple[float, ...]:
        """Return a quantity's mean over the samples, at every step."""
        return tuple(value / samples for value in self.sums[name])


@dataclass
class Watch:
    """Everything watched so far, by module path; ``close`` it after every sample.

    ``runs``: how often parts of the model run in one sample that do not run once a time step, as the segments of a clip
    or cores that some steps alone have; neurons of segments are given (T, n, …) of n runs from rest.
    """

    steps: int
    runs: tuple[int, ...] = ()
    layers: dict[str, Tally] = field(default_factory=dict)
    neurons: dict[str, Tally] = field(default_factory=dict)
    attentions: dict[str, Tally] = field(default_factory=dict)
    samples: int = 0
    _reaches: dict[tuple[str, tuple[int, ...]], tuple[Tensor, Tensor]] = field(default_factory=dict)

    def close(self) -> None:
        """Take up the sample that ran."""
        for tally in (*self.layers.values(), *self.neurons.values(), *self.attentions.values()):
            tally.close(self.steps)
        self.samples += 1

    def saw_layer(self, name: str, kind: str, layer: nn.Module, x: Tensor, output: Tensor) -> None:
        """Note a layer's input of a ``kind`` (…, and channels where it wants them) and what it makes the layer do."""
        tally = self.layers.setdefault(name, Tally())
        key = (name, tuple(x.shape))
        if key not in self._reaches:
            self._reaches[key] = _reaches(layer, x)
        fan_out, effective = self._reaches[key]
        nonzero = (x != 0).double()
        bits = counting.unit_events(x) if kind in SPIKES else counting.set_bits(x)
        leading = counting.leading_axes(layer, x, self.steps)
        values = (nonzero, nonzero * fan_out, bits * fan_out, nonzero * effective, bits * effective)
        step = [counting.by_step(one, self.steps, leading, self.runs) for one in values]
        tally.add(
            **{name: counting.totals(one) for name, one in zip(QUANTITIES, step, strict=True)},
            inputs=[float(one.numel()) for one in step[0]],
            outputs=[output.numel() / len(step[0])] * len(step[0]),
        )
        tally.alone = len(x) == 1
        tally.largest = max(tally.largest, float(x.abs().max()))
        tally.reals = tally.reals or not bool((x == x.round()).all())

    def saw_spikes(self, name: str, kind: str, spikes: Tensor, all_steps: bool) -> None:
        """Note which neurons of a class put out anything but zero: at all steps, time in front, or at one."""
        steps = (counting.in_runs(spikes, self.runs) if all_steps else spikes.unsqueeze(0)) != 0
        sizes = [float(one.numel()) for one in steps]
        tally = self.neurons.setdefault(name, Tally(kind=kind))
        tally.add(spikes=counting.totals(steps), neurons=sizes)
        fired = steps.flatten(1).sum(0)
        if tally.fired is None:
            tally.fired = torch.zeros_like(fired)
        if fired.shape == tally.fired.shape:
            tally.fired += fired
            tally.updates += len(steps)

    def saw_attention(self, one: Products, attention: SpikingAttention, spikes: Sequence[Tensor]) -> None:
        """Note the spikes that an attention mixes: q, k and, where there is one, v, (T, B, heads, N, d) each."""
        tally = self.attentions.setdefault(one.name, Tally())
        if one.order == "softmax":
            first = second = counting.softmax_products(*spikes[:2])
            largest = 0
        elif one.order == "scores":
            first, second, largest = counting.scores_additions(*spikes)
        elif one.order == "keys":
            first, second, largest = counting.keys_additions(*spikes, chunk=one.chunk)
        elif one.order in ("gates", "channel-gates"):
            first, second, largest = counting.gates_additions(spikes[0], -1 if one.order == "gates" else -2)
        else:
            _, k, v = spikes
            first, second, largest = counting.sums_additions(cast(SummingAttention, attention).shared(k, v))
        tally.add(first=first.tolist(), second=second.tolist())
        tally.largest = max(tally.largest, largest)

    def layer_activities(self) -> tuple[LayerActivity, ...]:
        """Return the means of every layer that ran."""
        return tuple(
            LayerActivity(
                name=name,
                inputs=tally.size("inputs", self.samples),
                outputs=tally.size("outputs", self.samples),
                largest=tally.largest,
                reals=tally.reals,
                **{one: tally.means(one, self.samples) for one in QUANTITIES},
            )
            for name, tally in self.layers.items()
        )

    def neuron_activities(self) -> tuple[NeuronActivity, ...]:
        """Return the means of all neurons that ran."""
        return tuple(
            NeuronActivity(
                name=name,
                kind=tally.kind,
                neurons=tally.size("neurons", self.samples),
                spikes=tally.means("spikes", self.samples),
                **_rates(tally, tally.size("neurons", self.samples)),
            )
            for name, tally in self.neurons.items()
        )

    def attention_activities(self) -> tuple[AttentionActivity, ...]:
        """Return the means of every attention that ran."""
        return tuple(
            AttentionActivity(
                name=name,
                first=tally.means("first", self.samples),
                second=tally.means("second", self.samples),
                largest=int(tally.largest),
            )
            for name, tally in self.attentions.items()
        )


@contextmanager
def watching(model: nn.Module, layers: Sequence[Layer], products: Sequence[Products], steps: int) -> Iterator[Watch]:
    """Give a ``Watch`` of the model's layers, attentions and all its neurons; batches of one sample."""
    watch, kinds = Watch(steps, getattr(model, "runs", ())), {one.name: one.input for one in layers}

    def see_layer(name: str, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        watch.saw_layer(name, kinds[name], layer, _exact(given[0]), output)

    def see_neuron(name: str, node: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor):  # else voltages of all steps, of neurons that never fire
            all_steps = getattr(node, "step_mode", "m") == "m"
            watch.saw_spikes(name, type(node).__name__, _exact(output), all_steps)

    cores = {name: core(model.get_submodule(name)) for name in kinds}
    nodes = {name: one for name, one in model.named_modules() if is_neuron(one) or isinstance(one, WHOLE_NEURONS)}
    undo = [_watch_mixing(watch, one, model.get_submodule(one.name)) for one in products]
    try:
        with seeing(cores, see_layer), seeing(nodes, see_neuron):
            yield watch
    finally:
        for put_back in undo:
            put_back()


def _reaches(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the fan-out of each input, of x's shape, over all weights and over those that are not zero."""
    if isinstance(layer, IntegerHead):
        met = (layer.weight != 0).double()  # (out, in)
        whole = torch.full(x.shape, float(len(met)), dtype=torch.float64)
        return whole.to(x.device), met.sum(0).expand(x.shape).to(x.device)
    whole = counting.reach(layer, x)
    some = bool((cast(nn.Linear, layer).weight == 0).any())
    effective = counting.reach(layer, x, effective=True) if some else whole
    return whole.to(x.device), effective.to(x.device)


def _rates(tally: Tally, neurons: int) -> Json:
    """Return how often neurons fired and how many did so often, over all steps of all samples.

    Nothing where the module stands for several groups of neurons, being called with different or more than once.
    """
    if tally.fired is None or len(tally.fired) != neurons:
        return {}
    fired, counts = torch.unique(tally.fired.cpu(), return_counts=True)
    return {"updates_each": tally.updates, "fired": fired.tolist(), "neurons_fired": counts.tolist()}


def uses_integers(model: nn.Module) -> bool:
    """Return whether the model computes in whole numbers."""
    return any(isinstance(module, IntegerHead) for module in model.modules())


def core(module: nn.Module) -> nn.Module:
    """Return the layer inside what the integer form puts around it."""
    while isinstance(module, ClippedCounts | FixedPixels | Followed | Requantised | Widened):
        module = module.layer
    return module


def _exact(values: Tensor) -> Tensor:
    """Return values where they can be summed in float64: on their device, or on the CPU."""
    return values if has_float64(values.device) else values.cpu()


def _watch_mixing(watch: Watch, one: Products, module: nn.Module) -> Callable[[], None]:
    """Put a watcher around an attention's ``mix(q, k, v, …)``; return what takes it away again."""
    attention = cast(SpikingAttention, module)
    own, mix = "mix" in vars(module), attention.mix

    def watched(*spikes: Tensor) -> Tensor:
        watch.saw_attention(one, attention, [_exact(one) for one in spikes if isinstance(one, Tensor)])
        return mix(*spikes)

    attention.mix = watched
    return lambda: setattr(module, "mix", mix) if own else delattr(module, "mix")
