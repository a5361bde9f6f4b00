"""A detection backbone as SpikeYOLO's authors write it: I-LIF, re-parameterised convolutions, SPPF, two scales joined.

After Luo et al. 2024 (arXiv:2407.20708), BICLab/SpikeYOLO's yolo_spikformer.py; a classifier stands for its detector.
"""

from __future__ import annotations

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn
from torch.nn import functional as F


class MemUpdate(nn.Module):
    """Their neuron, a module of its own: 0 … 4 spikes a step, β = 0.25, reset by subtraction."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of (T, …)."""
        mem, spikes = x[0], [x[0].clamp(0, 4).round()]
        for current in x[1:]:
            mem = (mem - spikes[-1].detach()) * 0.25 + current
            spikes.append(mem.clamp(0, 4).round())
        return torch.stack(spikes)


class Fresh(nn.Module):
    """A neuron, a layer and a norm, over (T, B, C, H, W)."""

    def __init__(self, node: nn.Module, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.lif, self.conv, self.bn = node, layer, nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return potentials."""
        return self.bn(self.conv(self.lif(x).flatten(0, 1))).unflatten(0, x.shape[:2])


class BNAndPadLayer(nn.Module):
    """A norm, padded by what it makes of 0: by its own numbers, as their code has it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return images one pixel wider at every side."""
        bn, found = self.bn, F.pad(self.bn(x), [1] * 4)
        assert bn.affine
        mean, variance = bn.running_mean, bn.running_var
        assert mean is not None
        assert variance is not None
        edge = (bn.bias.detach() - mean * bn.weight.detach() / torch.sqrt(variance + bn.eps)).view(1, -1, 1, 1)
        found[:, :, :1], found[:, :, -1:], found[..., :1], found[..., -1:] = edge, edge, edge, edge
        return found


def rep_conv(taken: int, given: int) -> nn.Module:
    """1×1 → norm with its padding → depth-wise 3×3 → 1×1 → norm."""
    last = (nn.Conv2d(taken, taken, 3, groups=taken, bias=False), nn.Conv2d(taken, given, 1, bias=False))
    return nn.Sequential(nn.Conv2d(taken, taken, 1, bias=False), BNAndPadLayer(taken), *last, nn.BatchNorm2d(given))


def sep_rep_conv(taken: int, given: int) -> nn.Module:
    """Norm with its padding → 1×1 → depth-wise 3×3."""
    last = nn.Conv2d(given, given, 3, groups=given, bias=False)
    return nn.Sequential(BNAndPadLayer(taken), nn.Conv2d(taken, given, 1, bias=False), last)


class Block(nn.Module):
    """Their MS_AllConvBlock, or with ``rep`` MS_ConvBlock: a separable convolution and two others, each added."""

    def __init__(self, width: int, node: type[nn.Module], ratio: int, *, rep: bool) -> None:
        super().__init__()
        wide, middle = ratio * width, 2 * width
        self.sep = nn.Sequential(
            Fresh(node(), nn.Conv2d(width, middle, 1, bias=False), middle),
            Fresh(node(), nn.Conv2d(middle, middle, 7, padding=3, groups=middle, bias=False), middle),
            Fresh(node(), sep_rep_conv(middle, width), width),
        )
        pairs = ((width, wide), (wide, width))
        made = [rep_conv(*one) if rep else nn.Conv2d(*one, 3, padding=1, bias=False) for one in pairs]
        self.mix = nn.Sequential(*(Fresh(node(), one, pair[1]) for one, pair in zip(made, pairs, strict=True)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials after both."""
        x = self.sep(x) + x
        return x + self.mix(x)


class SPPF(nn.Module):
    """Potentials and what max-pools over 5, 9 and 13 pixels make of them, side by side."""

    def __init__(self, width: int, node: type[nn.Module]) -> None:
        super().__init__()
        self.cv1 = Fresh(node(), nn.Conv2d(width, width // 2, 1, bias=False), width // 2)
        self.cv2 = Fresh(node(), nn.Conv2d(2 * width, width, 1, bias=False), width)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials."""
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1].flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.cv2(torch.cat(parts, 2))


class Backbone(nn.Module):
    """Frames (T, B, C, H, W) → logits (B, classes)."""

    def __init__(self, width: int, node: type[nn.Module]) -> None:
        super().__init__()
        wide = 2 * width
        self.stem, self.stem_bn = nn.Conv2d(2, width, 7, 4, 2), nn.BatchNorm2d(width)
        self.p3 = Block(width, node, 4, rep=False)
        self.down = Fresh(node(), nn.Conv2d(width, wide, 3, 2, 1), wide)
        self.p4 = nn.Sequential(Block(wide, node, 3, rep=True), SPPF(wide, node))
        self.lateral = Fresh(node(), nn.Conv2d(wide, width, 1, bias=False), width)
        self.up = nn.Upsample(scale_factor=(1, 2, 2), mode="nearest")
        self.neck = Fresh(node(), nn.Conv2d(wide, width, 3, padding=1, bias=False), width)
        self.lif, self.head = node(), nn.Linear(width, 4)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits."""
        p3 = self.p3(self.stem_bn(self.stem(frames.flatten(0, 1))).unflatten(0, frames.shape[:2]))
        p4 = self.lateral(self.p4(self.down(p3)))
        x = self.neck(torch.cat([self.up(p4), p3], 2))
        return self.head(self.lif(x).flatten(3).mean(3)).mean(0)


class ILIF(neuron.ILIFNode):
    """SpikingJelly's form of the neuron, all steps at once."""

    def __init__(self) -> None:
        super().__init__(step_mode="m")


def build(width: int = 4) -> nn.Module:
    """Return the backbone with SpikingJelly's I-LIF."""
    return Backbone(width, ILIF)


def as_published(width: int = 4) -> nn.Module:
    """Return the backbone with its authors' neuron."""
    return Backbone(width, MemUpdate)
