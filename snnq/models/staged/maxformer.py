"""Max-Former (Fang et al. 2025, arXiv:2505.18608): depth-wise convolutions mix the early stages, attention the last.

As in the Spike-Driven Transformer, a membrane shortcut (real numbers) runs past every pair of layers and a neuron
stands in front of every layer, which therefore sees spikes. Embeddings max-pool potentials.

================== ======= ================================================= ========================================
layout             stages  first embedding                                   mixers before the last stage
================== ======= ================================================= ========================================
maxformer-event    2       4 convolutions, 3 halvings; 1×1 shortcut          3×3 depth-wise
maxformer-cifar10  3       2 convolutions; 1×1 shortcut behind a neuron      none; 3×3 depth-wise
maxformer-imagenet 3       3 convolutions, 2 of stride 2; 1×1 shortcut       7×7 (named ``conv5``); 5×5 depth-wise
================== ======= ================================================= ========================================

``maxformer-spikingjelly`` is the Max-Former inside SpikingJelly 2 (``spikingjelly.activation_based.model.maxformer``),
of the form for ImageNet: its embeddings have biases, and its attention is QKFormer's, between spikes: queries, keys
and values see the potentials themselves. With ``cifar=True`` it is ``maxformer-cifar10`` under other names.

Upstream's code runs images whose sides halve without a rest; here others do too, halved up. For ImageNet it takes the
mean over time behind the head instead of before it, which is the same but for rounding.
"""

from __future__ import annotations

from torch import Tensor, nn

from snnq.models.attention import SelfAttention
from snnq.models.neurons import MembraneMlp, current, halve, initialise, lif, rest
from snnq.models.staged.plans import MIXERS
from snnq.models.staged.sizes import StagedConfig
from snnq.models.staged.stages import add_stages, through_stages


