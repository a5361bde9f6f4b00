"""Spikingformer (Zhou et al. 2023, arXiv:2304.11954): a Spikformer whose residuals are membrane potentials.

A neuron stands in front of every layer but the first, which therefore sees spikes; real numbers run past every pair of
layers and into the head. The upstream layouts differ in the names of the tokenizer's layers, the neurons' time constant
and the order of operations in the attention:

======================= ================================ ==== =====================
layout                  tokenizer                        tau  attention
======================= ================================ ==== =====================
spikingformer-dvs       proj_conv, proj1_conv … (CIFAR10- 1.5 ((Q Kᵀ) V) · 0.125
                        DVS and DVS128 Gesture)
spikingformer-cifar10   block0_conv, block1_conv …        2   ((Q Kᵀ) V) · 0.125
spikingformer-imagenet  proj_conv, proj1_conv …           2   (Q (Kᵀ V)) · 0.125
======================= ================================ ==== =====================
"""

from __future__ import annotations

from torch import Tensor, nn

from snnq.models.attention import SelfAttention, mix_keys_first, mix_scores_then_scale
from snnq.models.neurons import current, halve, initialise, lif, rest
from snnq.models.spikingformer.sizes import SpikingformerConfig


class SpikingformerTokenizer(nn.Module):
    """(T, B, in_channels, H, W) frames → (T, B, dim, h, w) membrane potentials, real numbers.

    Five 3×3 convolutions with BN; before each but the first a neuron and, where ``pooling`` says so of the convolution
    before it, a max-pool of its spikes.
    """

    def __init__(self, config: SpikingformerConfig) -> None:
        super().__init__()
        dim = config.dim
        widths = (config.in_channels, dim // 8, dim // 4, dim // 2, dim, dim)
        self.pooling = config.pooling
        first = "block0" if config.layout == "spikingformer-cifar10" else "proj"
        self.stages = (first, *(f"{first.rstrip('0')}{index}" for index in range(1, 5)))
        for index, stage in enumerate(self.stages):
            if index:
                self.add_module(f"{stage}_lif", lif(tau=config.tau))
            conv = nn.Conv2d(widths[index], widths[index + 1], kernel_size=3, padding=1, bias=False)
            self.add_module(f"{stage}_conv", conv)
            self.add_module(f"{stage}_bn", nn.BatchNorm2d(widths[index + 1]))
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials on their grid."""
        first, *others = self.stages
        x = current(x, self.get_submodule(f"{first}_conv"), self.get_submodule(f"{first}_bn"))
        for stage, pooled in zip(others, self.pooling, strict=True):
            node, conv, norm = (self.get_submodule(f"{stage}_{part}") for part in ("lif", "conv", "bn"))
            x = node(x)
            x = current(halve(x, self.pool) if pooled else x, conv, norm)
        return x


class SpikingformerMlp(nn.Module):
    """Two 1×1 convolutions, each behind a neuron: potentials → what is added to them."""

    def __init__(self, config: SpikingformerConfig) -> None:
        super().__init__()
        for name, inside, outside in (("mlp1", config.dim, config.hidden), ("mlp2", config.hidden, config.dim)):
            self.add_module(f"{name}_lif", lif(tau=config.tau))
            self.add_module(f"{name}_conv", nn.Conv2d(inside, outside, kernel_size=1))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """Return the second layer's output, real numbers."""
        for name in ("mlp1", "mlp2"):
            node, conv, norm = (self.get_submodule(f"{name}_{part}") for part in ("lif", "conv", "bn"))
            x = current(node(x), conv, norm)
        return x


class SpikingformerBlock(nn.Module):
    """An encoder block: attention, then MLP, each added to the membrane potentials."""

    def __init__(self, config: SpikingformerConfig) -> None:
        super().__init__()
        product = mix_keys_first if config.layout == "spikingformer-imagenet" else mix_scores_then_scale
        self.attn = SelfAttention(config.dim, config.heads, first="proj_lif", tau=config.tau, product=product)
        self.mlp = SpikingformerMlp(config)

    def forward(self, potential: Tensor) -> Tensor:
        """Return the potentials after both."""
        potential = potential + self.attn(potential)
        return potential + self.mlp(potential)


class Spikingformer(nn.Module):
    """Tokenizer → blocks → mean of the potentials over tokens and time → linear head.

    Parameters are named as upstream's.
    """

    def __init__(self, config: SpikingformerConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = SpikingformerTokenizer(config)
        self.block = nn.ModuleList(SpikingformerBlock(config) for _ in range(config.depth))
        self.head = nn.Linear(config.dim, config.classes)
        self.apply(initialise)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) of frames (B, T, C, H, W); every call starts from neurons at rest."""
        rest(self)
        x = self.patch_embed(frames.transpose(0, 1))
        for block in self.block:
            x = block(x)
        rest(self)  # frees the voltages' graph, so that the model can be copied after a training step
        return self.head(x.flatten(3).mean(3).mean(0))
