"""How spiking queries, keys and values are mixed: no softmax, small whole numbers, one scale.

Shapes: q, k, v are spikes (T, B, heads, N, d); the result is (T, B, heads, N, d).
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class SpikingAttention(Protocol):
    """What the module of an architecture's attention, one of its ``Products``, must offer.

    ``mix`` takes the spikes that are multiplied, (T, B, heads, N, d) each: q, k and, where there is one, v. It returns
    what goes on from them. The module's forward calls it as an attribute, so that it can be watched. Where the
    architecture has a ``Wiring``, ``mix`` computes (Q Kᵀ V) · ``scale`` in any order, ``scale`` is an attribute that is
    read at every call (in whole numbers it becomes 1), and ``channels_last`` says that its neurons see (T, B, N, C).
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
