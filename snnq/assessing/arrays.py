"""What analog arrays need to know of a model, found by running it once with every neuron firing all it can.

Sums of spikes grow with every spike, so that run gives each layer the largest whole numbers that any input can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from snnq.cost.activity import MixingRecord
from snnq.cost.array_facts import ArrayFacts, LayerBound, NeuronCount
from snnq.hardware.crossbars.target import DEFAULT_TARGET, ArrayTarget, read_target
from snnq.network.layers import Layer, quantisable
from snnq.network.neurons import substeps
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
    largest, neurons = _largest(model, layers, frames_shape)
    counts = 2**chip.array.count_bits - 1
    modules = quantisable(model)
    found = []
    for layer in layers:
        most = {"counts": counts, "reals": None, "activations": None}.get(layer.input, largest[layer.name])
        groups = int(getattr(modules[layer.name][0], "groups", 1))
        found.append(LayerBound(name=layer.name, groups=groups, largest=most, signed=layer.input == "ternary"))
    return ArrayFacts.model_validate(
        {
            "target": target,
            "cells": cells,
            "dynamic": dynamic,
            "steps": frames_shape[0],
            "layers": tuple(found),
            "neurons": tuple(NeuronCount(name=name, neurons=count) for name, count in neurons.items()),
            "attentions": tuple(MixingRecord(**asdict(one)) for one in products),
        }
    )


def _largest(
    model: nn.Module, layers: Sequence[Layer], frames_shape: tuple[int, int, int, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the largest input of every layer where all neurons fire, and how many neurons each path has."""
    largest: dict[str, int] = {}
    neurons: dict[str, int] = {}
    several = {layer.name for layer in layers if layer.input == "multispikes"}
    most = substeps(model) if several else 1

    def fire(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> object:
        if not isinstance(output, Tensor):
            return output
        neurons[name] = neurons.get(name, 0) + output.numel()
        return torch.full_like(output, most)

    def see(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        value = float(inputs[0].abs().max())
        largest[name] = max(largest.get(name, 1), round(value) if value < 2**31 else 2**31)

    modes = [(module, module.training) for module in model.modules()]
    watched = {name: module for name, (module, _) in quantisable(model).items()}
    frames = torch.ones(1, *frames_shape).to(next(model.parameters()))
    try:
        model.eval()
        with seeing(neurons_of(model), fire), seeing(watched, see):
            model(frames)
    finally:
        for module, training in modes:
            module.training = training
        functional.reset_net(model)
    steps = frames_shape[0]
    return largest, {name: max(1, count // steps) for name, count in neurons.items()}
