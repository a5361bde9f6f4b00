"""Prompts in whole numbers: which spikes stand beside an attention's keys and values, the same in every engine.

A pool has M slots, each with a key K_m and a prompt P_m of L rows, and for CODA an attention A_m. The query S is sums
of whole numbers, a mean that was not divided. The weights of the slots are cosines in 12 bits:

    S' = S >> e,  e the least that makes |S'| < 2^16
    a_m = ⌊ 2^12 · Σ S'ᵢ A_mᵢ K_mᵢ / ⌊√(Σ (S'ᵢ A_mᵢ)² · Σ K_mᵢ²)⌋ ⌋,   0 where the root is 0

``weighted``: spike = [Σ_m a_m P_m ≥ Θ], L rows of them. ``selected`` (L2P): the rows [P_m ≥ Θ] of the ``top`` slots
with the largest a_m, of equal ones the first. The first half of the rows are keys, the second half values. A cosine
does not depend on the lengths of its vectors, so keys and attentions are int8 of any scale, and the scale of prompts is
in Θ. Sources: Kim et al. 2024 (arXiv:2402.16189), Smith et al. 2023 (arXiv:2211.13218), Wang et al. 2022
(arXiv:2112.08654); spikes and whole numbers: ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int8, Int64

WEIGHT_BITS, QUERY_BITS = 12, 16
LARGEST = 127  # of an int8 that has its negative
MOST_CHANNELS, MOST_SLOTS = 2**13, 2**15
# Where prompts fire, in their own units: entries of a pool that begins are of deviation 1, and cosines are small.
WEIGHTED, SELECTED = 0.1, 0.5


@dataclass(frozen=True)
class Slots:
    """A pool in whole numbers: ``keys`` int8 (M, C), ``prompts`` int8 (M, L, C), ``attention`` int8 (M, C) or None.

    ``top``: how many are selected; None: all are weighted.
    """

    keys: Int8[np.ndarray, "M C"]
    prompts: Int8[np.ndarray, "M L C"]
    attention: Int8[np.ndarray, "M C"] | None
    threshold: int
    top: int | None = None

    @property
    def rows(self) -> int:
        """Keys that are put beside those of the tokens, and as many values."""
        return self.prompts.shape[1] // 2 * (self.top or 1)


def slots_of(
    keys: Float[np.ndarray, "M C"],
    prompts: Float[np.ndarray, "M L C"],
    attention: Float[np.ndarray, "M C"] | None,
    top: int | None,
    threshold: float,
) -> Slots:
    """Return a pool of floats, shaped as that of ``Slots``, in whole numbers; ``threshold``: θ."""
    unit = max(float(np.abs(prompts).max(initial=0)), np.finfo(np.float32).tiny) / LARGEST
    one = 1 if top is not None else 2**WEIGHT_BITS
    return Slots(
        _by_row(keys),
        np.rint(prompts.astype(np.float64) / unit).astype(np.int8),
        None if attention is None else _by_row(attention),
        int(min(np.rint(threshold / unit * one), 2**40)),
        top,
    )


def _by_row(rows: Float[np.ndarray, "M C"]) -> Int8[np.ndarray, "M C"]:
    """Return rows (M, C), each as int8 of a scale of its own."""
    largest = np.maximum(np.abs(rows.astype(np.float64)).max(1, keepdims=True), np.finfo(np.float32).tiny)
    return np.rint(rows / largest * LARGEST).astype(np.int8)


def weights(slots: Slots, sums: Int64[np.ndarray, "B C"]) -> Int64[np.ndarray, "B M"]:
    """Return a_m, int64 (B, M), of the sums int64 (B, C)."""
    shifted = np.stack([row >> max(0, _bits(row) - QUERY_BITS) for row in np.asarray(sums, np.int64)])
    keys = slots.keys.astype(np.int64)
    attended = np.ones_like(keys) if slots.attention is None else slots.attention.astype(np.int64)
    dots = shifted @ (attended * keys).T
    squares, lengths = shifted**2 @ (attended**2).T, (keys**2).sum(1)
    roots = [
        [math.isqrt(int(square) * int(length)) for square, length in zip(row, lengths, strict=True)] for row in squares
    ]
    under = np.array(roots, np.int64).reshape(dots.shape)
    return np.where(under > 0, (dots << WEIGHT_BITS) // np.maximum(under, 1), 0)


def _bits(row: Int64[np.ndarray, " C"]) -> int:
    return int(np.abs(row).max(initial=0)).bit_length()


def prefix(
    slots: Slots, sums: Int64[np.ndarray, "B C"]
) -> tuple[Bool[np.ndarray, "B rows C"], Bool[np.ndarray, "B rows C"]]:
    """Return the spikes that stand beside keys and values, bool (B, rows, C) each, for the sums int64 (B, C)."""
    found, half = weights(slots, sums), slots.prompts.shape[1] // 2
    prompts = slots.prompts.astype(np.int64)
    if slots.top is None:
        spikes = np.einsum("bm,mlc->blc", found, prompts) >= slots.threshold
        return spikes[:, :half], spikes[:, half:]
    chosen = np.argsort(-found, axis=1, kind="stable")[:, : slots.top]
    spikes = (prompts >= slots.threshold)[chosen]  # (B, top, L, C)
    samples, _, _, channels = spikes.shape
    keys, values = spikes[:, :, :half], spikes[:, :, half:]
    return keys.reshape(samples, -1, channels), values.reshape(samples, -1, channels)
