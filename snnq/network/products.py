"""The products inside a spiking attention: of spikes with spikes, without weights, in whole numbers.

Six orders (``channel-gates`` are ``gates`` with N and d exchanged), with Q, K, V spikes of N tokens and d features a
head, B the steps that are mixed at once:

====== ========================== ================ ======================= =========================
order  computes                   operand          its largest entry       largest entry of the end
====== ========================== ================ ======================= =========================
scores (Q Kᵀ) V                   Q Kᵀ, N × N      d                       N · d
keys   Q (Kᵀ V)                   Kᵀ V, d × d      B · N                   B · N · d
sums   Q ⊙ LIF(Σ over N of K ⊙ V) the sum, d       N                       1
gates  LIF(Σ over d of Q) ⊙ K     the sum, N       d                       1
====== ========================== ================ ======================= =========================

``softmax`` is another matter: softmax(Q Kᵀ · c) V of real numbers, between a network that spikes and one that does not.
Nothing of it is whole or skipped; its operand is N × N entries of ``REAL_BITS``, and it is billed as multiplications.

The operand is made anew from the input: it needs ⌈log2(largest + 1)⌉ bits an entry in local memory, where a layer's
weights lie still. Sources: Zhou et al. 2023 (arXiv:2209.15425), Yao et al. 2023 (arXiv:2307.01694), Lee et al. 2025
(arXiv:2409.19764), Zhou et al. 2024 (arXiv:2403.16552).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from snnq.base.strict_json import Json

Order = Literal["scores", "keys", "sums", "gates", "channel-gates", "softmax"]
REAL_BITS = 32
NOTATION: dict[str, str] = {
    "scores": "(QKᵀ)V",
    "keys": "Q(KᵀV)",
    "sums": "Q⊙ΣK⊙V",
    "gates": "ΣQ⊙K",
    "channel-gates": "ΣQ⊙K",
    "softmax": "σ(QKᵀ)V",
}


@dataclass(frozen=True)
class Products:
    """The products of one attention module at path ``name``.

    ``width`` is d, the features of one head; ``chunk`` is B, the steps mixed at once (1: step by step). ``scale`` is
    the constant c, and ``scaled`` what it multiplies, the operand or the end; both None where there is no constant.
    ``value_ratio``: V has so many times the features. ``substeps``: D, where Q, K and V are integer spikes 0 … D: the
    operand's entries are then D² times as large, and the end's D³ times.
    """

    name: str
    order: Order
    heads: int
    tokens: int
    width: int
    steps: int
    chunk: int = 1
    scale: float | None = None
    scaled: Literal["operand", "end"] | None = None
    value_ratio: int = 1
    substeps: int = 1

    @property
    def operand_values(self) -> int:
        """Entries of the operand of one head."""
        keys = self.width**2 * self.value_ratio
        scores = self.tokens**2
        found = {"scores": scores, "softmax": scores, "keys": keys, "sums": self.width, "gates": self.tokens}
        return found.get(self.order, self.width)

    @property
    def operand_largest(self) -> int:
        """The largest whole number that can stand in the operand; the least is 0."""
        most = {"scores": self.width, "keys": self.chunk * self.tokens, "sums": self.tokens, "gates": self.width}
        return most.get(self.order, self.tokens) * self.substeps**2

    @property
    def operand_bits(self) -> int:
        """Bits of an entry of the operand: ⌈log2(largest + 1)⌉."""
        if self.order == "softmax":
            return REAL_BITS
        return self.operand_largest.bit_length()

    @property
    def end_bits(self) -> int:
        """Bits of an entry of what goes to the neuron, before the constant: ⌈log2(largest + 1)⌉."""
        if self.order == "softmax":
            return REAL_BITS
        inner = {"scores": self.tokens, "keys": self.width, "sums": 0}.get(self.order, 0)
        return max(1, inner * self.operand_largest * self.substeps).bit_length()

    @property
    def wait_steps(self) -> int:
        """Time steps that the output of a chunk's first step waits for its last: B − 1."""
        return self.chunk - 1

    @property
    def q_buffer_bits(self) -> int:
        """Bits of Q that are kept until the chunk's operand is whole: B · heads · N · d spikes; 0 step by step."""
        return self.chunk * self.heads * self.tokens * self.width if self.chunk > 1 else 0

    @property
    def multiplications(self) -> int:
        """Products of two numbers per time step and sample, were nothing skipped."""
        second = self.value_ratio  # of the second product, by the first
        scores = (1 + second) * self.tokens
        each = {"scores": scores, "softmax": scores, "keys": 2 * second * self.width, "sums": 2}.get(self.order, 1)
        return self.heads * self.tokens * self.width * each

    @property
    def scalings(self) -> int:
        """Multiplications by c per inference and sample."""
        if self.scaled is None:
            return 0
        if self.scaled == "operand":
            return self.steps // self.chunk * self.heads * self.operand_values
        return self.steps * self.heads * self.tokens * self.width * self.value_ratio

    @property
    def scale_is_shift(self) -> bool:
        """Whether c is a power of two."""
        return self.scale is not None and math.frexp(self.scale)[0] == 0.5

    @property
    def local_bits(self) -> int:
        """Bits written to local memory and read from it again per inference: operands, and Q where it waits."""
        one = self.heads * self.operand_values * self.operand_bits + self.q_buffer_bits
        return self.steps // self.chunk * one

    def to_dict(self) -> Json:
        """Return everything about the products as JSON-ready values."""
        derived = ("operand_values", "operand_largest", "operand_bits", "end_bits", "wait_steps", "q_buffer_bits")
        more = ("multiplications", "scalings", "local_bits")
        return {**asdict(self), **{name: getattr(self, name) for name in (*derived, *more)}}


COLUMNS = ("attention", "computes", "H×N×d", "B", "entries", "bits", "waits", "Q bits")
TITLE = "Inside attention, by head: operand, bits of it; chunk B"


def rows(products: Sequence[Products]) -> list[tuple[str, ...]]:
    """Return one row an attention, for ``COLUMNS``: heads, tokens and width, chunk, the operand, and what waits."""
    return [
        (
            one.name,
            NOTATION[one.order],
            f"{one.heads}×{one.tokens}×{one.width}",
            str(one.chunk),
            f"{one.operand_values:,}",
            str(one.operand_bits),
            str(one.wait_steps),
            f"{one.q_buffer_bits:,}",
        )
        for one in products
    ]
