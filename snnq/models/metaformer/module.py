"""Meta-SpikeFormer (Yao et al. 2024, arXiv:2404.03663), E-SpikeFormer (2024, arXiv:2411.16061) and QSD-Transformer.

Two stages of convolutions and two of attention; residuals are membrane potentials (real numbers), and a neuron stands
in front of every convolution but the first and, in two layouts, those behind a depth-wise one.

======================= ============================== =========================================== ====================
layout                  neurons                        attention, its q, k, v and projection       convolutions
======================= ============================== =========================================== ====================
sdt-v2-imagenet         LIF; 0.5 behind attention      (Q (Kᵀ V)) · 0.125, a RepConv folded to 3×3  reals behind 7×7
sdt-v2-imagenet-repconv the same                       the same, a RepConv as its four layers       the same
sdt-v3-imagenet         0 … D spikes, no potential     ((Q Kᵀ) V) · 2/√d, 1×1; V four times wider   spikes everywhere
sdt-v3-large-imagenet   the same                       (Q (Kᵀ V)) · 0.125, 1×1, a RepConv of 1×1    spikes everywhere
qsd-imagenet            the same; twice as much        (Q (Kᵀ V)) · 0.25, a RepConv as its layers   reals behind 7×7
                        behind attention
======================= ============================== =========================================== ====================

Upstream's integer neurons put out c/D; here they put out c itself, and the layers behind them have their weights
divided by D (``snnq.models.metaformer.stored``): equal sums, and layers that see whole numbers. sdt-v3-large has three
stages, no ``SepConv``, and a head that sees potentials. Upstream repeats one image T times; here the frames are given.
QSD-Transformer: Qiu et al. 2025 (arXiv:2501.13492).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnq.models.attention import join_heads, mix_keys_first, mix_scores_then_scale, split_heads
from snnq.models.metaformer.repconv import RepConv
from snnq.models.metaformer.sizes import V2, V3, V3_LARGE, VALUES, MetaFormerConfig, attention_scale, rounding
from snnq.models.neurons import IntegerSpikes, current, fire, initialise, lif, rest


def node(config: MetaFormerConfig, threshold: float = 1.0) -> nn.Module:
    """Return a layout's neuron; ``threshold`` is for those that have one."""
    rounds = rounding(config)
    return lif(threshold) if rounds is None else IntegerSpikes(rounds.most, rounds.gain, rounds.half_up)


