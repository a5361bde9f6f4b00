"""Spiking self-attention as QKFormer (between spikes), Max-Former and Spikingformer (between potentials) have it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from snnq.models.attention import join_heads, mix_keys_first, split_heads
from snnq.models.neurons import current, fire, lif

SCALE = 0.125  # upstream has it in the code, whatever the width of a head


def add_projection(module: nn.Module, name: str, dim: int, tau: float = 2.0) -> None:
    """Give ``module`` a bias-free layer → norm → neuron: ``<name>_conv``, ``<name>_bn``, ``<name>_lif``."""
    module.add_module(f"{name}_conv", nn.Conv1d(dim, dim, kernel_size=1, bias=False))
    module.add_module(f"{name}_bn", nn.BatchNorm1d(dim))
    module.add_module(f"{name}_lif", lif(tau=tau))


def project(module: nn.Module, name: str, tokens: Tensor) -> Tensor:
    """Return the spikes of ``add_projection``'s three for (T, B, C, N), same shape."""
    return fire(tokens, *(module.get_submodule(f"{name}_{part}") for part in ("conv", "bn", "lif")))


class SelfAttention(nn.Module):
    """LIF((Q (Kᵀ V)) · 0.125) and its projection, of the same shape (T, B, C, H, W) as its input.

    Spikes or small integers in and spikes out or, with ``first``, the name of a neuron that stands first, real
    potentials in and what is added to them out (no neuron stands last). ``product`` multiplies in its own order.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        first: str | None,
        bias: bool = True,
        tau: float = 2.0,
        product: Callable[[Tensor, Tensor, Tensor, float], Tensor] = mix_keys_first,
    ) -> None:
        super().__init__()
        self.heads, self.first, self.product = heads, first, product
        for name in ("q", "k", "v"):
            add_projection(self, name, dim, tau)
        self.attn_lif = lif(threshold=0.5, tau=tau)
        self.proj_conv, self.proj_bn = nn.Conv1d(dim, dim, kernel_size=1, bias=bias), nn.BatchNorm1d(dim)
        self.add_module(first or "proj_lif", lif(tau=tau))

    def forward(self, x: Tensor) -> Tensor:
        """Return the projected attention."""
        tokens = (self.get_submodule(self.first)(x) if self.first else x).flatten(3)
        q, k, v = (split_heads(project(self, name, tokens), self.heads) for name in ("q", "k", "v"))
        found = current(self.attn_lif(join_heads(self.mix(q, k, v))), self.proj_conv, self.proj_bn)
        # QKFormer's code puts (…, W, H) here, which cannot be added to (…, H, W) unless the image is square.
        return (found if self.first else self.get_submodule("proj_lif")(found)).view(x.shape)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (Q (Kᵀ V)) · 0.125, (T, B, heads, N, C/heads) as q, k and v are."""
        return self.product(q, k, v, SCALE)
