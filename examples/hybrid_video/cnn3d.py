"""A small 3D convolutional network: the usual way to classify clips, for its accuracy and its multiplications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import snnq
from snnq.models.architecture import Architecture
from snnq.models.registry import ARCHITECTURES
from snnq.models.sizes import from_json, to_json

CNN3D = "cnn3d"


@dataclass(frozen=True)
class Sizes:
    """The first layer has ``width`` channels, each of the others twice those of the one before it."""

    layout: str = CNN3D
    in_channels: int = 1
    image_size: tuple[int, int] = (32, 32)
    classes: int = 35
    steps: int = 16
    width: int = 8

    @property
    def frames_shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of one sample."""
        return (self.steps, self.in_channels, *self.image_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return to_json(self)


class Network(nn.Module):
    """Four 3×3×3 convolutions with norm and ReLU, each halving time and space: (B, T, C, H, W) → (B, classes)."""

    def __init__(self, config: Sizes) -> None:
        super().__init__()
        self.config, before, layers = config, config.in_channels, []
        for stage in range(4):
            width = config.width * 2**stage
            layers += [nn.Conv3d(before, width, 3, 2, 1, bias=False), nn.BatchNorm3d(width), nn.ReLU()]
            before = width
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(before, config.classes)

    def forward(self, clips: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.layers(clips.transpose(1, 2)).mean((-3, -2, -1)))


def macs(model: nn.Module, frames_shape: tuple[int, int, int, int]) -> int:
    """Return the multiply-accumulates of one clip."""
    found: list[int] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.get_parameter("weight")
        found.append(weight[0].numel() * output.numel())

    layers = [one for one in model.modules() if isinstance(one, nn.Conv3d | nn.Linear)]
    hooks = [one.register_forward_hook(note) for one in layers]
    with torch.no_grad():
        model.eval()(torch.zeros(1, *frames_shape))
    for hook in hooks:
        hook.remove()
    return sum(found)


def _read(values: Mapping[str, Any]) -> Sizes:
    return from_json(Sizes, lambda layout, **changes: Sizes(layout=layout or CNN3D, **changes), values)


def register() -> None:
    """Let ``train_float.py`` and ``open_checkpoint`` know it; nothing of it is compressed."""
    if CNN3D not in ARCHITECTURES:
        record = Architecture(CNN3D, CNN3D, _read, Network, lambda sizes: "its convolutions are over time, too")
        snnq.register_architecture(record)
