"""Spike-Driven Transformer v1 (Yao et al. 2023, arXiv:2307.01694) and STAtten (Lee et al. 2025, arXiv:2409.19764).

Both have the same parameters: a membrane shortcut (real numbers) runs past every pair of layers, and a neuron stands
in front of every layer, which therefore sees spikes. They differ in the attention, and each in a variant for event
data (``-dvs``) that max-pools, 3×3 with stride 1:

=============== ============================================= ===========================================
layout          mixes                                         max-pooled
=============== ============================================= ===========================================
sdt-static      Q ⊙ LIF(Σ over tokens of K ⊙ V)               nothing
sdt-dvs         the same                                      K, V on the grid; K ⊙ V and the product as
                                                              matrices of (tokens, channels of a head)
statten-static  LIF(Q (Kᵀ V · c)) over ``chunk`` steps        nothing
statten-dvs     the same, times the shortcut spikes, plus     Q, K, V and the shortcut spikes on the grid
                them: so its projection sees {0, 1, 2}
=============== ============================================= ===========================================

``sdt-spikingjelly`` is the one inside SpikingJelly 2 (its ``activation_based.model.spike_driven_transformer``):
``sdt-static`` with biases in the four convolutions of the tokenizer.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from snnq.models.attention import join_heads, mix_chunks, split_heads
from snnq.models.neurons import STAGES, MembraneMlp, Neuron, add_tokenizer, current, halve, initialise, lif, plif, rest
from snnq.models.reusable import Reusable
from snnq.models.sdt.sizes import SDTConfig


class MembraneTokenizer(nn.Module):
    """(T, B, in_channels, H, W) frames → (T, B, dim, h, w) membrane potentials, real numbers.

    Four 3×3 convolutions with BN, a neuron and a max-pool (where ``pooling`` says so) behind each of the first three;
    the fourth is pooled first, and the relative-position convolution of its spikes is added to it.
    """

    pool: nn.MaxPool2d
    rpe_conv: nn.Conv2d
    rpe_bn: nn.BatchNorm2d

    def __init__(
        self, in_channels: int, dim: int, pooling: tuple[bool, bool, bool, bool], node: Neuron, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.pooling = pooling
        add_tokenizer(self, in_channels, dim, node, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials on their grid."""
        for suffix, pooled in zip(STAGES, self.pooling, strict=True):
            conv, norm, node = (self.get_submodule(f"proj_{part}{suffix}") for part in ("conv", "bn", "lif"))
            potential = current(x, conv, norm)
            if suffix == STAGES[-1] and pooled:
                potential = halve(potential, self.pool)
            x = node(potential)
            if suffix != STAGES[-1] and pooled:
                x = halve(x, self.pool)
        return current(x, self.rpe_conv, self.rpe_bn) + potential  # pyright: ignore[reportPossiblyUnboundVariable]


