"""Networks as users write them with SpikingJelly, unlike any of ours."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import Tensor, nn


def multi_step(channels: int = 8, classes: int = 4) -> nn.Module:
    """Return SpikingJelly's usual network: steps first, layers in multi-step mode, logits of every step."""
    node = {"surrogate_function": surrogate.ATan(), "step_mode": "m"}
    return nn.Sequential(
        layer.Conv2d(2, channels, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(channels, step_mode="m"),
        neuron.IFNode(**node),
        layer.MaxPool2d(2, step_mode="m"),
        layer.Conv2d(channels, 2 * channels, 3, padding=1, groups=2, step_mode="m"),
        layer.BatchNorm2d(2 * channels, step_mode="m"),
        neuron.ParametricLIFNode(**node),
        layer.AdaptiveAvgPool2d(1, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(2 * channels, classes, step_mode="m"),
    )


class StepByStep(nn.Module):
    """Samples first, a loop over the steps, layers and neurons in single-step mode, logits of the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("order", torch.arange(4).flip(0))  # whole numbers that are no weights
        self.conv = nn.Conv2d(2, width, 3, stride=2, padding=1)
        self.node = neuron.LIFNode(tau=4.0)
        self.mix = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.node2 = neuron.LIFNode(tau=2.0)
        self.classifier = nn.Linear(width, 4)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, 4) of frames (B, T, 2, H, W)."""
        total = torch.zeros(len(frames), self.classifier.in_features)
        for step in range(frames.shape[1]):
            x = self.node(self.conv(frames[:, step])).mean((2, 3))
            total = total + self.node2(self.norm(self.mix(x)))
        return self.classifier(total / frames.shape[1])[:, self.order]


def step_by_step(width: int = 8) -> nn.Module:
    """Return a network that is run step by step."""
    return StepByStep(width)
