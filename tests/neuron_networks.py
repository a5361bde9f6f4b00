"""Networks of two convolutions and a head around any of SpikingJelly's neurons, as users write them."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import Tensor, nn

STEPS = 3


def make(kind: str, channels: int = 4) -> nn.Module:
    """Return a neuron of that class for STEPS steps, in multi-step mode; some need to be told more."""
    more: dict[str, dict[str, Any]] = {
        "PSN": {"T": STEPS},
        "MaskedPSN": {"T": STEPS, "k": 2, "step_mode": "m"},
        "SlidingPSN": {"k": 2, "step_mode": "m"},
        "GatedLIFNode": {"T": STEPS, "inplane": channels},
        "SimpleLIFNode": {"tau": 2.0, "decay_input": True, "step_mode": "m"},
        "DSRIFNode": {"T": STEPS},
        "DSRLIFNode": {"T": STEPS},
        "STBIFNode": {"q_threshold": 1.0, "level": 8, "sym": True, "step_mode": "m"},
        "MPBNLIFNode": {"out_channels": channels, "step_mode": "m"},
        "CUBALIFNode": {},
    }
    if kind == "LIAFNode":
        return neuron.LIAFNode(nn.ReLU(), False, step_mode="m")
    if kind.startswith("NonSpiking"):
        return Last(getattr(neuron, kind)())
    made = getattr(neuron, kind)(**more.get(kind, {"step_mode": "m"}))
    if kind == "CUBALIFNode":
        made.step_mode = "m"
    return made


class Last(nn.Module):
    """A non-spiking neuron's voltages of all steps, stacked."""

    def __init__(self, node: nn.Module) -> None:
        super().__init__()
        self.node = node

    def forward(self, x: Tensor) -> Tensor:
        """Return (T, B, …)."""
        return torch.stack(self.node(x))


class Squashed(neuron.LIFNode):
    """A neuron of one's own: it fires 0 or 1, under a name that nobody knows."""


def build(kind: str = "LIFNode", soft: bool = False, width: int = 4) -> nn.Module:
    """Return the network; ``soft``: with neurons whose surrogate gives what is between 0 and 1."""
    nodes = [Squashed(step_mode="m") if kind == "Squashed" else make(kind, width) for _ in range(2)]
    if soft:
        for node in nodes:
            node.surrogate_function = surrogate.Sigmoid(spiking=False)
    return nn.Sequential(
        layer.Conv2d(2, width, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(width, step_mode="m"),
        nodes[0],
        layer.Conv2d(width, width, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(width, step_mode="m"),
        nodes[1],
        layer.AdaptiveAvgPool2d(1, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(width, 4, step_mode="m"),
    )
