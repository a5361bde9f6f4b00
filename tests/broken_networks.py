"""Networks whose numbers stop being finite, each in another place."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import Tensor, nn


class Infinite(nn.Module):
    """Gives infinity, or what ``by`` says, from its ``after``-th training call on; from the first where that is 0."""

    def __init__(self, after: int, by: float) -> None:
        super().__init__()
        self.after, self.by, self.calls = after, by, 0

    def forward(self, x: Tensor) -> Tensor:
        """Return x, or x with one value replaced."""
        self.calls += self.training
        if self.calls < self.after:
            return x
        hit = torch.zeros_like(x)
        hit.view(-1)[0] = 1
        return torch.where(hit > 0, self.by, x)


def build(place: str = "nowhere", after: int = 0, by: str = "inf") -> nn.Module:
    """Return a network that breaks in one ``place``: current, statistic, logits or nowhere."""
    node = {"surrogate_function": surrogate.ATan(), "step_mode": "m"}

    def broken(name: str) -> nn.Module:
        return Infinite(after, float(by)) if name == place else nn.Identity()

    return nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(4, step_mode="m"),
        neuron.LIFNode(**node),
        layer.Conv2d(4, 4, 3, padding=1, bias=False, step_mode="m"),
        broken("current"),
        neuron.LIFNode(**node),
        layer.Conv2d(4, 4, 3, padding=1, bias=False, step_mode="m"),
        broken("statistic"),
        layer.BatchNorm2d(4, step_mode="m"),
        layer.AdaptiveAvgPool2d(1, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(4, 4, step_mode="m"),
        broken("logits"),
    )
