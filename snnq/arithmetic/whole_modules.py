"""Torch modules that compute in whole numbers, exactly as ``snnq.arithmetic.integers`` says.

Sums come in float32 (float64 where they pass 2^24), so that they are exact in any order; neurons compare integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snnq.arithmetic.fixed_point import FixedPoint
from snnq.arithmetic.integers import Codes, Neurons
from snnq.arithmetic.whole_network import Heads
from snnq.network import leaks
from snnq.network.combining import MEAN_PARTS
from snnq.network.graph_check import innermost
from snnq.network.streams import COUNT_LIMIT, Stream

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Float64, Int, Integer, Num

# Whole numbers up to here are exact in float32.
FLOAT32_EXACT = 2**24


class CurrentSteps(nn.Module):
    """(a << shift) + offset per channel, channels on dim 1: sums of a layer → integer currents of its neurons.

    ``pooled``: as float64, which is exact, because torch takes no maximum of integers.
    """

    shift: Tensor
    offset: Tensor

    def __init__(self, neurons: Neurons, *, pooled: bool = False) -> None:
        super().__init__()
        self.pooled = pooled
        dtype = torch.int64 if neurons.wide else torch.int32
        self.register_buffer("shift", torch.from_numpy(neurons.shift).to(dtype))
        self.register_buffer("offset", torch.from_numpy(neurons.offset).to(dtype))

    def forward(self, sums: Num[Tensor, "B C *rest"]) -> Num[Tensor, "B C *rest"]:
        """Return the integer currents of sums (B, C, …)."""
        shape = (1, -1, *[1] * (sums.ndim - 2))
        # Rounded: a product by way of a Winograd transform is whole only to rounding.
        currents = (sums.round().to(self.shift.dtype) << self.shift.view(shape)) + self.offset.view(shape)
        return currents.double() if self.pooled else currents


class Potentials(nn.Module):
    """((m · a + 2^(s-1)) >> s) + b per channel, channels on dim 1: sums of a layer → whole potentials, float64.

    Whole numbers of float64 go through a model's own additions, maxima and means, exactly.
    """

    multiplier: Tensor
    rounding: Tensor
    shift: Tensor
    offset: Tensor

    def __init__(self, kept: FixedPoint) -> None:
        super().__init__()
        numbers = {"multiplier": kept.multiplier, "rounding": kept.half, "shift": kept.shift, "offset": kept.offset}
        for name, values in numbers.items():
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, sums: Num[Tensor, "B C *rest"]) -> Float64[Tensor, "B C *rest"]:
        """Return the potentials of sums (B, C, …)."""
        shape = (1, -1, *[1] * (sums.ndim - 2))
        multiplier, half, shift, offset = (
            one.view(shape) for one in (self.multiplier, self.rounding, self.shift, self.offset)
        )
        return (((sums.round().long() * multiplier + half) >> shift) + offset).double()


class IntegerLIF(nn.Module):
    """u = v + x; spike = [u ≥ Θ]; v = 0 on a spike, else what is left of u: currents (T, …) → spikes (T, …), float32.

    The ``leak`` says how much that is (``snnq.network.leaks``). Currents that come as floats are sums still, or the
    mean of ``parts`` whole numbers, and are shifted here. ``channel_dim`` of a step's currents: None where all of them
    are channels.
    """

    threshold: Tensor

    def __init__(
        self,
        threshold: Int[Tensor, " channels"],
        channel_dim: int | None,
        shift: int = 0,
        leak: int = 2,
        parts: int = 1,
    ) -> None:
        super().__init__()
        self.channel_dim, self.shift, self.leak, self.parts = channel_dim, shift, leak, parts
        self.register_buffer("threshold", threshold)

    def forward(self, currents: Num[Tensor, " T *rest"]) -> Float32[Tensor, " T *rest"]:
        """Return the spikes; every call starts from neurons at rest."""
        if currents.is_floating_point():
            whole = (currents.double() * self.parts if self.parts > 1 else currents).round()
            currents = whole.to(self.threshold.dtype) << self.shift
        shape = [1] * (currents.ndim - 1)
        if self.channel_dim is not None:
            shape[self.channel_dim] = -1
        threshold, voltage = self.threshold.view(shape), torch.zeros_like(currents[0])
        spikes = torch.empty(currents.shape, dtype=torch.float32, device=currents.device)
        for step, current in enumerate(currents):
            total = voltage + current
            fired = total >= threshold
            spikes[step] = fired
            left = total >> 1 if self.leak == 2 else leaks.left(total.long(), self.leak).to(total.dtype)
            voltage = left.masked_fill_(fired, 0)
        return spikes

    def by_pixel(self, spikes: Float[Tensor, "T B *rest"]) -> Bool[np.ndarray, "places T channels"]:
        """Return its spikes as the runtime has them, bool (B · pixels, T, channels)."""
        return _by_pixel(spikes, self.channel_dim).astype(bool)


class IntegerCounts(nn.Module):
    """How many of its D thresholds each whole current reaches: (T, …) → numbers of spikes (T, …), float32.

    ``thresholds`` are (D, channels), or (D, 1) for all alike. Currents that come as floats are sums still, or the mean
    of ``parts`` whole numbers. ``channel_dim`` is as of ``IntegerLIF``.
    """

    thresholds: Tensor

    def __init__(self, thresholds: Int[Tensor, "D channels"], channel_dim: int | None, parts: int = 1) -> None:
        super().__init__()
        self.channel_dim, self.parts = channel_dim, parts
        self.register_buffer("thresholds", thresholds)

    def forward(self, currents: Num[Tensor, " T *rest"]) -> Float32[Tensor, " T *rest"]:
        """Return the spikes; no step depends on another."""
        if currents.is_floating_point():
            whole = (currents.double() * self.parts if self.parts > 1 else currents).round()
            currents = whole.to(self.thresholds.dtype)
        shape = [1] * currents.ndim
        if self.channel_dim is not None:
            shape[self.channel_dim + 1 if self.channel_dim >= 0 else -1] = -1
        counts = torch.zeros(currents.shape, dtype=torch.float32, device=currents.device)
        for threshold in self.thresholds:
            counts += currents >= threshold.view(shape)
        return counts

    def by_pixel(self, spikes: Float[Tensor, "T B *rest"]) -> Integer[np.ndarray, "places T channels"]:
        """Return its spikes as the runtime has them, uint8 or wider (B · pixels, T, channels)."""
        return _by_pixel(spikes, self.channel_dim).astype(np.min_scalar_type(len(self.thresholds)))


WHOLE_NEURONS = (IntegerLIF, IntegerCounts)


def _by_pixel(spikes: Float[Tensor, "T B *rest"], channel_dim: int | None) -> Float[np.ndarray, "places T channels"]:
    """Return spikes as (B · pixels, T, channels)."""
    if channel_dim is None:
        last = spikes.flatten(2).cpu()
    else:
        last = spikes.movedim(channel_dim + 1 if channel_dim >= 0 else -1, -1).cpu()
    steps, samples, channels = last.shape[0], last.shape[1], last.shape[-1]
    pixels = last.reshape(steps, samples, -1, channels).permute(1, 2, 0, 3)
    return pixels.reshape(-1, steps, channels).numpy()


class Widened(nn.Module):
    """A layer whose sums need float64."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer.double()

    def forward(self, x: Tensor) -> Float64[Tensor, "*made"]:
        """Return the layer's output, float64."""
        return self.layer(x.double())


