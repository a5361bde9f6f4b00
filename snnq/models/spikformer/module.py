"""Spikformer (Zhou et al. 2023, arXiv:2209.15425) over spikingjelly neurons, in each of its four upstream layouts.

The layouts compute the same thing with other layers and another order of operations; to reproduce each bit for bit,
the order is kept:

============ ==================== ================ ========================= ==============================
layout       attention layers     MLP layers       activations in a block    attention
============ ==================== ================ ========================= ==============================
cifar10dvs   Conv1d, q k v free   Conv1d           (T, B, C, N)              ((Q Kᵀ) V) · scale
             of biases
cifar10      Linear               Linear           (T, B, N, C)              ((Q Kᵀ) · scale) V
imagenet     Conv1d, q k v free   Conv2d 1×1       (T, B, C, H, W)           (Q (Kᵀ V)) · scale
             of biases
spikingjelly Conv1d, free of      Conv1d, free of  (T, B, C, N)              (Q (Kᵀ V)) · scale
             biases               biases
============ ==================== ================ ========================= ==============================

``spikingjelly`` is the Spikformer inside SpikingJelly 2 (``spikingjelly.activation_based.model.spikformer``). Its
tokenizer max-pools currents before the neuron, not spikes behind it; its q, k and v are one layer there. It puts out
logits of every step, and their mean is what is put out here.

With ``chunk`` the attention of any of them is STAtten's instead, over so many steps (``snnq.models.attention``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from snnq.models.attention import mix_chunks, mix_keys_first, mix_scaled_scores, mix_scores_then_scale
from snnq.models.neurons import STAGES, add_tokenizer, current, fire, halve, initialise, lif, rest
from snnq.models.reusable import Reusable
from snnq.models.spikformer.sizes import SpikformerConfig


class SpikformerTokenizer(nn.Module):
    """Spiking patch splitting: (T, B, in_channels, H, W) frames → (T, B, dim, h, w) of {0, 1, 2}.

    Four 3×3 convolutions, each conv → BN → LIF and, where ``pooling`` says so, a max-pool, which stands before the LIF
    if ``pools_currents``; then the relative-position convolution, whose spikes are added.
    """

    pool: nn.MaxPool2d
    rpe_conv: nn.Conv2d
    rpe_bn: nn.BatchNorm2d

    def __init__(
        self, in_channels: int, dim: int, pooling: tuple[bool, bool, bool, bool], *, pools_currents: bool = False
    ) -> None:
        super().__init__()
        self.pooling, self.pools_currents = pooling, pools_currents
        add_tokenizer(self, in_channels, dim, lif)
        self.rpe_lif = lif()

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens on their grid."""
        for suffix, pooled in zip(STAGES, self.pooling, strict=True):
            conv, norm, node = (self.get_submodule(f"proj_{part}{suffix}") for part in ("conv", "bn", "lif"))
            x = current(x, conv, norm)
            if self.pools_currents:
                x = node(halve(x, self.pool) if pooled else x)
            else:
                x = halve(node(x), self.pool) if pooled else node(x)
        return x + fire(x, self.rpe_conv, self.rpe_bn, self.rpe_lif)


_PRODUCTS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "cifar10dvs": mix_scores_then_scale,
    "cifar10": mix_scaled_scores,
    "imagenet": mix_keys_first,
    "spikingjelly": mix_keys_first,
}


