"""A folded model whose torch modules compute in whole numbers, exactly as ``snnq.arithmetic.integers`` says.

Weights are whole numbers in float32 (float64 where sums pass 2^24), so that products and sums are exact in any order;
neurons compare integers. Every engine that follows the same rules gives the same spikes and logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from snnq.arithmetic.fixed_point import FixedPoint, Folded, joined
from snnq.arithmetic.integers import Neurons
from snnq.arithmetic.whole_network import Heads, WholeNetwork, whole_network
from snnq.base.errors import UsageError
from snnq.network import leaks
from snnq.network.combining import Add, Sum
from snnq.network.drawn import Drawn
from snnq.network.graph_check import innermost
from snnq.network.operations import Layer, Neuron
from snnq.network.stages import Mix, Potential, Stage
from snnq.network.streams import COUNT_LIMIT, FRAMES, Stream
from snnq.network.wiring import Wiring
from snnq.schemes.whole import Whole, fixed_point

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

    def forward(self, sums: Tensor) -> Tensor:
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

    def forward(self, sums: Tensor) -> Tensor:
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
        self, threshold: Tensor, channel_dim: int | None, shift: int = 0, leak: int = 2, parts: int = 1
    ) -> None:
        super().__init__()
        self.channel_dim, self.shift, self.leak, self.parts = channel_dim, shift, leak, parts
        self.register_buffer("threshold", threshold)

    def forward(self, currents: Tensor) -> Tensor:
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

    def by_pixel(self, spikes: Tensor) -> np.ndarray:
        """Return its spikes as the runtime has them, bool (B · pixels, T, channels)."""
        return _by_pixel(spikes, self.channel_dim).astype(bool)


class IntegerCounts(nn.Module):
    """How many of its D thresholds each whole current reaches: (T, …) → numbers of spikes (T, …), float32.

    ``thresholds`` are (D, channels), or (D, 1) for all alike. Currents that come as floats are sums still, or the mean
    of ``parts`` whole numbers. ``channel_dim`` is as of ``IntegerLIF``.
    """

    thresholds: Tensor

    def __init__(self, thresholds: Tensor, channel_dim: int | None, parts: int = 1) -> None:
        super().__init__()
        self.channel_dim, self.parts = channel_dim, parts
        self.register_buffer("thresholds", thresholds)

    def forward(self, currents: Tensor) -> Tensor:
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

    def by_pixel(self, spikes: Tensor) -> np.ndarray:
        """Return its spikes as the runtime has them, uint8 or wider (B · pixels, T, channels)."""
        return _by_pixel(spikes, self.channel_dim).astype(np.min_scalar_type(len(self.thresholds)))


WHOLE_NEURONS = (IntegerLIF, IntegerCounts)


def _by_pixel(spikes: Tensor, channel_dim: int | None) -> np.ndarray:
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


class FixedPixels(nn.Module):
    """A first layer of images: normalised pixels become whole numbers, parts of 2^-f, halves to even."""

    def __init__(self, layer: nn.Module, frames: Stream) -> None:
        super().__init__()
        self.layer, self.unit, self.bound = layer, frames.unit, frames.bound or 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output."""
        return self.layer((x.float() / self.unit).round().clamp(-self.bound, self.bound))


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

    def forward(self, spikes: Tensor) -> Tensor:
        """Return them as whole numbers of parts."""
        return spikes.double() * self.parts


class IntegerHead(nn.Module):
    """Logits of a mean over time steps of the mean of ``parts`` whole numbers, by way of their exact sum.

    ``parts`` are float64 (C,), or (1,) for all alike.
    """

    weight: Tensor
    bias: Tensor
    parts: Tensor

    def __init__(self, heads: Heads, parts: np.ndarray, steps: int) -> None:
        super().__init__()
        self.heads = heads
        self.register_buffer("parts", torch.from_numpy(parts))
        self.register_buffer("weight", torch.empty(0))
        self.register_buffer("bias", torch.empty(0))
        self.take(steps)

    @property
    def summands(self) -> Tensor:
        """How many whole numbers each input is the mean of, float64 (C,), or (1,)."""
        return self.steps * self.parts

    def take(self, steps: int) -> None:
        """Become the head of a network that takes so many steps."""
        head, device = self.heads.after(steps), self.weight.device
        self.steps, self.scale, self.wide = steps, head.scale, head.wide
        dtype = torch.int64 if head.wide else torch.float64
        self.weight = torch.from_numpy(head.weight).to(device, dtype)
        self.bias = torch.from_numpy(head.bias).to(device, dtype)

    def forward(self, mean: Tensor) -> Tensor:
        """Return logits (B, classes), float32, of means (B, C)."""
        sums = (mean.double() * self.summands).round()
        if not self.wide:
            return ((sums @ self.weight.T + self.bias) * self.scale).float()
        # By hand: not every device multiplies matrices of int64.
        found = torch.stack([(sums.long() * row).sum(1) for row in self.weight], 1) + self.bias
        return (found.double() * self.scale).float()


