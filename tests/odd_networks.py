"""Networks whose weights are not one tensor of one called layer under one name."""

from __future__ import annotations

import warnings

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm


class Odd(nn.Module):
    """Samples first, flat frames of 2·8·8, multi-step neurons, logits of the mean."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first, self.second, self.third = nn.Linear(128, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.a, self.b, self.c = (neuron.LIFNode(step_mode="m") for _ in range(3))
        self.head = nn.Linear(8, 4)
        if how == "tied parameter":
            self.third.weight = self.second.weight
        elif how == "view of a weight":
            self.third.weight = nn.Parameter(self.second.weight.data.T)
        elif how == "module under two names":
            self.third = self.second
        elif how == "alias of a weight":
            self.alias = self.second.weight
        elif how == "norm under two names":
            self.norm = nn.BatchNorm1d(8)
            self.norm2 = self.norm
        elif how == "weight_norm":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of torch: there is a newer one, below
                self.second = weight_norm(self.second)
        elif how == "weight_norm parametrization":
            self.second = parametrizations.weight_norm(self.second)
        elif how == "spectral_norm":
            self.second = spectral_norm(self.second)
        elif how == "spectral_norm parametrization":
            self.second = parametrizations.spectral_norm(self.second)
        elif how == "orthogonal":
            self.second = parametrizations.orthogonal(self.second)
        elif how == "lazy":
            self.second = nn.LazyLinear(8)
        elif how == "no statistics":
            self.norm = nn.BatchNorm1d(8, track_running_stats=False)
        elif how == "never called":
            self.spare = nn.Linear(8, 8)
        elif how == "shared neurons":
            self.b = self.a
        elif how == "attention":
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, 4) of frames (B, T, 2, 8, 8)."""
        x = self.a(self.first(frames.transpose(0, 1).flatten(2)))
        if self.how in ("no statistics", "norm under two names"):
            x = self.norm(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        if self.how == "no gradient":
            with torch.no_grad():
                x = self.second(x)
        elif self.how == "called twice":
            x = self.second(self.b(self.second(x)))
        elif self.how == "tied decoder":
            x = F.linear(self.second(x), self.second.get_parameter("weight").T)
        elif self.how == "functional":
            x = F.linear(x, self.second.get_parameter("weight"), self.second.get_parameter("bias"))
        else:
            x = self.second(x)
        x = self.c(self.third(self.b(x)))
        if self.how == "attention":
            x = self.attention(*[x.flatten(0, 1).unsqueeze(1)] * 3)[0].squeeze(1).unflatten(0, x.shape[:2])
        return self.head(x.mean(0))


def build(how: str = "plain") -> nn.Module:
    """Return the network."""
    return Odd(how)


def twice(width: int = 4) -> nn.Module:
    """Return a sequence in which one module stands at two places."""
    conv = layer.Conv2d(width, width, 3, padding=1, step_mode="m")
    return nn.Sequential(
        layer.Conv2d(2, width, 3, padding=1, step_mode="m"),
        neuron.IFNode(step_mode="m"),
        conv,
        neuron.IFNode(step_mode="m"),
        conv,
        layer.AdaptiveAvgPool2d(1, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(width, 4, step_mode="m"),
    )
