"""Spiking self-attention as QKFormer (between spikes) and Max-Former (between potentials) have it."""

from __future__ import annotations

from torch import Tensor, nn

from snnq.models.attention import join_heads, mix_keys_first, split_heads
from snnq.models.neurons import current, fire, lif

SCALE = 0.125  # upstream has it in the code, whatever the width of a head


def add_projection(module: nn.Module, name: str, dim: int) -> None:
    """Give ``module`` a bias-free layer → norm → neuron: ``<name>_conv``, ``<name>_bn``, ``<name>_lif``."""
    module.add_module(f"{name}_conv", nn.Conv1d(dim, dim, kernel_size=1, bias=False))
    module.add_module(f"{name}_bn", nn.BatchNorm1d(dim))
    module.add_module(f"{name}_lif", lif())


def project(module: nn.Module, name: str, tokens: Tensor) -> Tensor:
    """Return the spikes of ``add_projection``'s three for (T, B, C, N), same shape."""
    return fire(tokens, *(module.get_submodule(f"{name}_{part}") for part in ("conv", "bn", "lif")))


class SelfAttention(nn.Module):
    """LIF((Q (Kᵀ V)) · 0.125) and its projection, of the same shape (T, B, C, H, W) as its input.

    Spikes or small integers in and spikes out or, with ``membrane``, real potentials in (a neuron stands first) and
    what is added to them out (none stands last).
    """

    def __init__(self, dim: int, heads: int, *, membrane: bool, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.membrane = heads, membrane
        for name in ("q", "k", "v"):
            add_projection(self, name, dim)
        self.attn_lif = lif(threshold=0.5)
        self.proj_conv, self.proj_bn = nn.Conv1d(dim, dim, kernel_size=1, bias=bias), nn.BatchNorm1d(dim)
        self.add_module("x_lif" if membrane else "proj_lif", lif())

    def forward(self, x: Tensor) -> Tensor:
        """Return the projected attention."""
        tokens = (self.get_submodule("x_lif")(x) if self.membrane else x).flatten(3)
        q, k, v = (split_heads(project(self, name, tokens), self.heads) for name in ("q", "k", "v"))
        spikes = self.attn_lif(join_heads(self.mix(q, k, v)))
        found = current(spikes, self.proj_conv, self.proj_bn)
        # QKFormer's code puts (…, W, H) here, which cannot be added to (…, H, W) unless the image is square.
        return (found if self.membrane else self.get_submodule("proj_lif")(found)).view(x.shape)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (Q (Kᵀ V)) · 0.125, (T, B, heads, N, C/heads) as q, k and v are."""
        return mix_keys_first(q, k, v, SCALE)
