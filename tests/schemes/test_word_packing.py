"""Words typed by hand, the round trip, and an oracle that writes bits as text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.schemes.words import codes_per_word, pack_rows, unpack_rows, words_per_row


def packed(codes: list[list[int]], bits: int) -> list[list[int]]:
    return pack_rows(np.array(codes, np.uint8), bits).tolist()


def test_words_by_hand() -> None:
    assert packed([[1, 2, 3]], 2) == [[1 + 2 * 4 + 3 * 16]]
    # The first code is in the lowest bits: hexadecimal digits read from right to left.
    assert packed([[1, 2, 3, 4, 5, 6, 7]], 4) == [[0x7654321]]
    assert packed([[0x01, 0x23, 0x45, 0x67]], 8) == [[0x67452301]]
    # Ten codes of 3 bits a word; the top two bits stay unused.
    assert packed([[7] * 10], 3) == [[2**30 - 1]]
    assert packed([[1] + [0] * 9 + [5]], 3) == [[1, 5]]
    assert packed([[1, 2, 3, 4, 5, 6]], 5) == [[1 + 2 * 2**5 + 3 * 2**10 + 4 * 2**15 + 5 * 2**20 + 6 * 2**25]]


def test_the_top_bit_makes_a_word_negative() -> None:
    assert packed([[0] * 15 + [3]], 2) == [[-(2**30)]]
    assert packed([[3] * 16], 2) == [[-1]]
    assert packed([[0, 0, 0, 0x80]], 8) == [[-(2**31)]]
    assert unpack_rows(np.array([[-1]], np.int32), 2, 16).tolist() == [[3] * 16]


def test_rows_start_their_own_words() -> None:
    # 17 codes of 2 bits take two words; the second holds one code and padding.
    assert packed([[0] * 16 + [2], [1] + [0] * 16], 2) == [[0, 2], [1, 0]]
    assert words_per_row(17, 2) == 2
    assert [codes_per_word(bits) for bits in range(2, 9)] == [16, 10, 8, 6, 5, 4, 4]


def test_compressed_tensors_example() -> None:
    # Its documentation packs the unsigned codes 129, 130 of 8 bits into 33409.
    assert packed([[129, 130, 0, 0]], 8) == [[33409]]


def oracle(codes: np.ndarray, bits: int) -> np.ndarray:
    """Each word as a string of binary digits, the last code first."""
    each = 32 // bits
    rows = []
    for row in codes.tolist():
        row = row + [0] * (-len(row) % each)
        groups = [row[i : i + each] for i in range(0, len(row), each)]
        rows.append([int("".join(format(code, f"0{bits}b") for code in group[::-1]), 2) for group in groups])
    return np.array(rows, dtype=np.uint32).reshape(len(codes), -1).view(np.int32)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_round_trip_and_oracle(bits: int, rows: int, n: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 2**bits, size=(rows, n), dtype=np.uint8)
    words = pack_rows(codes, bits)
    assert words.dtype == np.int32
    assert words.shape == (rows, words_per_row(n, bits))
    np.testing.assert_array_equal(words, oracle(codes, bits))
    found = unpack_rows(words, bits, n)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, codes)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**32 - 1))
def test_every_word_is_some_codes(bits: int, seed: int) -> None:
    # For bits that divide 32 nothing is unused, so unpacking is one-to-one.
    words = np.random.default_rng(seed).integers(-(2**31), 2**31, size=(2, 3)).astype(np.int32)
    codes = unpack_rows(words, bits, 3 * 32 // bits)
    np.testing.assert_array_equal(pack_rows(codes, bits), words)


def test_inputs_are_checked_and_untouched() -> None:
    codes = np.array([[0, 3, 4]], np.uint8)
    with pytest.raises(ValueError, match="code 4 does not fit in 2 bits"):
        pack_rows(codes, 2)
    with pytest.raises(ValueError, match="uint8"):
        pack_rows(codes.astype(np.int32), 4)
    with pytest.raises(ValueError, match="rows, n"):
        pack_rows(codes[0], 4)
    for bits in (0, 9, -2):
        with pytest.raises(ValueError, match="1 to 8 bits"):
            pack_rows(codes, bits)
    words = pack_rows(codes, 4)
    with pytest.raises(ValueError, match="9 codes of 4 bits take 2 words, found 1"):
        unpack_rows(words, 4, 9)
    with pytest.raises(ValueError, match="int32"):
        unpack_rows(words.astype(np.int64), 4, 3)
    assert codes.tolist() == [[0, 3, 4]]