@torch.no_grad()
def to_integers(
    model: nn.Module, wiring: Wiring, wholes: Mapping[str, Whole], learned: Mapping[str, int] | None = None
) -> nn.Module:
    """Turn a folded model into its integer form, in place, and return it; ``wholes`` are of the quantised layers.

    ``learned`` leaks are those of a packed folder; None: they are rounded here.
    A user's own model becomes its graph instead, as the proof of it ran: its modules by path, without its forward.

    Raises UsageError for an attention whose ``scale`` is not that of its wiring: it could not be taken out of it.
    """
    model = Drawn(wiring.graph, model).eval() if wiring.graph.traced else model
    learned = learned_leaks(model, wiring) if learned is None else learned
    numbers = whole_network(wiring, lambda one: _folded(model, one, wholes.get(one.layer)), learned)
    for stage in wiring.stages:
        whole, found = numbers.stage(stage)
        threshold, dim = torch.from_numpy(found.threshold).to(_dtype(found.wide)), _channel_dim(model, stage.neuron)
        if stage.fires.rounds:
            _put(model, stage.neuron, IntegerCounts(threshold, dim))
        else:
            _put(model, stage.neuron, IntegerLIF(threshold, dim, leak=numbers.leak(stage.fires)))
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
    old = model.get_submodule(wiring.head)
    weight = old.get_parameter("weight").cpu().numpy()
    bias = np.zeros(len(weight), np.float32) if old.bias is None else old.get_parameter("bias").cpu().numpy()
    _put(model, wiring.head, IntegerHead(numbers.heads(weight, bias), numbers.read_parts, wiring.graph.steps))
    return model.requires_grad_(False)


def learned_leaks(model: nn.Module, wiring: Wiring) -> dict[str, int]:
    """Return the leaks that a model's neurons have learned, rounded, by their path."""
    return {path: leaks.learned(float(model.get_submodule(path).get_parameter("w"))) for path in wiring.learned}


@torch.no_grad()
def with_rounded_leaks(model: nn.Module, wiring: Wiring) -> nn.Module:
    """Return a model whose learned leaks are those that are packed, a copy where there are any."""
    model = deepcopy(model) if wiring.learned else model
    for path, leak in learned_leaks(model, wiring).items():
        if (w := leaks.w_of(leak)) is not None:
            model.get_submodule(path).get_parameter("w").fill_(w)
    return model


def _folded(model: nn.Module, one: Stage | Potential, whole: Whole | None) -> Folded:
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
    return Folded(whole, *joined(norms, len(weight)))


def _put_neuron(model: nn.Module, wiring: Wiring, numbers: WholeNetwork, neuron: Neuron) -> None:
    """Put a neuron that compares whole numbers of one unit in its place."""
    found = numbers.compared(neuron)
    dim = _channel_dim(model, neuron.neuron)
    if found.thresholds:
        thresholds = torch.tensor(found.thresholds, dtype=_dtype(found.wide))[:, None]
        _put(model, neuron.neuron, IntegerCounts(thresholds, dim, found.parts))
        return
    threshold = torch.tensor([found.threshold], dtype=_dtype(found.wide))
    summed = {one.gives for one in wiring.flow if isinstance(one, Sum) and one.over == "tokens"}
    if neuron.takes[0] in summed:
        dim = None  # by head and feature, without tokens
    _put(model, neuron.neuron, IntegerLIF(threshold, dim, found.shift, found.leak, found.parts))


def _raise(model: nn.Module, added: Add, factors: tuple[int, ...]) -> None:
    """Let spikes be added to potentials in parts of these."""
    if isinstance(model, Drawn):
        model.worth[added.gives] = factors
    elif added.raised is not None:
        _put(model, added.raised, Raised(max(factors)))


def _take_scale(model: nn.Module, mixing: Mix) -> None:
    """Make an attention's scale 1: it is in the threshold of its neuron."""
    attention, due = model.get_submodule(mixing.mixes.module), mixing.mixes.scale
    if (scale := getattr(attention, "scale", None)) != due:
        raise UsageError(
            f"attention {mixing.mixes.module}: its attribute 'scale' is {scale}, but its graph says {due:g}",
            "its method mix must read self.scale: SpikingAttention in snnq/models/attention.py",
        )
    attention.scale = 1.0  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]


def _put_behind(model: nn.Module, made: Layer, behind: nn.Module) -> None:
    """Put what is done with a layer's sums in the place of its last norm, and nothing in that of another."""
    if not made.norms:
        _put(model, made.layer, Followed(model.get_submodule(made.layer), behind))
        return
    for path in made.norms[:-1]:
        _put(model, path, nn.Identity())
    _put(model, made.norms[-1], behind)


def _whole_layer(model: nn.Module, wiring: Wiring, one: Stage | Potential, whole: Whole, sign: np.ndarray) -> None:
    """Give a layer its whole numbers, in a type that holds its sums."""
    layer = model.get_submodule(one.layer)
    weight, values = layer.get_parameter("weight"), whole.values * sign[:, None]
    sums = int(np.abs(values).sum(1).max(initial=0)) * one.bound
    exact = torch.from_numpy(values.astype(np.float64)).view(weight.shape)
    made = Widened(layer) if sums >= FLOAT32_EXACT or wiring.numbers(one.takes[0]) else layer
    layer.get_parameter("weight").copy_(exact)
    layer.register_parameter("bias", None)
    if one.takes[0] == FRAMES:
        made = FixedPixels(made, wiring.graph.frames) if wiring.numbers(FRAMES) else ClippedCounts(made)
    _put(model, one.layer, made)


def _channel_dim(model: nn.Module, neuron: str) -> int:
    """(B, N, C) reaches a neuron at each step where its block keeps channels last, (B, C, …) elsewhere."""
    return -1 if getattr(model.get_submodule(neuron.rpartition(".")[0]), "channels_last", False) else 1


def _dtype(wide: bool) -> torch.dtype:
    return torch.int64 if wide else torch.int32


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    model.get_submodule(parent).register_module(name, module)
