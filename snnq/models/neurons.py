"""The spiking neurons of every architecture, over spikingjelly, and the layers that they stand behind or before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

Neuron = Callable[..., nn.Module]
STAGES = ("", "1", "2", "3")  # what the names of a tokenizer's four convolutions end in


def lif(threshold: float = 1.0, tau: float = 2.0) -> neuron.LIFNode:
    """Return a multi-step leaky integrate-and-fire neuron: (T, …) currents → (T, …) spikes in {0, 1}.

    h = v + (x − v)/tau; s = [h ≥ threshold]; v = h·(1 − s); the surrogate gradient is that of a sigmoid of slope 4.
    """
    return neuron.LIFNode(
        tau=tau,
        v_threshold=threshold,
        v_reset=0.0,
        surrogate_function=surrogate.Sigmoid(alpha=4.0),
        detach_reset=True,
        step_mode="m",
    )


def plif(threshold: float = 1.0) -> neuron.ParametricLIFNode:
    """Return the same neuron with a leak that is learned: 1/tau = sigmoid(w), tau = 2 at first; ``w`` is a scalar."""
    return neuron.ParametricLIFNode(
        init_tau=2.0,
        v_threshold=threshold,
        v_reset=0.0,
        surrogate_function=surrogate.Sigmoid(alpha=4.0),
        detach_reset=True,
        step_mode="m",
    )


class _Rounded(torch.autograd.Function):
    """Whole numbers of at most ``most`` and at least 0; gradients pass where nothing was cut off."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, most: int, half_up: bool) -> Tensor:
        ctx.save_for_backward((x >= 0) & (x <= most))
        x = x.clamp(0, most)
        return torch.floor(x + 0.5) if half_up else x.round()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


class IntegerSpikes(neuron.BaseNode):
    """I-LIF without a potential: (T, …) currents → (T, …) numbers of spikes c = round(clamp(gain · x, 0, D)), 0 … D.

    In inference c is run as D binary sub-steps, c of which have a spike. ``half_up``: a half is rounded up, else to the
    nearest even number. Every time step stands for itself. Straight-through gradient where 0 ≤ gain · x ≤ D. Sources:
    Luo et al. 2024 (arXiv:2407.20708); the code of Spike-Driven Transformer V3 (``MultiSpike``) and QSD-Transformer
    (``Multispike``), which put out c/D.
    """

    def __init__(self, substeps: int, gain: float = 1.0, half_up: bool = False) -> None:
        super().__init__(step_mode="m")
        self.substeps, self.gain, self.half_up = substeps, float(gain), half_up

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes, float32 whole numbers, of the same shape."""
        return cast(Tensor, _Rounded.apply(x * self.gain, self.substeps, self.half_up))


def current(x: Tensor, layer: nn.Module, norm: nn.Module) -> Tensor:
    """Return norm(layer(x)) for (T, B, …)."""
    return norm(layer(x.flatten(0, 1))).unflatten(0, x.shape[:2]).contiguous()


def fire(x: Tensor, layer: nn.Module, norm: nn.Module, node: nn.Module, *, channels_last: bool = False) -> Tensor:
    """Return the spikes of layer → norm → neuron for (T, B, …); ``norm`` always sees channels on dim 1."""
    found = layer(x.flatten(0, 1))
    found = norm(found.transpose(-1, -2)).transpose(-1, -2) if channels_last else norm(found)
    return node(found.unflatten(0, x.shape[:2]).contiguous())


def halve(x: Tensor, pool: nn.Module) -> Tensor:
    """Return (T, B, C, H, W) after a pooling of its images."""
    return pool(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def rest(model: nn.Module) -> None:
    """Put every neuron of a model to rest."""
    for module in model.modules():
        if isinstance(module, neuron.BaseNode):
            module.reset()


def initialise(module: nn.Module, kind: type[nn.Linear | nn.Conv2d] = nn.Linear) -> None:
    """Start layers of a kind as upstream codes do, most of them linear ones: normal of deviation 0.02, biases zero.

    The normal is cut at ±2.
    """
    if isinstance(module, kind):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.constant_(module.bias, 0)


def add_tokenizer(module: nn.Module, in_channels: int, dim: int, node: Neuron, *, bias: bool = False) -> None:
    """Give ``module`` a tokenizer's layers: 3×3 convolutions, each with norm and neuron, and pooling.

    ``proj_conv``, ``proj_bn``, ``proj_lif``, … of dim/8, dim/4, dim/2 and dim channels, called by ``STAGES``; then
    ``rpe_conv`` and ``rpe_bn`` for relative positions.
    """
    widths = (in_channels, dim // 8, dim // 4, dim // 2, dim)
    for suffix, taken, given in zip(STAGES, widths, widths[1:], strict=False):
        module.add_module(f"proj_conv{suffix}", nn.Conv2d(taken, given, kernel_size=3, padding=1, bias=bias))
        module.add_module(f"proj_bn{suffix}", nn.BatchNorm2d(given))
        module.add_module(f"proj_lif{suffix}", node())
    module.add_module("pool", nn.MaxPool2d(kernel_size=3, stride=2, padding=1))
    module.add_module("rpe_conv", nn.Conv2d(dim, dim, kernel_size=3, padding=1, bias=False))
    module.add_module("rpe_bn", nn.BatchNorm2d(dim))


class MembraneMlp(nn.Module):
    """Two 1×1 convolutions, each behind a neuron: potentials → potentials with both layers' output added.

    Where they are as wide inside as outside, the first one's input is added to its output too. The layers are called
    ``fc1`` and ``fc2`` with ``suffix``.
    """

    def __init__(self, width: int, hidden: int, *, node: Neuron = lif, suffix: str = "") -> None:
        super().__init__()
        self.suffix, self.shortcut = suffix, width == hidden
        for name, taken, given in (("fc1", width, hidden), ("fc2", hidden, width)):
            self.add_module(f"{name}_lif", node())
            self.add_module(f"{name}{suffix}", nn.Conv2d(taken, given, kernel_size=1))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(given))

    def forward(self, potential: Tensor) -> Tensor:
        """Return the potentials after both layers."""
        x = self._layer("fc1", potential)
        if self.shortcut:
            x = potential = potential + x
        return self._layer("fc2", x) + potential

    def _layer(self, name: str, x: Tensor) -> Tensor:
        node, layer, norm = (self.get_submodule(f"{name}{part}") for part in ("_lif", self.suffix, "_bn"))
        return current(node(x), layer, norm)
