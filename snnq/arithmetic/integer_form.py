"""A folded model whose torch modules compute in whole numbers, exactly as ``snnq.arithmetic.integers`` says.

Weights are whole numbers in float32 (float64 where sums pass 2^24), so that products and sums are exact in any order;
neurons compare integers. Every engine that follows the same rules gives the same spikes and logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snnq.arithmetic.fixed_point import FoldedLayer, joined
from snnq.arithmetic.whole_modules import (
    FLOAT32_EXACT,
    ClippedCounts,
    CurrentSteps,
    FixedPixels,
    Followed,
    FourfoldMeans,
    IntegerCounts,
    IntegerHead,
    IntegerLIF,
    Potentials,
    Raised,
    Requantised,
    Widened,
)
from snnq.arithmetic.whole_network import WholeNetwork, whole_network
from snnq.base.errors import UsageError
from snnq.network import leaks
from snnq.network.activations import KeyFrames, Quantise
from snnq.network.combining import Add, MeanPool, Residual, Sum
from snnq.network.drawn import Drawn
from snnq.network.operations import LayerOperation, Neuron
from snnq.network.stages import Mix, Potential, Stage
from snnq.network.streams import FRAMES
from snnq.network.wiring import Wiring
from snnq.schemes.whole import Whole, fixed_point
from snnq.structure import activations

if TYPE_CHECKING:
    from jaxtyping import Int64


@torch.no_grad()
def to_integers(
    model: nn.Module, wiring: Wiring, wholes: Mapping[str, Whole], learned: Mapping[str, int] | None = None
) -> nn.Module:
    """Turn a folded model into its integer form, in place, and return it; ``wholes`` are of the quantised layers.

    ``learned`` leaks are those of a packed folder; None: they are rounded here. So are steps of activations taken from
    the model where the wiring has none.
    A user's own model becomes its graph instead, as the proof of it ran: its modules by path, without its forward.

    Raises UsageError for an attention whose ``scale`` is not that of its wiring: it could not be taken out of it.
    """
    model = Drawn(wiring.graph, model).eval() if wiring.graph.traced else model
    learned, wiring = learned_leaks(model, wiring) if learned is None else learned, _stepped(model, wiring)
    numbers = whole_network(wiring, lambda one: _folded(model, one, wholes.get(one.layer)), learned)
    for stage in wiring.stages:
        whole, found = numbers.stage(stage)
        threshold, dim = torch.from_numpy(found.threshold).to(_dtype(found.wide)), _channel_dim(model, stage.neuron)
        if stage.fires.rounds:
            put_module(model, stage.neuron, IntegerCounts(threshold, dim))
        else:
            put_module(model, stage.neuron, IntegerLIF(threshold, dim, leak=numbers.leak(stage.fires)))
        _whole_layer(model, wiring, stage, whole, found.sign)
        _put_behind(model, stage.made, CurrentSteps(found, pooled=stage.pooled))
    for one in wiring.potentials:
        whole, kept = numbers.potential(one)
        _whole_layer(model, wiring, one, whole, kept.sign)
        _put_behind(model, one.made, Potentials(kept))
    for neuron in (*wiring.neurons, *(mixing.fires for mixing in wiring.mixings)):
        _put_neuron(model, wiring, numbers, neuron)
    for mixing in wiring.mixings:
        _take_scale(model, mixing)
    for added in wiring.raising:
        _raise(model, added, numbers.factors(added))
    _whole_streams(model, wiring, numbers)
    old = model.get_submodule(wiring.head)
    weight = old.get_parameter("weight").cpu().numpy()
    bias = np.zeros(len(weight), np.float32) if old.bias is None else old.get_parameter("bias").cpu().numpy()
    put_module(model, wiring.head, IntegerHead(numbers.heads(weight, bias), numbers.read_parts, wiring.graph.steps))
    return model.requires_grad_(False)


def learned_leaks(model: nn.Module, wiring: Wiring) -> dict[str, int]:
    """Return the leaks that a model's neurons have learned, rounded, by their path."""
    return {path: leaks.learned(float(model.get_submodule(path).get_parameter("w"))) for path in wiring.learned}


@torch.no_grad()
def learned_steps(model: nn.Module, wiring: Wiring) -> dict[str, float]:
    """Return the steps of quantised activations that a model has learned, by the layer that is given them."""
    return {one.layer: float(activations.step_of(model.get_submodule(one.layer))) for one in wiring.quantised}


def _stepped(model: nn.Module, wiring: Wiring) -> Wiring:
    """Return a wiring with the steps of activations, the model's where it has none."""
    unknown = any(one.step is None for one in wiring.quantised)
    return wiring.of_steps(learned_steps(model, wiring)) if unknown else wiring


@torch.no_grad()
def with_rounded_leaks(model: nn.Module, wiring: Wiring) -> nn.Module:
    """Return a model whose learned leaks are those that are packed, a copy where there are any."""
    model = deepcopy(model) if wiring.learned else model
    for path, leak in learned_leaks(model, wiring).items():
        if (w := leaks.w_of(leak)) is not None:
            model.get_submodule(path).get_parameter("w").fill_(w)
    return model


