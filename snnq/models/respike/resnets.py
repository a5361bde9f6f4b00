"""The two ResNets of a hybrid: the usual one of real numbers for key frames, and a spiking one.

Both halve an image at the same places, so that stage k of either, counted from 1, has the same rows and columns.
"""

from __future__ import annotations

import torch.nn.functional as F
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from snnq.models.neurons import current
from snnq.models.respike.sizes import BOTTLENECK, RESNETS, TAU


def node() -> neuron.LIFNode:
    """Return upstream's neuron: tau 4/3, threshold 1, hard reset, the surrogate gradient of an arcus tangent."""
    return neuron.LIFNode(
        tau=TAU,
        v_threshold=1.0,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(),
        detach_reset=True,
        step_mode="m",
    )


def _convolution(taken: int, given: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(taken, given, kernel, stride, kernel // 2, bias=False)


class ResidualBlock(nn.Module):
    """A block of ResNet-10, -18, -34 (two 3×3 convolutions) or -50 (1×1, 3×3, 1×1), as torchvision has it (v1.5).

    (B, taken, H, W) → (B, width, H/stride, W/stride), four times as wide where it is a bottleneck.
    """

    def __init__(self, taken: int, width: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        given = 4 * width if bottleneck else width
        plan = ((width, 1, 1), (width, 3, stride), (given, 1, 1)) if bottleneck else ((width, 3, stride), (width, 3, 1))
        self.count, before = len(plan), taken
        for number, (channels, kernel, step) in enumerate(plan, start=1):
            self.add_module(f"conv{number}", _convolution(before, channels, kernel, step))
            self.add_module(f"bn{number}", nn.BatchNorm2d(channels))
            before = channels
        self.resized = stride != 1 or taken != given
        if self.resized:
            self.downsample_conv, self.downsample_bn = _convolution(taken, given, 1, stride), nn.BatchNorm2d(given)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(F(x) + x)."""
        found = x
        for number in range(1, self.count + 1):
            found = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(found))
            found = F.relu(found) if number < self.count else found
        return F.relu(found + (self.downsample_bn(self.downsample_conv(x)) if self.resized else x))


class ResNet(nn.Module):
    """(B, C, H, W) images → the features of its four stages, (B, width · 2^(k−1), H/2^(k+1), W/2^(k+1)) or 4 times so.

    The stem and the stages of torchvision's ResNets, under their names; no classifier.
    """

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before, bottleneck = width, depth >= BOTTLENECK
        for stage, count in enumerate(RESNETS[depth], start=1):
            blocks = []
            for index in range(count):
                stride = 2 if stage > 1 and index == 0 else 1
                blocks.append(ResidualBlock(before, width * 2 ** (stage - 1), stride, bottleneck=bottleneck))
                before = width * 2 ** (stage - 1) * (4 if bottleneck else 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return what every stage gives."""
        x, found = self.maxpool(F.relu(self.bn1(self.conv1(x)))), []
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
            found.append(x)
        return found


class SpikingBlock(nn.Module):
    """Two 3×3 convolutions, each behind a neuron, added to the potentials: (T, B, taken, H, W) → (T, B, given, …).

    Where the shape changes, the shortcut is a 2×2 mean, a 1×1 convolution of potentials, and its norm.
    """

    def __init__(self, taken: int, given: int, stride: int) -> None:
        super().__init__()
        self.lif1, self.conv1, self.bn1 = node(), _convolution(taken, given, 3, stride), nn.BatchNorm2d(given)
        self.lif2, self.conv2, self.bn2 = node(), _convolution(given, given, 3), nn.BatchNorm2d(given)
        self.resized = stride != 1 or taken != given
        if self.resized:
            # Of even sides, which upstream has, rounding up changes nothing.
            self.shortcut_pool = nn.AvgPool2d(2, ceil_mode=True)
            self.shortcut_conv, self.shortcut_bn = _convolution(taken, given, 1), nn.BatchNorm2d(given)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials."""
        found = current(self.lif1(x), self.conv1, self.bn1)
        found = current(self.lif2(found), self.conv2, self.bn2)
        if not self.resized:
            return found + x
        pooled = self.shortcut_pool(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return found + current(pooled, self.shortcut_conv, self.shortcut_bn)


class SpikingResNet(nn.Module):
    """The spiking ResNet's stem and stages; its potentials are taken from one to the next by who calls ``stage``."""

    def __init__(self, channels: int, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _convolution(channels, widths[0], 3, 2), nn.BatchNorm2d(widths[0])
        before = widths[0]
        for number, width in enumerate(widths, start=1):
            strides = [2] + [1] * (blocks - 1)
            parts = [
                SpikingBlock(before if not index else width, width, stride) for index, stride in enumerate(strides)
            ]
            self.add_module(f"layer{number}", nn.Sequential(*parts))
            before = width

    def stem(self, x: Tensor) -> Tensor:
        """Return the first potentials (T, B, width, H/2, W/2) of real frames (T, B, C, H, W)."""
        return current(x, self.conv1, self.bn1)

    def stage(self, number: int, potentials: Tensor) -> Tensor:
        """Return the potentials behind a stage, counted from 1."""
        return self.get_submodule(f"layer{number}")(potentials)