class SpikeDrivenAttention(Reusable):
    """Spike-driven or spatial-temporal attention: potentials (T, B, C, H, W) → what is added to them."""

    OWN = ("shortcut_lif", *(f"{name}{part}" for name in "qkv" for part in ("", "_bn", "_lif")), "attn_lif", "pool")

    def __init__(self, config: SDTConfig, node: Neuron) -> None:
        super().__init__()
        self.heads, self.dvs, self.chunk, self.scale = config.heads, config.dvs, config.chunk, config.attention_scale
        self.shortcut_lif = node()
        for name in ("q", "k", "v"):
            self.add_module(name, nn.Conv2d(config.dim, config.dim, kernel_size=1, bias=False))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(config.dim))
            self.add_module(f"{name}_lif", node())
        self.add_module("talking_heads_lif" if self.chunk is None else "attn_lif", node(threshold=0.5))
        self.pool = nn.MaxPool3d(kernel_size=(1, 3, 3), stride=1, padding=(0, 1, 1))
        self.proj = nn.Conv2d(config.dim, config.dim, kernel_size=1)
        self.proj_bn = nn.BatchNorm2d(config.dim)

    def attend(self, x: Tensor) -> Tensor:
        """Return what the projection is given."""
        x = self.shortcut_lif(x)
        q, k, v = (self._spikes_of(name, x) for name in ("q", "k", "v"))
        mixed = self.mix(q, k, v).view(x.shape)
        if self.dvs and self.chunk is not None:
            kept = self.pool(x)
            mixed = mixed * kept + kept
        return mixed

    def finish(self, spikes: Tensor, x: Tensor) -> Tensor:
        """Return the projected attention, real numbers."""
        return current(spikes, self.proj, self.proj_bn)

    def reuse_spikes_of(self, other: Reusable) -> None:
        """Do so, unless the attention has no matrices, or puts out sums; then ``ValueError`` is raised."""
        if self.chunk is None:
            raise ValueError("it multiplies no matrices, so there is nothing to save")
        if self.dvs:
            raise ValueError("its projection takes sums of spikes")
        super().reuse_spikes_of(other)

    def _spikes_of(self, name: str, x: Tensor) -> Tensor:
        """Return the spikes of q, k or v as (T, B, heads, N, C/heads)."""
        spikes = self.get_submodule(f"{name}_lif")(
            current(x, self.get_submodule(name), self.get_submodule(f"{name}_bn"))
        )
        if self.dvs and (name != "q" or self.chunk is not None):
            spikes = self.pool(spikes)
        return split_heads(spikes, self.heads)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the spikes (T, B, C, N) that the attention makes of q, k, v (T, B, heads, N, C/heads)."""
        return self._summed(q, k, v) if self.chunk is None else self._chunked(q, k, v, self.chunk)

    def _summed(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return Q ⊙ LIF(Σ over tokens of K ⊙ V) as (T, B, C, N): the sum is one neuron's current a channel."""
        mixed = q * self.get_submodule("talking_heads_lif")(self.shared(k, v).sum(dim=-2, keepdim=True))
        return join_heads(self.pool(mixed) if self.dvs else mixed)

    def shared(self, k: Tensor, v: Tensor) -> Tensor:
        """Return K ⊙ V, of the same shape, max-pooled in the variant for event data."""
        return self.pool(k * v) if self.dvs else k * v

    def _chunked(self, q: Tensor, k: Tensor, v: Tensor, chunk: int) -> Tensor:
        """Return LIF(Q (Kᵀ V · c)) as (T, B, C, N)."""
        return self.get_submodule("attn_lif")(join_heads(mix_chunks(q, k, v, self.scale or 1.0, chunk)))


class SDTBlock(nn.Module):
    """An encoder block: attention, then MLP, each added to the membrane shortcut."""

    def __init__(self, config: SDTConfig, node: Neuron, late: Neuron) -> None:
        super().__init__()
        self.attn = SpikeDrivenAttention(config, node)
        self.mlp = MembraneMlp(config.dim, config.hidden, node=late)

    def forward(self, potential: Tensor) -> Tensor:
        """Return the potentials after both."""
        return self.mlp(potential + self.attn(potential))


class SpikeDrivenTransformer(nn.Module):
    """Tokenizer → blocks → mean over tokens → neuron → linear head on the mean over time.

    Parameters are named as upstream's, without the suffix ``_conv`` inside the blocks.
    """

    def __init__(self, config: SDTConfig) -> None:
        super().__init__()
        self.config = config
        node = plif if config.neuron == "plif" else lif
        late = lif if config.neuron == "lif" else plif
        self.patch_embed = MembraneTokenizer(
            config.in_channels, config.dim, config.pooling, node, bias=config.layout == "sdt-spikingjelly"
        )
        self.block = nn.ModuleList(SDTBlock(config, node, late) for _ in range(config.depth))
        self.head_lif = late()
        self.head = nn.Linear(config.dim, config.classes)
        self.apply(partial(initialise, kind=nn.Conv2d))

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) of frames (B, T, C, H, W); every call starts from neurons at rest."""
        rest(self)
        x = self.patch_embed(frames.transpose(0, 1))
        for block in self.block:
            x = block(x)
        spikes = self.head_lif(x.flatten(3).mean(3))
        rest(self)  # frees the voltages' graph, so that the model can be copied after a training step
        return self.head(spikes.mean(0))