def _folded(model: nn.Module, one: Stage | Potential, whole: Whole | None) -> FoldedLayer:
    """Return a layer and its norm, the weight in fixed point where it is not quantised."""
    layer, norms = model.get_submodule(one.layer), []
    if isinstance(bias := getattr(layer, "bias", None), Tensor):
        norms.append((np.ones(len(bias), np.float32), bias.detach().cpu().numpy()))
    for path in one.made.norms:
        buffers = (model.get_submodule(path).get_buffer(name) for name in ("multiplier", "offset"))
        norms.append(tuple(one.cpu().numpy() for one in buffers))
    weight = layer.get_parameter("weight")
    if whole is None:
        whole = fixed_point(weight.detach().cpu().flatten(1).numpy(), one.room)
    return FoldedLayer(whole, *joined(norms, len(weight)))


def _put_neuron(model: nn.Module, wiring: Wiring, numbers: WholeNetwork, neuron: Neuron) -> None:
    """Put a neuron that compares whole numbers of one unit in its place."""
    found = numbers.compared(neuron)
    dim = _channel_dim(model, neuron.neuron)
    if found.thresholds:
        thresholds = torch.tensor(found.thresholds, dtype=_dtype(found.wide))[:, None]
        put_module(model, neuron.neuron, IntegerCounts(thresholds, dim, found.parts))
        return
    threshold = torch.tensor([found.threshold], dtype=_dtype(found.wide))
    summed = {one.gives for one in wiring.flow if isinstance(one, Sum) and one.over == "tokens"}
    if neuron.takes[0] in summed:
        dim = None  # by head and feature, without tokens
    put_module(model, neuron.neuron, IntegerLIF(threshold, dim, found.shift, found.leak, found.parts))


def _raise(model: nn.Module, added: Add, factors: tuple[int, ...]) -> None:
    """Let spikes be added to potentials in parts of these."""
    if isinstance(model, Drawn):
        model.worth[added.gives] = factors
    elif added.raised is not None:
        put_module(model, added.raised, Raised(max(factors)))


def _whole_streams(model: nn.Module, wiring: Wiring, numbers: WholeNetwork) -> None:
    """Let frames that are cut be whole before one is taken from another, means be sums, and activations codes."""
    for one in wiring.flow:
        if isinstance(one, KeyFrames | Residual):
            put_module(model, one.module, _whole_frames(nn.Identity(), wiring))
        elif isinstance(one, MeanPool):
            put_module(model, one.module, FourfoldMeans(model.get_submodule(one.module)))
        elif isinstance(one, Quantise):
            made = Requantised(model.get_submodule(one.layer), numbers.codes(one))
            put_module(model, one.layer, _whole_frames(made, wiring) if one.takes[0] == FRAMES else made)


def _whole_frames(layer: nn.Module, wiring: Wiring) -> nn.Module:
    return FixedPixels(layer, wiring.graph.frames) if wiring.numbers(FRAMES) else ClippedCounts(layer)


def _take_scale(model: nn.Module, mixing: Mix) -> None:
    """Make an attention's scale 1: it is in the threshold of its neuron."""
    attention, due = model.get_submodule(mixing.mixes.module), mixing.mixes.scale
    if (scale := getattr(attention, "scale", None)) != due:
        raise UsageError(
            f"attention {mixing.mixes.module}: its attribute 'scale' is {scale}, but its graph says {due:g}",
            "its method mix must read self.scale: SpikingAttention in snnq/models/attention.py",
        )
    attention.scale = 1.0  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


def _put_behind(model: nn.Module, made: LayerOperation, behind: nn.Module) -> None:
    """Put what is done with a layer's sums in the place of its last norm, and nothing in that of another."""
    if not made.norms:
        put_module(model, made.layer, Followed(model.get_submodule(made.layer), behind))
        return
    for path in made.norms[:-1]:
        put_module(model, path, nn.Identity())
    put_module(model, made.norms[-1], behind)


def _whole_layer(
    model: nn.Module, wiring: Wiring, one: Stage | Potential, whole: Whole, sign: Int64[np.ndarray, " out"]
) -> None:
    """Give a layer its whole numbers, in a type that holds its sums."""
    layer = model.get_submodule(one.layer)
    weight, values = layer.get_parameter("weight"), whole.values * sign[:, None]
    sums = int(np.abs(values).sum(1).max(initial=0)) * one.bound
    exact = torch.from_numpy(values.astype(np.float64)).view(weight.shape)
    made = Widened(layer) if sums >= FLOAT32_EXACT or wiring.numbers(one.takes[0]) else layer
    layer.get_parameter("weight").copy_(exact)
    layer.register_parameter("bias", None)
    activations.without(layer)
    if one.takes[0] == FRAMES:
        made = _whole_frames(made, wiring)
    put_module(model, one.layer, made)


def _channel_dim(model: nn.Module, neuron: str) -> int:
    """(B, N, C) reaches a neuron at each step where its block keeps channels last, (B, C, …) elsewhere."""
    return -1 if getattr(model.get_submodule(neuron.rpartition(".")[0]), "channels_last", False) else 1


def _dtype(wide: bool) -> torch.dtype:
    return torch.int64 if wide else torch.int32


def put_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of another."""
    parent, _, name = path.rpartition(".")
    model.get_submodule(parent).register_module(name, module)
