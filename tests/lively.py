"""Models and packed folders whose neurons really fire: a network of silent neurons would agree with anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based.neuron import ParametricLIFNode

from snnq.cost.table import read_table
from snnq.models.registry import ARCHITECTURES, architecture
from snnq.network.folding import fold_batchnorm
from snnq.network.graph import Graph
from snnq.network.layers import INPUT_BITS, frames_shape, layer_table, quantisable
from snnq.network.operations import LayerOperation, Neuron
from snnq.packed.coding import Coded
from snnq.packed.folder import write_packed
from snnq.packed.input import InputPixels
from snnq.plan import ModelInfo, make_plan
from snnq.schemes.scheme import scheme
from snnq.structure.activations import RANGE

# Schemes that layers take in turn: of every family, and of few and many bits.
MIXED = (
    "uniform-4",
    "power-of-two-2",
    "uniform-2",
    "float32",
    "power-of-two-4",
    "uniform-3",
    "uniform-8",
    "power-of-two-8",
)
SMALL: dict[str, Any] = {"dim": 16, "depth": 2, "heads": 2, "steps": 3, "image_size": [32, 32], "classes": 5}
SMALL["attention_scale"] = 3.0
QUIET = 0.1  # spikes of a neuron in a step


@torch.no_grad()
def wake(model: torch.nn.Module, frames: torch.Tensor) -> torch.nn.Module:
    """Return the model with norms that are estimated on frames (B, T, C, H, W) and let every neuron fire."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None
            module.bias.fill_(0.8)
    model.train()(frames)
    return model.eval()


@torch.no_grad()
def rouse(model: torch.nn.Module, graph: Graph | None, frames: torch.Tensor) -> None:
    """Estimate norms on frames; raise what is before quiet neurons, those that an attention multiplies, too."""
    rates, made = dict[str, float](), {one.gives: one for one in graph.operations} if graph else {}
    hooks = [
        model.get_submodule(one.neuron).register_forward_hook(
            lambda _, __, spikes, *, name=one.neuron: rates.__setitem__(name, float(spikes.mean()))
        )
        for one in made.values()
        if isinstance(one, Neuron)
    ]

    def norms(stream: str) -> Iterator[str]:
        one = made.get(stream)
        if isinstance(one, LayerOperation) and one.norms:
            yield one.norms[-1]
        else:
            yield from (norm for taken in (one.takes if one else ()) for norm in norms(taken))

    for _ in range(20):
        model(frames)
        quiet = [one for one in made.values() if isinstance(one, Neuron) and rates[one.neuron] < QUIET]
        if not quiet:
            break
        for norm in {norm for one in quiet for norm in norms(one.takes[0])}:
            model.get_submodule(norm).get_parameter("bias").add_(0.3)
    for hook in hooks:
        hook.remove()


def widen(layer: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
    """A pre-hook: let the range of quantised activations cut off what is largest; no count is a tie."""
    layer.get_parameter(RANGE).fill_(math.log(float(given[0].abs().max()) / 1.37))


@torch.no_grad()
def write_lively(
    folder: Path,
    schemes: list[str],
    layout: str = "cifar10dvs",
    seed: int = 0,
    *,
    one_sign: bool = False,
    pixels: InputPixels | None = None,
    samples: int = 2,
    **sizes: Any,
) -> np.ndarray:
    """Write a packed folder of random weights whose layers take ``schemes`` in turn; return frames (B, T, C, H, W).

    ``layout`` is a Spikformer's, or the name of any architecture.

    ``one_sign``: every layer has a channel of positive weights in a narrow range, with a zero-point far outside the
    codes. ``pixels``: the frames are bytes, of images that are the same at every step, or of clips.
    """
    one = ARCHITECTURES.get(layout) or architecture(f"spikformer-{layout}")
    config = one.default_config() | {name: value for name, value in SMALL.items() if name in one.fields} | sizes
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = one.build(config).train()
    shape = frames_shape(config)
    frames, images = torch.poisson(torch.full((samples, *shape), 0.5), generator=draw), None
    if pixels is not None:
        frames_of_each = 1 if pixels.still else shape[0]
        images = torch.randint(0, 256, (samples, frames_of_each, *shape[1:]), generator=draw, dtype=torch.uint8)
        images = images.expand(-1, shape[0], -1, -1, -1)
        frames = torch.from_numpy(pixels.reals(images.numpy()))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.momentum = None
            module.weight.copy_(torch.empty_like(module.weight).uniform_(-1.5, 2, generator=draw))
            module.bias.copy_(torch.empty_like(module.bias).normal_(0.8, 0.4, generator=draw))
            module.weight[0] = 0.0 if len(module.weight) > 2 else 1.0  # a channel that no weight reaches
    for node in [module for module in model.modules() if isinstance(module, ParametricLIFNode)]:
        node.w.uniform_(-2, 2, generator=draw)
    for layer in [module for module, _ in quantisable(model).values() if one_sign]:
        size = float(layer.get_parameter("weight").abs().mean())
        layer.get_parameter("weight")[1].uniform_(size, 1.05 * size, generator=draw)
    model.get_parameter("head.bias").normal_(generator=draw)
    for layer in [module for module, _ in quantisable(model).values() if hasattr(module, INPUT_BITS)]:
        layer.register_forward_pre_hook(widen, prepend=True)
    rouse(model, one.graph(config), frames)
    frames[0, 0, 0, 0, 0] = 5000.0  # a hot pixel, past the limit of counts
    for layer in model.modules():
        for key in [key for key, hook in layer._forward_pre_hooks.items() if hook is widen]:
            del layer._forward_pre_hooks[key]
    table = layer_table(model, shape, reals=pixels is not None)
    chosen = {layer.name: schemes[i % len(schemes)] for i, layer in enumerate(table)}
    folded, coded = fold_batchnorm(model, one.wiring(config).norms), {}
    for name, which in chosen.items():
        form, weight = scheme(which), folded.get_submodule(name).get_parameter("weight")
        if not form.is_float:
            params = form.fit(weight)
            if "zero_point" in params:  # some half-integers, some integers, some far off
                params["zero_point"][::3] += 0.5
            params = form.stored(params)
            coded[name] = Coded(which, form.encode(weight, params), params)
            weight.copy_(form.decode(coded[name].codes, params).view_as(weight))
    info = ModelInfo(architecture=one.name, layout=one.layout, config=config)
    plan = make_plan(table, chosen, model=info, data=None, table=read_table("horowitz-45nm"))
    write_packed(folder, model=folded, plan=plan, layers=coded, results={}, pixels=pixels)
    if images is not None:
        return images.numpy().copy()
    return frames.numpy().astype(np.uint16)
