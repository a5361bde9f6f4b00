"""Codes of the C source as one entropy-coded stream, which the first run decodes into memory.

The symbols are the codes in the order in which C holds them, each layer with one table; the lane is one
(``snnq.schemes.entropy``). What is decoded are exactly the bytes that the source without a stream holds as constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnq.exporting.c_layers import CArray, CHead, CLayer
from snnq.schemes import entropy
from snnq.schemes.entropy import Part


@dataclass(frozen=True)
class CPart:
    """An array of C that holds ``count`` codes of ``bits``, and ``first``: Σ of the frequencies before each symbol."""

    array: str
    count: int
    bits: int
    first: np.ndarray


@dataclass(frozen=True)
class CStream:
    """Everything coded: the parts in their order, the state that decoding begins with, and the words, uint16."""

    parts: tuple[CPart, ...]
    state: int
    words: np.ndarray

    @property
    def rom(self) -> int:
        """Bytes of constants."""
        return 2 * self.words.size + sum(2 * part.first.size for part in self.parts)

    @property
    def ram(self) -> int:
        """Bytes of decoded codes."""
        return sum(part.count * part.bits // 8 for part in self.parts)


def c_stream(layers: Sequence[CLayer], head: CHead) -> CStream:
    """Return the codes of layers and head as a stream."""
    named = [(f"layer{index}_codes", one) for index, one in enumerate(layers)] + [("head_codes", head)]
    parts, coded = [], []
    for name, one in named:
        for array in one.arrays:
            if array.field == "codes":
                part = _part(name, array, one.bits)
                parts.append(part[0])
                coded.append(part[1])
    states, words = entropy.encode(coded, 1)
    return CStream(tuple(parts), int(states[0]), words)


def _part(name: str, array: CArray, bits: int) -> tuple[CPart, Part]:
    each = np.unpackbits(array.values, bitorder="little").reshape(-1, bits)
    symbols = each.astype(np.int64) @ (1 << np.arange(bits))
    frequencies = entropy.fitted(np.bincount(symbols, minlength=1 << bits)).frequencies
    first = np.concatenate([[0], np.cumsum(frequencies)])
    return CPart(name, len(symbols), bits, first), Part(symbols, np.zeros_like(symbols), frequencies[None])