class SepConv(nn.Module):
    """1×1 convolution → depth-wise → 1×1, neurons in front: potentials → what is added to them, (T, B, C, H, W).

    Twice as many features inside. ``spiking``: a neuron and a norm behind the depth-wise convolution, too.
    """

    def __init__(self, config: MetaFormerConfig, width: int, kernel: int = 7) -> None:
        super().__init__()
        middle, self.spiking = 2 * width, config.layout == V3
        self.lif1, self.lif2 = node(config), node(config)
        self.pwconv1, self.bn1 = nn.Conv2d(width, middle, kernel_size=1, bias=False), nn.BatchNorm2d(middle)
        self.dwconv = nn.Conv2d(middle, middle, kernel, padding=kernel // 2, groups=middle, bias=False)
        if self.spiking:
            self.dwbn, self.lif3 = nn.BatchNorm2d(middle), node(config)
        self.pwconv2, self.bn2 = nn.Conv2d(middle, width, kernel_size=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return what is added to the potentials."""
        x = self.lif2(current(self.lif1(x), self.pwconv1, self.bn1))
        if self.spiking:
            x = self.lif3(current(x, self.dwconv, self.dwbn))
        else:
            x = self.dwconv(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return current(x, self.pwconv2, self.bn2)


class ConvBlock(nn.Module):
    """A ``SepConv``, then two 3×3 convolutions, each added to the potentials (T, B, C, H, W).

    Of sdt-v3-large the two convolutions alone, with biases.
    """

    def __init__(self, config: MetaFormerConfig, width: int) -> None:
        super().__init__()
        hidden, large = config.hidden(width), config.layout == V3_LARGE
        self.Conv = None if large else SepConv(config, width)
        self.lif1, self.conv1 = node(config), nn.Conv2d(width, hidden, kernel_size=3, padding=1, bias=large)
        self.bn1, self.lif2 = nn.BatchNorm2d(hidden), node(config)
        self.conv2, self.bn2 = nn.Conv2d(hidden, width, 3, padding=1, bias=large), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials after both."""
        x = x if self.Conv is None else self.Conv(x) + x
        return x + current(self.lif2(current(self.lif1(x), self.conv1, self.bn1)), self.conv2, self.bn2)


class MetaFormerMlp(nn.Module):
    """Two 1×1 convolutions of tokens, each behind a neuron: potentials → what is added to them, (T, B, C, H, W)."""

    def __init__(self, config: MetaFormerConfig, width: int) -> None:
        super().__init__()
        hidden = config.hidden(width)
        for name, taken, given in (("fc1", width, hidden), ("fc2", hidden, width)):
            self.add_module(f"{name}_lif", node(config))
            self.add_module(f"{name}_conv", nn.Conv1d(taken, given, kernel_size=1))
            self.add_module(f"{name}_bn", nn.BatchNorm1d(given))

    def forward(self, x: Tensor) -> Tensor:
        """Return what is added to the potentials."""
        tokens = x.flatten(3)
        for name in ("fc1", "fc2"):
            spikes, layer, norm = (self.get_submodule(f"{name}_{part}") for part in ("lif", "conv", "bn"))
            tokens = current(spikes(tokens), layer, norm)
        return tokens.view(x.shape)


class MetaFormerAttention(nn.Module):
    """Self-attention: potentials → what is added to them, (T, B, C, H, W); linear in the tokens but for sdt-v3."""

    def __init__(self, config: MetaFormerConfig, width: int) -> None:
        super().__init__()
        assert isinstance(config.heads, int)
        self.heads, self.scale = config.heads, attention_scale(config, width)
        self.product = mix_scores_then_scale if config.layout == V3 else mix_keys_first
        values = VALUES * width if config.layout == V3 else width
        self.head_lif = node(config)
        for name, given in (("q", width), ("k", width), ("v", values)):
            self.add_module(f"{name}_conv", _projection(config, width, given))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(given))
            self.add_module(f"{name}_lif", node(config))
        self.attn_lif = node(config, threshold=0.5)
        self.proj_conv, self.proj_bn = _projection(config, values, width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the projected attention."""
        spikes = self.head_lif(x)
        q, k, v = (split_heads(self._fire(name, spikes), self.heads) for name in ("q", "k", "v"))
        mixed = self.attn_lif(join_heads(self.mix(q, k, v)))
        return current(mixed.unflatten(3, x.shape[3:]), self.proj_conv, self.proj_bn)

    def _fire(self, name: str, spikes: Tensor) -> Tensor:
        return fire(spikes, *(self.get_submodule(f"{name}_{part}") for part in ("conv", "bn", "lif")))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the products · ``scale``, (T, B, heads, N, values/heads), of spikes (T, B, heads, N, …)."""
        return self.product(q, k, v, self.scale)


def _projection(config: MetaFormerConfig, taken: int, given: int) -> nn.Module:
    """Return a layer of the attention."""
    if config.layout == V2:  # RepConv folded: what stays of it is a bias
        return nn.Conv2d(taken, given, kernel_size=3, padding=1)
    if config.layout in (V3, V3_LARGE):  # of the larger one a RepConv, folded
        return nn.Conv2d(taken, given, kernel_size=1, bias=config.layout == V3_LARGE)
    return RepConv(taken, given)


class MetaFormerBlock(nn.Module):
    """Attention, then MLP, each added to the potentials; of sdt-v3 a 3×3 ``SepConv`` before them.

    Of sdt-v3-large, where it is ``mixed``, a neuron and a 1×1 convolution.
    """

    def __init__(self, config: MetaFormerConfig, width: int) -> None:
        super().__init__()
        self.conv = SepConv(config, width, kernel=3) if config.layout == V3 else None
        self.lif, self.rep_conv = (node(config), nn.Conv2d(width, width, 1)) if config.mixed else (None, None)
        self.attn, self.mlp = MetaFormerAttention(config, width), MetaFormerMlp(config, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials after all."""
        if self.conv is not None:
            x = x + self.conv(x)
        if self.lif is not None and self.rep_conv is not None:
            x = x + self.rep_conv(self.lif(x).flatten(0, 1)).view(x.shape)
        x = x + self.attn(x)
        return x + self.mlp(x)


class DownSampling(nn.Module):
    """(Neuron →) strided convolution → norm: (T, B, C, H, W) → potentials on their grid. ``first`` sees the frames."""

    def __init__(
        self, config: MetaFormerConfig, taken: int, given: int, stride: int = 2, *, first: bool = False
    ) -> None:
        super().__init__()
        kernel = 7 if first else 3
        self.encode_lif = None if first else node(config)
        self.encode_conv = nn.Conv2d(taken, given, kernel, stride, padding=kernel // 2)
        self.encode_bn = nn.BatchNorm2d(given)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials."""
        return current(x if self.encode_lif is None else self.encode_lif(x), self.encode_conv, self.encode_bn)


class MetaFormer(nn.Module):
    """Stages of downsampling → blocks, mean over pixels, neuron, linear head on the mean over time.

    The head of sdt-v3-large sees the mean itself and, where it is distilled, its spikes behind it.
    """

    groups = (
        (r"^(downsample|ConvBlock)", "tokenizer"),
        (r"\.(attn|conv)\.|\.rep_conv$", "attention"),  # what mixes tokens, and what stands before it
        (r"\.mlp\.", "mlp"),
        (r"^head$", "head"),
    )

    def __init__(self, config: MetaFormerConfig) -> None:
        super().__init__()
        self.config = config
        width1, width2, width3, dim = config.width1, config.width2, config.width3, config.dim
        self.downsample1_1 = DownSampling(config, config.in_channels, width1 // 2, first=True)
        self.ConvBlock1_1 = nn.ModuleList([ConvBlock(config, width1 // 2)])
        self.downsample1_2 = DownSampling(config, width1 // 2, width1)
        self.ConvBlock1_2 = nn.ModuleList([ConvBlock(config, width1)])
        self.downsample2 = DownSampling(config, width1, width2)
        self.ConvBlock2_1 = nn.ModuleList([ConvBlock(config, width2)])
        self.ConvBlock2_2 = nn.ModuleList([ConvBlock(config, width2)])
        self.downsample3 = DownSampling(config, width2, width3)
        self.block3 = nn.ModuleList(MetaFormerBlock(config, width3) for _ in range(config.blocks[0]))
        large = config.layout == V3_LARGE
        if not large:
            self.downsample4 = DownSampling(config, width3, dim, stride=1)
            self.block4 = nn.ModuleList(MetaFormerBlock(config, dim) for _ in range(config.blocks[1]))
        self.lif = node(config) if config.distilled or not large else None
        self.head = nn.Linear(2 * dim if large and config.distilled else dim, config.classes)
        self.apply(initialise)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) of frames (B, T, C, H, W); every call starts from neurons at rest."""
        rest(self)
        x = frames.transpose(0, 1)
        for stage in self.children():
            if stage in (self.lif, self.head):
                break
            for part in stage if isinstance(stage, nn.ModuleList) else (stage,):
                x = part(x)
        read = x.flatten(3).mean(3)
        if self.lif is not None:
            spikes = self.lif(read)
            read = torch.cat([read, spikes], 2) if self.config.layout == V3_LARGE else spikes
        rest(self)  # frees the voltages' graph, so that the model can be copied after a training step
        return self.head(read.mean(0))
