"""The spiking neurons of every architecture, over spikingjelly, and the layer → norm → neuron they stand in."""

from __future__ import annotations

from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn


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


def initialise_linear(module: nn.Module) -> None:
    """Start linear layers as most upstream codes do: normal of deviation 0.02 cut at ±2, biases zero."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.constant_(module.bias, 0)
