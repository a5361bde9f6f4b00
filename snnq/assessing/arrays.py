"""What analog arrays need to know of a model, found by running it with every neuron firing all it can.

Sums of spikes grow with every spike, so that run gives each layer the largest whole numbers that any input can. Whether
there are any below zero is seen where neurons put out the least that they can, and where they put out anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
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
    seen = _seen(model, layers, frames_shape)
    counts = 2**chip.array.count_bits - 1
    modules = quantisable(model)
    found = []
    for layer in layers:
        most = {"counts": counts, "reals": None, "activations": None}.get(layer.input, seen.largest[layer.name])
        groups = int(getattr(modules[layer.name][0], "groups", 1))
        signed = layer.input == "ternary" or (layer.input == "integers" and layer.name in seen.signed)
        found.append(LayerBound(name=layer.name, groups=groups, largest=most, signed=signed))
    facts = ArrayFacts.model_validate(
        {
            "target": target,
            "cells": cells,
            "dynamic": dynamic,
            "steps": frames_shape[0],
            "segment": getattr(getattr(model, "config", None), "key_stride", None),
            "layers": tuple(found),
            "attentions": tuple(MixingRecord(**asdict(one)) for one in products),
        }
    )
    neurons = [NeuronCount(name=name, neurons=max(1, one // facts.runs)) for name, one in seen.updates.items()]
    return facts.model_copy(update={"neurons": tuple(neurons)})


@dataclass
class _Seen:
    """What was seen: every layer's ``largest`` input, those given any below zero, and updates of neurons, by path."""

    largest: dict[str, int] = field(default_factory=dict)
    signed: set[str] = field(default_factory=set)
    updates: dict[str, int] = field(default_factory=dict)


def _seen(model: nn.Module, layers: Sequence[Layer], frames_shape: tuple[int, int, int, int]) -> _Seen:
    """Return what layers are given where all neurons fire, where all put out the least, and where any do anything."""
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

    def see(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        value = float(inputs[0].abs().max())
        found.largest[name] = max(found.largest.get(name, 1), round(value) if value < 2**31 else 2**31)
        if float(inputs[0].min()) < 0:
            found.signed.add(name)

    modes = [(module, module.training) for module in model.modules()]
    watched = {name: module for name, (module, _) in quantisable(model).items()}
    frames = torch.ones(1, *frames_shape).to(next(model.parameters()))
    try:
        model.eval()
        for way in ("most", "least", "drawn"):
            with seeing(neurons_of(model), partial(fire, way)), seeing(watched, see):
                model(frames)
            functional.reset_net(model)
    finally:
        for module, training in modes:
            module.training = training
        functional.reset_net(model)
    return found
