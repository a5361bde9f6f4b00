"""Codes of b bits in 32-bit words, the layout of compressed-tensors' ``pack-quantized``.

Since its version 0.18 that library packs 3, 5, 6 and 7 bits more densely; these words stay as they are.

Each word holds 32 // b codes, the first in its lowest bits:

    word = Σ_i code_i · 2^(i·b),   i = 0 … 32//b - 1

Each row starts a new word; what is left over at the end of a row is zero. The words are stored as int32 (the same 32
bits). For b = 3, 5, 6, 7 the top 32 mod b bits of every word are unused.
"""

from __future__ import annotations

import torch
from torch import Tensor

WORD_BITS = 32
MAX_BITS = 8


def codes_per_word(bits: int) -> int:
    """Return how many codes one word holds; raises ValueError for bits outside 1 … 8."""
    if not 1 <= bits <= MAX_BITS:
        raise ValueError(f"codes have 1 to {MAX_BITS} bits, found {bits}")
    return WORD_BITS // bits


def words_per_row(n: int, bits: int) -> int:
    """Return how many words a row of n codes takes."""
    return -(-n // codes_per_word(bits))


def pack_rows(codes: Tensor, bits: int) -> Tensor:
    """Return codes (rows, n), uint8, as words (rows, words), int32.

    Raises ValueError for another dtype or number of dimensions, or a code that does not fit in ``bits`` bits.
    """
    each = codes_per_word(bits)
    if codes.dtype != torch.uint8 or codes.ndim != 2:
        raise ValueError(f"codes are uint8 (rows, n), found {codes.dtype} {tuple(codes.shape)}")
    if codes.numel() and int(codes.max()) >= 2**bits:
        raise ValueError(f"code {int(codes.max())} does not fit in {bits} bits")
    rows, n = codes.shape
    words = words_per_row(n, bits)
    padded = codes.new_zeros((rows, words * each), dtype=torch.int64)
    padded[:, :n] = codes
    # The fields do not overlap, so their sum is their union; int64 keeps the top bit free of a sign.
    word = (padded.view(rows, words, each) << _shifts(bits, codes.device)).sum(2)
    return torch.where(word >= 2**31, word - 2**32, word).to(torch.int32)


def unpack_rows(words: Tensor, bits: int, n: int) -> Tensor:
    """Return the first n codes of every row, (rows, n) uint8, of words (rows, words), int32.

    Raises ValueError for another dtype, or a number of words that is not that of n codes.
    """
    if words.dtype != torch.int32 or words.ndim != 2:
        raise ValueError(f"words are int32 (rows, words), found {words.dtype} {tuple(words.shape)}")
    if words.shape[1] != words_per_row(n, bits):
        raise ValueError(f"{n} codes of {bits} bits take {words_per_row(n, bits)} words, found {words.shape[1]}")
    # The shift of a negative word brings in ones from the left; the mask takes them away.
    fields = (words[:, :, None].to(torch.int64) >> _shifts(bits, words.device)) & (2**bits - 1)
    return fields.flatten(1)[:, :n].to(torch.uint8)


def _shifts(bits: int, device: torch.device) -> Tensor:
    return torch.arange(codes_per_word(bits), device=device) * bits
