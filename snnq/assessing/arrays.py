"""What analog arrays need to know of a model, found by running it with every neuron firing all it can.

Sums of spikes grow with every spike, so that run gives each layer the largest whole numbers that any input can. Whether
there are any below zero is seen where neurons put out the least that they can, and where they put out anything. What
runs once a sample, and what at every step, is seen in a run of more steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from snnq.cost.activity import MixingRecord
from snnq.cost.array_facts import ArrayFacts, LayerBound, NeuronCount
from snnq.hardware.crossbars.target import DEFAULT_TARGET, ArrayTarget, read_target
from snnq.network.layers import Layer, quantisable
from snnq.network.neurons import drawn, stream, substeps
from snnq.network.products import Products
from snnq.network.tracing import neurons_of, seeing


@torch.no_grad()
def array_facts(
    model: nn.Module,
    layers: Sequence[Layer],
    products: Sequence[Products],
    frames_shape: tuple[int, int, int, int],
    *,
    target: str = DEFAULT_TARGET,
    cells: str | None = None,
    dynamic: str = "nvm",
    chip: ArrayTarget | None = None,
) -> ArrayFacts:
    """Return the facts of a float model, as it stands with all its edits; its mode and values stay as they were.

    ``layers`` and ``products`` are those of the model, ``frames_shape`` (T, C, H, W) of a sample. ``target`` is a name
    or path, ``cells`` those of its weights (None: the target's own), ``dynamic`` those of attention's operands.
    Event counts are as large as the target's ``count_bits`` hold.
    """
    chip = chip or read_target(target)
    segment = getattr(getattr(model, "config", None), "key_stride", None)
    least = max((segment or 1, *(one.chunk for one in products)))
    seen = _seen(model, layers, frames_shape, ("most", "least", "drawn"))
    growth = _growth(model, layers, frames_shape, seen, least)
    counts = 2**chip.array.count_bits - 1
    modules = quantisable(model)
    found = []
    for layer in layers:
        most = {"counts": counts, "reals": None, "activations": None}.get(layer.input, seen.largest[layer.name])
        groups = int(getattr(modules[layer.name][0], "groups", 1))
        signed = layer.input == "ternary" or (layer.input == "integers" and layer.name in seen.signed)
        vectors = seen.vectors[layer.name]
        once = _once(vectors, growth.vectors[layer.name], frames_shape[0]) if growth else None
        bound = LayerBound(name=layer.name, groups=groups, largest=most, signed=signed, vectors=vectors, once=once)
        found.append(bound)
    facts = ArrayFacts.model_validate(
        {
            "target": target,
            "cells": cells,
            "dynamic": dynamic,
            "steps": frames_shape[0],
            "segment": segment,
            "layers": tuple(found),
            "attentions": tuple(MixingRecord(**asdict(one)) for one in products),
        }
    )
    return facts.model_copy(update={"neurons": tuple(_neurons(seen, growth, facts))})


def _neurons(seen: _Seen, growth: _Growth | None, facts: ArrayFacts) -> Iterator[NeuronCount]:
    for name, updates in seen.updates.items():
        once = _once(updates, growth.updates[name], facts.steps) if growth else None
        # Each is updated at every step, or once a sample.
        number = updates // facts.runs if once is None else max(once, (updates - once) // facts.runs)
        yield NeuronCount(name=name, neurons=max(1, number), updates=updates, once=once)


def _once(amount: int, growth: Fraction, steps: int) -> int | None:
    """Return how much of an amount is there whatever the steps are, if it is a whole number; None: it is not."""
    found = amount - growth * steps
    return int(found) if found.denominator == 1 and 0 <= found <= amount else None


@dataclass
class _Seen:
    """What was seen, by path.

    Every layer's ``largest`` input, those given any below zero, ``vectors`` given, and ``updates`` of neurons.
    """

    largest: dict[str, int] = field(default_factory=dict)
    signed: set[str] = field(default_factory=set)
    vectors: dict[str, int] = field(default_factory=dict)
    updates: dict[str, int] = field(default_factory=dict)


@dataclass
class _Growth:
    """How many more ``vectors`` of layers and ``updates`` of neurons there are for one step more, by path."""

    vectors: dict[str, Fraction]
    updates: dict[str, Fraction]


def _growth(
    model: nn.Module, layers: Sequence[Layer], frames_shape: tuple[int, int, int, int], seen: _Seen, least: int
) -> _Growth | None:
    """Return what ``least`` steps more add, by running them; None of a model that runs for its own steps alone."""
    try:
        more = _seen(model, layers, (frames_shape[0] + least, *frames_shape[1:]), ("most",))
    except Exception:  # whatever a user's own code raises
        return None
    found = _Growth(
        {name: Fraction(more.vectors.get(name, 0) - one, least) for name, one in seen.vectors.items()},
        {name: Fraction(more.updates.get(name, 0) - one, least) for name, one in seen.updates.items()},
    )
    # One that takes no more than its own steps of what it is given tells nothing of others.
    return found if any(found.updates.values()) or not found.updates else None


def _seen(
    model: nn.Module, layers: Sequence[Layer], frames_shape: tuple[int, int, int, int], ways: Sequence[str]
) -> _Seen:
    """Return what layers are given.

    ``ways``: where all neurons fire (``most``), all put out the ``least``, and any do anything (``drawn``).
    """
    found, streams = _Seen(), dict[str, str]()
    most = substeps(model) if any(layer.input == "multispikes" for layer in layers) else 1
    draw = torch.Generator().manual_seed(0)

    def fire(way: str, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> object:
        if not isinstance(output, Tensor):
            return output
        if name not in streams:
            streams[name] = stream(name, module, inputs[0], output)
        if way == "most":
            found.updates[name] = found.updates.get(name, 0) + output.numel()
            return torch.full_like(output, most)
        if way == "least":
            return torch.full_like(output, -1 if streams[name] == "ternary" else 0)
        return drawn(streams[name], tuple(output.shape), draw).clamp(max=most).to(output)

    def see(way: str, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if way == "most":
            axis = -max(1, weights[name].ndim - 1)  # where a linear layer, and a convolution, has its channels
            found.vectors[name] = found.vectors.get(name, 0) + output.numel() // output.shape[axis]
        value = float(inputs[0].abs().max())
        found.largest[name] = max(found.largest.get(name, 1), round(value) if value < 2**31 else 2**31)
        if float(inputs[0].min()) < 0:
            found.signed.add(name)

    modes = [(module, module.training) for module in model.modules()]
    watched = {name: module for name, (module, _) in quantisable(model).items()}
    weights = {name: module.weight for name, module in watched.items()}
    frames = torch.ones(1, *frames_shape).to(next(model.parameters()))
    try:
        model.eval()
        for way in ways:
            with seeing(neurons_of(model), partial(fire, way)), seeing(watched, partial(see, way)):
                model(frames)
            functional.reset_net(model)
    finally:
        for module, training in modes:
            module.training = training
        functional.reset_net(model)
    return found