class ClippedCounts(nn.Module):
    """A first layer, or nothing: event counts above ``COUNT_LIMIT`` count as that many."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return self.layer(x.clamp(max=COUNT_LIMIT))


class FixedPixels(nn.Module):
    """A first layer of images, or nothing: normalised pixels become whole numbers, parts of 2^-f, halves to even."""

    def __init__(self, layer: nn.Module, frames: Stream) -> None:
        super().__init__()
        self.layer, self.unit, self.bound = layer, frames.unit, frames.bound or 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return self.layer((x.float() / self.unit).round().clamp(-self.bound, self.bound))


class Requantised(nn.Module):
    """A layer, and what makes its activations of the whole numbers that it is given."""

    def __init__(self, layer: nn.Module, codes: Codes) -> None:
        super().__init__()
        self.layer, self.codes = layer, codes

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return self.layer(self.codes.of(x.round().long()).double())


class FourfoldMeans(nn.Module):
    """What a mean-pool of potentials gives, times ``MEAN_PARTS``: whole numbers, float64."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, potentials: Num[Tensor, "B C H W"]) -> Float64[Tensor, "B C h w"]:
        """Return sums of windows of potentials (B, C, H, W)."""
        return self.pool(potentials.double()) * MEAN_PARTS


class Followed(nn.Module):
    """A layer without a norm, and what is behind it."""

    def __init__(self, layer: nn.Module, behind: nn.Module) -> None:
        super().__init__()
        self.layer, self.behind = layer, behind

    def forward(self, x: Tensor) -> Tensor:
        """Return what is behind."""
        found = self.layer(x)
        if isinstance(innermost(self.layer), nn.Linear):  # its channels are last
            return self.behind(found.transpose(1, -1)).transpose(1, -1)
        return self.behind(found)


class Raised(nn.Module):
    """Spikes on their way to potentials, in parts of these, float64: ``parts`` each."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, spikes: Num[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
        """Return them as whole numbers of parts."""
        return spikes.double() * self.parts


class IntegerHead(nn.Module):
    """Logits of a mean over time steps of the mean of ``parts`` whole numbers, by way of their exact sum.

    ``parts`` are float64 (C,), or (1,) for all alike.
    """

    weight: Tensor
    bias: Tensor
    parts: Tensor

    def __init__(self, heads: Heads, parts: Float64[np.ndarray, " C"], steps: int) -> None:
        super().__init__()
        self.heads = heads
        self.register_buffer("parts", torch.from_numpy(parts))
        self.register_buffer("weight", torch.empty(0))
        self.register_buffer("bias", torch.empty(0))
        self.take(steps)

    @property
    def summands(self) -> Float64[Tensor, " C"]:
        """How many whole numbers each input is the mean of, float64 (C,), or (1,)."""
        return self.heads.summed(self.steps) * self.parts

    def take(self, steps: int) -> None:
        """Become the head of a network that takes so many steps."""
        head, device = self.heads.after(steps), self.weight.device
        self.steps, self.scale, self.wide, self.codes = steps, head.scale, head.wide, head.codes
        dtype = torch.int64 if head.wide else torch.float64
        self.weight = torch.from_numpy(head.weight).to(device, dtype)
        self.bias = torch.from_numpy(head.bias).to(device, dtype)

    def forward(self, mean: Float[Tensor, "B C"]) -> Float32[Tensor, "B classes"]:
        """Return logits (B, classes), float32, of means (B, C)."""
        sums = (mean.double() * self.summands).round()
        if self.codes is not None:
            sums = self.codes.of(sums.long()).double()
        if not self.wide:
            return ((sums @ self.weight.T + self.bias) * self.scale).float()
        # By hand: not every device multiplies matrices of int64.
        found = torch.stack([(sums.long() * row).sum(1) for row in self.weight], 1) + self.bias
        return (found.double() * self.scale).float()