class Embed(nn.Module):
    """Neuron (unless spikes come in: ``spiking``) → convolution → BN (→ halving max-pool), for (T, B, C, H, W)."""

    def __init__(
        self,
        taken: int,
        given: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        spiking: bool = False,
        pooled: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.embed_lif = nn.Identity() if spiking else lif()
        self.embed_conv = nn.Conv2d(taken, given, kernel, stride, padding=kernel // 2, bias=bias)
        self.embed_bn = nn.BatchNorm2d(given)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if pooled else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the potentials, and the spikes that the convolution saw."""
        spikes = self.embed_lif(x)
        found = current(spikes, self.embed_conv, self.embed_bn)
        return (found if self.pool is None else halve(found, self.pool)), spikes


class EventEmbedding(nn.Module):
    """Frames → potentials of ``width`` features on an eighth of the grid; the shortcut leaves at half of it."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.proj_conv = nn.Conv2d(in_channels, width // 8, kernel_size=3, padding=1, bias=False)
        self.proj_bn = nn.BatchNorm2d(width // 8)
        self.max_embed1 = Embed(width // 8, width // 4, pooled=True)
        self.max_embed2 = Embed(width // 4, width // 2, pooled=True)
        self.max_embed3 = Embed(width // 2, width, pooled=True)
        self.embed1 = Embed(width // 4, width, kernel=1, stride=4, spiking=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials on their grid."""
        x, _ = self.max_embed1(current(x, self.proj_conv, self.proj_bn))
        x, spikes = self.max_embed2(x)
        return self.max_embed3(x)[0] + self.embed1(spikes)[0]


class ImageEmbedding(nn.Module):
    """Frames → potentials of ``width`` features on the same grid."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.proj_conv = nn.Conv2d(in_channels, width // 2, kernel_size=3, padding=1, bias=False)
        self.proj_bn = nn.BatchNorm2d(width // 2)
        self.embed1 = Embed(width // 2, width)
        self.embed2 = Embed(width // 2, width, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials on their grid."""
        x = current(x, self.proj_conv, self.proj_bn)
        return self.embed1(x)[0] + self.embed2(x)[0]


class StridedEmbedding(nn.Module):
    """Frames → potentials of ``width`` features on a quarter of the grid; the shortcut leaves at half of it."""

    def __init__(self, in_channels: int, width: int, bias: bool = False) -> None:
        super().__init__()
        # The first sees the frames themselves.
        self.embed1 = Embed(in_channels, width // 2, stride=2, spiking=True, bias=bias)
        self.embed2 = Embed(width // 2, width, stride=2, bias=bias)
        self.embed3 = Embed(width, width, bias=bias)
        self.embed4 = Embed(width // 2, width, kernel=1, stride=2, spiking=True, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials on their grid."""
        x, spikes = self.embed2(self.embed1(x)[0])
        return self.embed3(x)[0] + self.embed4(spikes)[0]


class HalvingEmbedding(nn.Module):
    """Potentials → potentials of ``width`` features on half of the grid; the shortcut is max-pooled too."""

    def __init__(self, taken: int, width: int, bias: bool = False) -> None:
        super().__init__()
        self.max_embed1 = Embed(taken, width, pooled=True, bias=bias)
        self.embed1 = Embed(width, width, bias=bias)
        self.max_embed2 = Embed(taken, width, kernel=1, spiking=True, pooled=True, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials on their grid."""
        x, spikes = self.max_embed1(x)
        return self.embed1(x)[0] + self.max_embed2(spikes)[0]


class DepthwiseMixer(nn.Module):
    """Neuron → convolution of every feature by itself → BN: potentials → what is added to them, same shape.

    The weight is (width, 1, kernel, kernel); its parts are called ``name``, ``<name>_bn`` and ``<name>_neuron``.
    """

    def __init__(self, width: int, kernel: int, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width))
        self.add_module(f"{name}_bn", nn.BatchNorm2d(width))
        self.add_module(f"{name}_neuron", lif())

    def forward(self, potential: Tensor) -> Tensor:
        """Return what is added to the potentials."""
        spikes = self.get_submodule(f"{self.name}_neuron")(potential)
        return current(spikes, self.get_submodule(self.name), self.get_submodule(f"{self.name}_bn"))


class MaxFormerBlock(nn.Module):
    """A mixer of tokens (``name`` says what it is called; None where there is none), then the MLP.

    What a mixer of spikes adds to the potentials goes through ``raised``.
    """

    def __init__(self, mixer: nn.Module | None, name: str, mlp: nn.Module) -> None:
        super().__init__()
        self.name = name if mixer is not None else None
        if mixer is not None:
            self.add_module(name, mixer)
        self.raised = nn.Identity()
        self.mlp = mlp

    def forward(self, potential: Tensor) -> Tensor:
        """Return the potentials after both."""
        if self.name is not None:
            potential = self.raised(self.get_submodule(self.name)(potential)) + potential
        return self.mlp(potential)


_FIRST = {"event": EventEmbedding, "cifar10": ImageEmbedding, "imagenet": StridedEmbedding}


class MaxFormer(nn.Module):
    """Stages of embedding → blocks, mean over tokens, neuron, linear head on the mean over time.

    Parameters are named as upstream's.
    """

    groups = (
        (r"^patch_embed\d\.", "tokenizer"),
        (r"\.(attn|mixer)\.", "attention"),  # whatever mixes tokens
        (r"\.mlp\.", "mlp"),
        (r"^head$", "head"),
    )

    def __init__(self, config: StagedConfig) -> None:
        super().__init__()
        self.config = config
        bias = (True,) if config.spikingjelly else ()
        first = _FIRST[config.data]
        add_stages(
            self,
            config,
            lambda stage, taken, width: (HalvingEmbedding if stage else first)(taken, width, *bias),
            lambda stage, width: _block(config, stage, width),
        )
        self.head_lif = lif()
        self.head = nn.Linear(config.dim, config.classes)
        self.apply(initialise)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) of frames (B, T, C, H, W); every call starts from neurons at rest."""
        rest(self)
        x = through_stages(self, len(self.config.blocks), frames.transpose(0, 1))
        spikes = self.head_lif(x.flatten(3).mean(3))
        rest(self)  # frees the voltages' graph, so that the model can be copied after a training step
        return self.head(spikes.mean(0))


def _block(config: StagedConfig, stage: int, width: int) -> MaxFormerBlock:
    mlp, early = MembraneMlp(width, config.hidden(width), suffix="_conv"), MIXERS[config.data]
    if stage == len(early):
        theirs = config.spikingjelly
        attention = SelfAttention(width, config.stage_heads[stage], first=None if theirs else "x_lif", bias=not theirs)
        return MaxFormerBlock(attention, "attn", mlp)
    mixer = early[stage]
    return MaxFormerBlock(None if mixer is None else DepthwiseMixer(width, *mixer), "mixer", mlp)
