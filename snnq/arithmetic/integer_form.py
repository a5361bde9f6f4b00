"""A folded model whose torch modules compute in whole numbers, exactly as ``snnq.arithmetic.integers`` says.

Weights are whole numbers in float32 (float64 where sums pass 2^24), so that products and sums are exact in any order;
neurons compare integers. Every engine that follows the same rules gives the same spikes and logits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from snnq.arithmetic import integers
from snnq.arithmetic.integers import Neurons
from snnq.base.errors import UsageError
from snnq.network.wiring import COUNT_LIMIT, Wiring
from snnq.schemes.whole import Whole, fixed_point

# Whole numbers up to here are exact in float32.
FLOAT32_EXACT = 2**24


class CurrentSteps(nn.Module):
    """(a << shift) + offset per channel, channels on dim 1: sums of a layer → integer currents of its neurons."""

    shift: Tensor
    offset: Tensor

    def __init__(self, neurons: Neurons) -> None:
        super().__init__()
        dtype = torch.int64 if neurons.wide else torch.int32
        self.register_buffer("shift", torch.from_numpy(neurons.shift).to(dtype))
        self.register_buffer("offset", torch.from_numpy(neurons.offset).to(dtype))

    def forward(self, sums: Tensor) -> Tensor:
        """Return the integer currents of sums (B, C, …)."""
        shape = (1, -1, *[1] * (sums.ndim - 2))
        # Rounded: a product by way of a Winograd transform is whole only to rounding.
        return (sums.round().to(self.shift.dtype) << self.shift.view(shape)) + self.offset.view(shape)


class IntegerLIF(nn.Module):
    """u = v + x; spike = [u ≥ Θ]; v = 0 on a spike, else u >> 1: whole currents (T, …) → spikes (T, …), float32.

    Currents that come as floats are sums still, and are shifted here.
    """

    threshold: Tensor

    def __init__(self, threshold: Tensor, channel_dim: int, shift: int = 0) -> None:
        super().__init__()
        self.channel_dim, self.shift = channel_dim, shift
        self.register_buffer("threshold", threshold)

    def forward(self, currents: Tensor) -> Tensor:
        """Return the spikes; every call starts from neurons at rest."""
        if currents.is_floating_point():
            currents = currents.round().to(self.threshold.dtype) << self.shift
        shape = [1] * (currents.ndim - 1)
        shape[self.channel_dim] = -1
        threshold, voltage = self.threshold.view(shape), torch.zeros_like(currents[0])
        spikes = torch.empty(currents.shape, dtype=torch.float32, device=currents.device)
        for step, current in enumerate(currents):
            total = voltage + current
            fired = total >= threshold
            spikes[step] = fired
            voltage = (total >> 1).masked_fill_(fired, 0)
        return spikes

    def by_pixel(self, spikes: Tensor) -> np.ndarray:
        """Return its spikes as the runtime has them, bool (B · pixels, T, channels)."""
        last = spikes.movedim(self.channel_dim + 1 if self.channel_dim >= 0 else -1, -1).cpu()
        steps, samples, channels = last.shape[0], last.shape[1], last.shape[-1]
        pixels = last.reshape(steps, samples, -1, channels).permute(1, 2, 0, 3)
        return pixels.reshape(-1, steps, channels).bool().numpy()


class Widened(nn.Module):
    """A layer whose sums need float64."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer.double()

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, float64."""
        return self.layer(x.double())


class ClippedCounts(nn.Module):
    """A first layer: event counts above ``COUNT_LIMIT`` count as that many."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return self.layer(x.clamp(max=COUNT_LIMIT))


class IntegerHead(nn.Module):
    """Logits of the mean of ``summands`` whole numbers, by way of their exact sum."""

    weight: Tensor
    bias: Tensor

    def __init__(self, head: integers.Head, summands: int) -> None:
        super().__init__()
        self.summands, self.scale = summands, head.scale
        self.register_buffer("weight", torch.from_numpy(head.weight).double())
        self.register_buffer("bias", torch.from_numpy(head.bias).double())

    def forward(self, mean: Tensor) -> Tensor:
        """Return logits (B, classes), float32, of means (B, C)."""
        sums = (mean.double() * self.summands).round()
        return ((sums @ self.weight.T + self.bias) * self.scale).float()


@torch.no_grad()
def to_integers(model: nn.Module, wiring: Wiring, wholes: Mapping[str, Whole]) -> nn.Module:
    """Turn a folded model into its integer form, in place, and return it; ``wholes`` are of the quantised layers.

    Raises UsageError for an attention whose ``scale`` is not that of its wiring: it could not be taken out of it.
    """
    for stage in wiring.stages:
        layer, norm = model.get_submodule(stage.layer), model.get_submodule(stage.norm)
        weight = layer.get_parameter("weight").cpu().flatten(1).numpy()
        whole = wholes.get(stage.layer) or fixed_point(weight, stage.bound)
        multiplier, offset = (norm.get_buffer(name).cpu().numpy() for name in ("multiplier", "offset"))
        found = integers.neurons(whole, multiplier, offset, stage.threshold, stage.bound)
        _put(model, stage.norm, CurrentSteps(found))
        threshold = torch.from_numpy(found.threshold).to(_dtype(found.wide))
        _put(model, stage.neuron, IntegerLIF(threshold, _channel_dim(model, stage.neuron)))
        _put(model, stage.layer, _whole_layer(layer, whole, found, stage.bound))
    for mixing in wiring.mixings:
        shift, threshold = integers.mixing_threshold(mixing.scale, mixing.threshold)
        _put(
            model,
            mixing.neuron,
            IntegerLIF(torch.tensor([threshold], dtype=torch.int32), _channel_dim(model, mixing.neuron), shift),
        )
        attention = model.get_submodule(mixing.module)
        if (scale := getattr(attention, "scale", None)) != mixing.scale:
            raise UsageError(
                f"attention {mixing.module}: its attribute 'scale' is {scale}, but its wiring says {mixing.scale:g}",
                "its method mix must read self.scale: SpikingAttention in snnq/models/attention.py",
            )
        attention.scale = 1.0  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    old = model.get_submodule(wiring.head)
    weight, bias = (old.get_parameter(name).cpu().numpy() for name in ("weight", "bias"))
    head = integers.head(weight, bias, wiring.summands, wiring.bound)
    _put(model, wiring.head, IntegerHead(head, wiring.summands))
    return model.requires_grad_(False)


def _whole_layer(layer: nn.Module, whole: Whole, neurons: Neurons, bound: int) -> nn.Module:
    weight = layer.get_parameter("weight")
    values = whole.values * neurons.sign[:, None]
    sums = int(np.abs(values).sum(1).max(initial=0)) * bound
    exact = torch.from_numpy(values.astype(np.float64)).view(weight.shape)
    made = Widened(layer) if sums >= FLOAT32_EXACT else layer
    layer.get_parameter("weight").copy_(exact)
    return ClippedCounts(made) if bound == COUNT_LIMIT else made


def _channel_dim(model: nn.Module, neuron: str) -> int:
    """(B, N, C) reaches a neuron at each step where its block keeps channels last, (B, C, …) elsewhere."""
    return -1 if getattr(model.get_submodule(neuron.rpartition(".")[0]), "channels_last", False) else 1


def _dtype(wide: bool) -> torch.dtype:
    return torch.int64 if wide else torch.int32


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    model.get_submodule(parent).register_module(name, module)