class SpikingSelfAttention(Reusable):
    """Spiking self-attention: small integers in, spikes out, of the same shape; no softmax."""

    OWN = (*(f"{name}{part}" for name in "qkv" for part in ("", "_bn", "_lif")), "attn_lif")

    def __init__(self, layout: str, dim: int, heads: int, scale: float, chunk: int | None = None) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.product = _PRODUCTS[layout] if chunk is None else partial(mix_chunks, chunk=chunk)
        self.channels_last = layout == "cifar10"
        make = nn.Linear if self.channels_last else partial(nn.Conv1d, kernel_size=1)
        for name in ("q", "k", "v"):
            self.add_module(name, make(dim, dim, bias=self.channels_last))
            self.add_module(f"{name}_bn", nn.BatchNorm1d(dim))
            self.add_module(f"{name}_lif", lif())
        self.attn_lif = lif(threshold=0.5)
        self.proj = make(dim, dim, bias=layout != "spikingjelly")
        self.proj_bn = nn.BatchNorm1d(dim)
        self.proj_lif = lif()

    def attend(self, x: Tensor) -> Tensor:
        """Return the spikes of the attention, as the projection takes them."""
        x = x.flatten(3)  # imagenet keeps its tokens on a grid between the blocks
        q, k, v = (self._heads_of(name, x) for name in ("q", "k", "v"))
        mixed = self.mix(q, k, v)
        mixed = mixed.transpose(2, 3) if self.channels_last else mixed.transpose(3, 4)
        return self.attn_lif(mixed.reshape(x.shape).contiguous())

    def finish(self, spikes: Tensor, x: Tensor) -> Tensor:
        """Return the spikes of the projected attention."""
        found = fire(spikes, self.proj, self.proj_bn, self.proj_lif, channels_last=self.channels_last)
        return found.reshape(x.shape)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (Q Kᵀ V) · scale in the layout's order, (T, B, heads, N, C/heads) as q, k and v are."""
        return self.product(q, k, v, self.scale)

    def _heads_of(self, name: str, x: Tensor) -> Tensor:
        """Return the spikes of q, k or v as (T, B, heads, N, C/heads)."""
        parts = (self.get_submodule(part) for part in (name, f"{name}_bn", f"{name}_lif"))
        spikes = fire(x, *parts, channels_last=self.channels_last)
        tokens = spikes if self.channels_last else spikes.transpose(-1, -2)
        return tokens.unflatten(-1, (self.heads, -1)).permute(0, 1, 3, 2, 4).contiguous()


class SpikformerMlp(nn.Module):
    """Two layers, each layer → BN → LIF: small integers in, spikes out, of the same shape."""

    def __init__(self, layout: str, dim: int, hidden: int) -> None:
        super().__init__()
        self.channels_last = layout == "cifar10"
        make = {
            "cifar10dvs": partial(nn.Conv1d, kernel_size=1),
            "cifar10": nn.Linear,
            "imagenet": partial(nn.Conv2d, kernel_size=1),
            "spikingjelly": partial(nn.Conv1d, kernel_size=1, bias=False),
        }[layout]
        norm = nn.BatchNorm2d if layout == "imagenet" else nn.BatchNorm1d
        self.fc1, self.fc1_bn, self.fc1_lif = make(dim, hidden), norm(hidden), lif()
        self.fc2, self.fc2_bn, self.fc2_lif = make(hidden, dim), norm(dim), lif()

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of the second layer."""
        x = fire(x, self.fc1, self.fc1_bn, self.fc1_lif, channels_last=self.channels_last)
        return fire(x, self.fc2, self.fc2_bn, self.fc2_lif, channels_last=self.channels_last)


class SpikformerBlock(nn.Module):
    """An encoder block: attention, then MLP, each added to its input (so integers grow by up to 2 a block)."""

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.attn = SpikingSelfAttention(config.layout, config.dim, config.heads, config.attention_scale, config.chunk)
        self.mlp = SpikformerMlp(config.layout, config.dim, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens after both residual additions."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class Spikformer(nn.Module):
    """Tokenizer → blocks → mean over tokens and time → linear head.

    Parameters are named as upstream's, without the suffix ``_conv``/``_linear`` inside the blocks; SpikingJelly's are
    named alike (``checkpoints.keymaps``).
    """

    def __init__(self, config: SpikformerConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = SpikformerTokenizer(
            config.in_channels, config.dim, config.pooling, pools_currents=config.layout == "spikingjelly"
        )
        self.block = nn.ModuleList(SpikformerBlock(config) for _ in range(config.depth))
        self.head = nn.Linear(config.dim, config.classes)
        self.apply(initialise)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes) of event frames (B, T, C, H, W); every call starts from neurons at rest."""
        rest(self)
        x = self.patch_embed(frames.transpose(0, 1))
        if self.config.layout in ("cifar10dvs", "spikingjelly"):
            x = x.flatten(3)
        elif self.config.layout == "cifar10":
            x = x.flatten(3).transpose(-1, -2)
        for block in self.block:
            x = block(x)
        features = x.mean(2) if self.config.layout == "cifar10" else x.flatten(3).mean(3)
        rest(self)  # frees the voltages' graph, so that the model can be copied after a training step
        return self.head(features.mean(0))
