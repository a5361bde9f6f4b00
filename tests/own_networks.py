"""Networks as users write them with SpikingJelly, unlike any of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn


def multi_step(channels: int = 8, classes: int = 4) -> nn.Module:
    """Return SpikingJelly's usual network: steps first, layers in multi-step mode, logits of every step.

    The second neurons are reset by subtraction, so that it has no whole numbers.
    """
    node = {"surrogate_function": surrogate.ATan(), "step_mode": "m"}
    return nn.Sequential(
        layer.Conv2d(2, channels, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(channels, step_mode="m"),
        neuron.IFNode(**node),
        layer.MaxPool2d(2, step_mode="m"),
        layer.Conv2d(channels, 2 * channels, 3, padding=1, groups=2, step_mode="m"),
        layer.BatchNorm2d(2 * channels, step_mode="m"),
        neuron.ParametricLIFNode(v_reset=None, **node),
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


class Residual(nn.Module):
    """Steps first, multi-step mode: max-pools of 2, a residual of spikes, one of potentials, images made flat."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = self.block(2, width)
        self.pool = layer.MaxPool2d(2, step_mode="m")
        self.same, self.more = self.block(width, width), self.block(width, width, bias=True)
        self.left, self.right = (layer.Conv2d(width, width, 3, padding=1, step_mode="m") for _ in range(2))
        self.kept = neuron.LIFNode(tau=1.5, step_mode="m")
        self.drop, self.flat = layer.Dropout(0.5, step_mode="m"), layer.Flatten(step_mode="m")
        self.hidden, self.node = (
            layer.Linear(16 * width, 24, step_mode="m"),
            neuron.LIFNode(2.0, False, 0.5, step_mode="m"),
        )
        self.head = layer.Linear(24, classes, bias=False, step_mode="m")

    @staticmethod
    def block(taken: int, given: int, *, bias: bool = False) -> nn.Sequential:
        """Return layer, norm and neuron."""
        return nn.Sequential(
            layer.Conv2d(taken, given, 3, padding=1, bias=bias, step_mode="m"),
            layer.BatchNorm2d(given, step_mode="m"),
            neuron.LIFNode(tau=2.0, step_mode="m"),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (T, B, classes) of frames (T, B, 2, 16, 16)."""
        x = self.pool(self.stem(frames))
        x = x + self.more(self.same(x))
        x = self.kept(self.pool(self.left(x) + self.right(x)))
        return self.head(self.node(self.hidden(self.drop(self.flat(x)))))


def residual(width: int = 8, classes: int = 4) -> nn.Module:
    """Return a residual network of whole numbers."""
    return Residual(width, classes)


class Integrating(nn.Module):
    """Samples first, one step at a time: neurons without a leak, groups, streams side by side, a mean over pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, width, 3, stride=2, padding=1), nn.BatchNorm2d(width)
        self.apart = nn.Conv2d(width, 2 * width, 3, padding=1, groups=4)
        self.each, self.each_norm = nn.Conv2d(width, width, 3, padding=1, groups=width), nn.BatchNorm2d(width)
        self.mix = nn.Linear(3 * width, width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.fires = nn.ModuleList(neuron.IFNode(v_threshold=0.75) for _ in range(4))
        self.classifier = nn.Linear(width, 4)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, 4) of frames (B, T, 2, H, W)."""
        total = torch.zeros(len(frames), self.classifier.in_features)
        for step in range(frames.shape[1]):
            x = self.fires[0](self.pool(self.norm(self.conv(frames[:, step]))))
            both = torch.cat([self.fires[1](self.apart(x)), self.fires[2](self.each_norm(self.each(x)))], 1)
            tokens = self.fires[3](self.mix(both.flatten(2).transpose(1, 2)))
            total = total + tokens.mean(1)
        return self.classifier(total / frames.shape[1])


def integrating(width: int = 8) -> nn.Module:
    """Return a network of neurons without a leak."""
    return Integrating(width)


class Learning(nn.Module):
    """Steps first, multi-step mode: neurons that learned their leaks or leak slowly, spikes added to potentials."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        learned = neuron.ParametricLIFNode
        self.stem, self.stem_norm = layer.Conv2d(2, width, 3, padding=1), layer.BatchNorm2d(width)
        self.each, self.each_norm = layer.Conv2d(width, width, 3, padding=1), layer.BatchNorm2d(width)
        self.mix, self.mix_norm = layer.Conv2d(width, width, 1, bias=False), layer.BatchNorm2d(width)
        self.fires, self.after = learned(init_tau=3.0), learned(init_tau=1.3, decay_input=False)
        self.slow, self.last = neuron.LIFNode(tau=4.0), learned(init_tau=2.5)
        self.pool, self.head = layer.MaxPool2d(2), layer.Linear(width, classes)
        functional.set_step_mode(self, "m")

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (T, B, classes) of frames (T, B, 2, 16, 16)."""
        x = self.fires(self.pool(self.stem_norm(self.stem(frames))))
        potential = x + self.each_norm(self.each(x))
        more = self.slow(self.mix_norm(self.mix(self.after(potential))))
        potential = potential + (more + x)
        return self.head(self.last(potential.mean((3, 4))))


def learning(width: int = 8, classes: int = 4) -> nn.Module:
    """Return a network of learned leaks."""
    return Learning(width, classes)


class Between(nn.Module):
    """Steps first: a layer, neurons, whatever ``between`` does with their spikes, and a linear layer."""

    def __init__(
        self, between: Callable[[Tensor], Tensor], node: nn.Module | None = None, conv: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.between, self.node = between, node or neuron.LIFNode(step_mode="m")
        self.conv = conv or layer.Conv2d(2, 4, 3, padding=1, step_mode="m")
        self.head = nn.Linear(4, 4)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (T, B, 4)."""
        return self.head(self.between(self.node(self.conv(frames))).mean((3, 4)))


class Standardised(layer.Conv2d):
    """A convolution that is none: its weight is made another before every call."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of centred weights."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        found = nn.functional.conv2d(x.flatten(0, 1), weight, self.bias, padding=1)
        return found.unflatten(0, x.shape[:2])


def written_into(x: Tensor) -> Tensor:
    """Return the same by way of another tensor."""
    out = torch.zeros_like(x)
    out[:] = x
    return out


def doubled(module: nn.Module) -> nn.Module:
    """Return a module whose output a hook doubles."""

    def double(_: nn.Module, __: object, found: Tensor) -> Tensor:
        return 2 * found

    module.register_forward_hook(double)
    return module


def conv(**facts: Any) -> nn.Module:
    """Return a first layer in multi-step mode."""
    all_facts: dict[str, Any] = {"kernel_size": 3, "padding": 1, **facts}
    return layer.Conv2d(2, 4, **all_facts, step_mode="m")
