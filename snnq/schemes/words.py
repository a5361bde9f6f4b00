"""How codes and parameters lie on disk, in numpy: codes of b bits in 32-bit words, parameters as small integers.

The words have the layout of compressed-tensors' ``pack-quantized``. Since its version 0.18 that library packs 3, 5, 6
and 7 bits more densely; these words stay as they are. Each word holds 32 // b codes, the first in its lowest bits:

    word = Σ_i code_i · 2^(i·b),   i = 0 … 32//b - 1

Each row starts a new word; what is left over at the end of a row is zero. The words are stored as int32 (the same 32
bits). For b = 3, 5, 6, 7 the top 32 mod b bits of every word are unused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from snnq.base.errors import VerificationError

if TYPE_CHECKING:
    from jaxtyping import Int, Int32, Num, UInt8, UInt32

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


def word_bits(shape: Sequence[int], bits: int) -> int:
    """Return the bits of all words of a weight (out, …), padding included."""
    return shape[0] * words_per_row(math.prod(shape[1:]), bits) * WORD_BITS


def pack_rows(codes: np.ndarray, bits: int) -> Int32[np.ndarray, "rows words"]:
    """Return codes (rows, n), uint8, as words (rows, words), int32.

    Raises ValueError for another dtype or number of dimensions, or a code that does not fit in ``bits`` bits.
    """
    each = codes_per_word(bits)
    if codes.dtype != np.uint8 or codes.ndim != 2:
        raise ValueError(f"codes are uint8 (rows, n), found {codes.dtype} {codes.shape}")
    if codes.size and int(codes.max()) >= 2**bits:
        raise ValueError(f"code {int(codes.max())} does not fit in {bits} bits")
    rows, n = codes.shape
    words = words_per_row(n, bits)
    fields = np.zeros((rows, words * each), np.uint32)
    fields[:, :n] = codes
    return np.bitwise_or.reduce(fields.reshape(rows, words, each) << _shifts(bits), axis=2).view(np.int32)


def unpack_rows(words: np.ndarray, bits: int, n: int) -> UInt8[np.ndarray, "rows {n}"]:
    """Return the first n codes of every row, (rows, n) uint8, of words (rows, words), int32.

    Raises ValueError for another dtype, or a number of words that is not that of n codes.
    """
    if words.dtype != np.int32 or words.ndim != 2:
        raise ValueError(f"words are int32 (rows, words), found {words.dtype} {words.shape}")
    if words.shape[1] != words_per_row(n, bits):
        raise ValueError(f"{n} codes of {bits} bits take {words_per_row(n, bits)} words, found {words.shape[1]}")
    fields = (words.view(np.uint32)[:, :, None] >> _shifts(bits)) & np.uint32(2**bits - 1)
    return fields.reshape(len(words), -1)[:, :n].astype(np.uint8)


def _shifts(bits: int) -> UInt32[np.ndarray, " places"]:
    return np.arange(codes_per_word(bits), dtype=np.uint32) * np.uint32(bits)


def as_integers(values: Num[np.ndarray, "*shape"], what: str, *dtypes: str) -> Int[np.ndarray, "*shape"]:
    """Return whole numbers in the first integer type that holds all of them.

    Raises VerificationError saying ``what`` is no whole number or too large.
    """
    values = values.astype(np.float64)
    if not bool((values == np.rint(values)).all()):
        raise VerificationError(f"{what} is not a whole number", "store rounded parameters: Scheme.stored(params)")
    largest = float(np.abs(values).max(initial=0))
    for dtype in dtypes:
        if largest <= np.iinfo(dtype).max:
            return values.astype(dtype)
    most = np.iinfo(dtypes[-1]).max
    raise VerificationError(f"{what} is {largest:g}, at most {most} can be stored", "finetune it with another scheme")
