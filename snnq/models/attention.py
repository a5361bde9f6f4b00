"""How spiking queries, keys and values are mixed: no softmax, small whole numbers, one scale.

Shapes: q, k, v are spikes (T, B, heads, N, d); the result is (T, B, heads, N, d).
"""

from __future__ import annotations

import math

from torch import Tensor


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


def power_of_two(value: float) -> float:
    """Return the power of two that is nearest to ``value`` in its logarithm, so that a scale is a shift."""
    return 2.0 ** round(math.log2(value))


def split_heads(spikes: Tensor, heads: int) -> Tensor:
    """Return (T, B, heads, N, C/heads) of spikes (T, B, C, …)."""
    tokens = spikes.flatten(3).transpose(-1, -2)
    return tokens.unflatten(-1, (heads, -1)).permute(0, 1, 3, 2, 4).contiguous()


def join_heads(mixed: Tensor) -> Tensor:
    """Return (T, B, C, N) of (T, B, heads, N, C/heads)."""
    return mixed.transpose(3, 4).flatten(2, 3).contiguous()
