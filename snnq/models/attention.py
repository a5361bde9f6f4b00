"""How spiking queries, keys and values are mixed: no softmax, small whole numbers, one scale.

Shapes: q, k, v are spikes (T, B, heads, N, d); the result is (T, B, heads, N, d).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from snnq.models.neurons import current, fire, lif
from snnq.models.reusable import Reusable

SCALE = 0.125  # upstream has it in the code, whatever the width of a head


class SpikingAttention(Protocol):
    """What the module of an architecture's attention, one of its ``Products``, must offer.

    ``mix`` takes the spikes that are multiplied, (T, B, heads, N, d) each: q, k and, where there is one, v. It returns
    what goes on from them. The module's forward calls it as an attribute, so that it can be watched. Where the graph
    has an ``Attention``, ``mix`` computes (Q Kᵀ) V · ``scale`` in any order, ``scale`` is an attribute that is read at
    every call (in whole numbers it becomes 1), and ``channels_last`` says that its neurons see (T, B, N, C).
    Of the order ``sums`` it is a ``SummingAttention``.
    """

    def mix(self, *spikes: Tensor) -> Tensor: ...  # noqa: D102


class SummingAttention(SpikingAttention, Protocol):
    """One of the order ``sums``: ``shared`` returns K ⊙ V as it is summed."""

    def shared(self, k: Tensor, v: Tensor) -> Tensor: ...  # noqa: D102


def mix_scores_then_scale(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Return ((Q Kᵀ) V) · scale, step by step."""
    return ((q @ k.transpose(-2, -1)) @ v) * scale


def mix_scaled_scores(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Return ((Q Kᵀ) · scale) V, step by step."""
    return ((q @ k.transpose(-2, -1)) * scale) @ v


def mix_keys_first(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Return (Q (Kᵀ V)) · scale, step by step."""
    return (q @ (k.transpose(-2, -1) @ v)) * scale


def mix_chunks(q: Tensor, k: Tensor, v: Tensor, scale: float, chunk: int) -> Tensor:
    """Return Q (Kᵀ V · scale), where Kᵀ V is summed over ``chunk`` consecutive steps.

    Every step of a chunk sees the keys and values of all its steps, so nothing can be put out before the chunk's last
    step; the entries of Kᵀ V are whole numbers from 0 to chunk · N. No parameter. ``chunk`` divides T. Source: STAtten
    (Lee et al. 2025, arXiv:2409.19764).
    """
    steps, batch, heads, tokens, width = q.shape
    # (T/chunk, B, heads, chunk · N, d): the steps of a chunk lie behind one another as more tokens.
    q, k, v = (
        part.view(steps // chunk, chunk, batch, heads, tokens, width).permute(0, 2, 3, 1, 4, 5).flatten(3, 4)
        for part in (q, k, v)
    )
    mixed = q @ ((k.transpose(-2, -1) @ v) * scale)
    return mixed.unflatten(3, (chunk, tokens)).permute(0, 3, 1, 2, 4, 5).reshape(steps, batch, heads, tokens, width)


def split_heads(spikes: Tensor, heads: int) -> Tensor:
    """Return (T, B, heads, N, C/heads) of spikes (T, B, C, …)."""
    tokens = spikes.flatten(3).transpose(-1, -2)
    return tokens.unflatten(-1, (heads, -1)).permute(0, 1, 3, 2, 4).contiguous()


def join_heads(mixed: Tensor) -> Tensor:
    """Return (T, B, C, N) of (T, B, heads, N, C/heads)."""
    return mixed.transpose(3, 4).flatten(2, 3).contiguous()


def add_projection(module: nn.Module, name: str, dim: int, tau: float = 2.0) -> None:
    """Give ``module`` a bias-free layer → norm → neuron: ``<name>_conv``, ``<name>_bn``, ``<name>_lif``."""
    module.add_module(f"{name}_conv", nn.Conv1d(dim, dim, kernel_size=1, bias=False))
    module.add_module(f"{name}_bn", nn.BatchNorm1d(dim))
    module.add_module(f"{name}_lif", lif(tau=tau))


def project(module: nn.Module, name: str, tokens: Tensor) -> Tensor:
    """Return the spikes of ``add_projection``'s three for (T, B, C, N), same shape."""
    return fire(tokens, *(module.get_submodule(f"{name}_{part}") for part in ("conv", "bn", "lif")))


_PROJECTED = tuple(f"{name}_{part}" for name in "qkv" for part in ("conv", "bn", "lif"))


class SelfAttention(Reusable):
    """LIF((Q (Kᵀ V)) · 0.125) and its projection, of the same shape (T, B, C, H, W) as its input.

    QKFormer has it between spikes, Max-Former and Spikingformer between potentials.

    Spikes or small integers in and spikes out or, with ``first``, the name of a neuron that stands first, real
    potentials in and what is added to them out (no neuron stands last). ``product`` multiplies in its own order.
    """

    OWN = (*_PROJECTED, "attn_lif")
    PROJECTION = "proj_conv"

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
        self.heads, self.first, self.product, self.scale = heads, first, product, SCALE
        for name in ("q", "k", "v"):
            add_projection(self, name, dim, tau)
        self.attn_lif = lif(threshold=0.5, tau=tau)
        self.proj_conv, self.proj_bn = nn.Conv1d(dim, dim, kernel_size=1, bias=bias), nn.BatchNorm1d(dim)
        self.add_module(first or "proj_lif", lif(tau=tau))
        self.OWN = (*self.OWN, *([first] if first else ()))  # pyright: ignore[reportAttributeAccessIssue]

    def attend(self, x: Tensor) -> Tensor:
        """Return the spikes of the attention, (T, B, C, N)."""
        tokens = (self.get_submodule(self.first)(x) if self.first else x).flatten(3)
        q, k, v = (split_heads(project(self, name, tokens), self.heads) for name in ("q", "k", "v"))
        return self.attn_lif(join_heads(self.mix(q, k, v)))

    def finish(self, spikes: Tensor, x: Tensor) -> Tensor:
        """Return the projected attention."""
        found = current(spikes, self.proj_conv, self.proj_bn)
        # QKFormer's code puts (…, W, H) here, which cannot be added to (…, H, W) unless the image is square.
        return (found if self.first else self.get_submodule("proj_lif")(found)).view(x.shape)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return (Q (Kᵀ V)) · 0.125, (T, B, heads, N, C/heads) as q, k and v are."""
        return self.product(q, k, v, self.scale)
