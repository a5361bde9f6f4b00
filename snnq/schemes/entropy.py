"""Entropy coding: symbols in as many bits as their frequencies allow, decoded by numpy alone.

Asymmetric numeral systems in their range form (Duda 2013, arXiv:1311.2540), in interleaved lanes that share one stream
of words (Giesen 2014, arXiv:1402.3392). Frequencies f of a table add up to M = 2^12, and c is the sum of those before.
A lane's state x lies in 2^16 … 2^32 - 1. Symbol s goes in, and comes out again, by

    x' = ⌊x / f⌋ · M + c + x mod f,      s of c ≤ x' mod M < c + f,   x = f · ⌊x' / M⌋ + x' mod M - c

A state that would grow too large first gives its lower 16 bits to the stream; one that has become too small takes them
back. Symbol i of a part is coded in lane i mod lanes; parts follow each other. The encoder runs from the last symbol to
the first, so that the decoder runs forwards and takes words in the order of steps, and of lanes within a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnq.schemes.bits import BitReader, BitWriter

if TYPE_CHECKING:
    from jaxtyping import Int, Int64, Integer, UInt16, UInt32, UInt64

PRECISION = 12
SUM = 2**PRECISION
LOWEST_STATE = 2**16
# Symbols of a table: each that occurs needs a part of SUM.
MOST_SYMBOLS = 512
_WORD = 16
# So many lanes are quicker in Python's own numbers than as arrays.
_FEW = 8
# Four bits each say how fine a table's frequencies are, and how many of their bits are written as they are.
_FIELD = 4


@dataclass(frozen=True)
class Part:
    """Symbols (n,) and the table of each, a row of ``frequencies`` (tables, symbols), whose rows add up to ``SUM``."""

    symbols: Integer[np.ndarray, " n"]
    tables: Integer[np.ndarray, " n"]
    frequencies: Integer[np.ndarray, "tables symbols"]


@dataclass(frozen=True)
class FrequencyTable:
    """Frequencies (symbols,) that add up to ``SUM``, written in ``bits``.

    All are multiples of 2^(PRECISION - fine); the ``raw`` lower bits of each are written as they are.
    """

    frequencies: Integer[np.ndarray, " symbols"]
    fine: int
    raw: int
    bits: int


def fitted(counts: Integer[np.ndarray, " symbols"]) -> FrequencyTable:
    """Return the table of least bits, its own and the symbols', for symbols of these counts (symbols,).

    A finer one codes the symbols in fewer bits, and takes more bits itself.
    """
    return fitted_each(counts[None])[0]


def fitted_each(counts: Integer[np.ndarray, "tables symbols"]) -> list[FrequencyTable]:
    """Return what ``fitted`` does for each row of counts (tables, symbols)."""
    needed = np.frexp(np.maximum(np.count_nonzero(counts, 1) - 1, 0))[1]  # of a whole number: its bits
    at, fine = np.nonzero(np.arange(PRECISION + 1) >= needed[:, None])
    coarse = _normalised(counts[at], fine)
    raw, own = _lengths(coarse)
    found = coarse << (PRECISION - fine)[:, None]
    content = counts[at] * np.log2(SUM / np.maximum(found, 1))
    bits = own + content.sum(1)
    best = [
        int(part[0] + bits[part].argmin()) for part in np.split(np.arange(len(at)), np.flatnonzero(np.diff(at)) + 1)
    ]
    return [FrequencyTable(found[one], int(fine[one]), int(raw[one]), int(own[one])) for one in best]


def shortest_table(counts: Integer[np.ndarray, " symbols"]) -> int:
    """Return the fewest bits in which a table of symbols of these counts (symbols,), the last above 0, can be written.

    A frequency takes 1 bit and at least 2 more where it is above 0, or 1 and a lower bit in any case.
    """
    others = len(counts) - 1
    return 2 * _FIELD + others + min(2 * int(np.count_nonzero(counts[:-1])), others)


def cost(counts: Integer[np.ndarray, "*shape"], frequencies: Integer[np.ndarray, "*shape"]) -> float:
    """Return the bits of symbols that occur so often, Σ count · log2(Σ f / f)."""
    there = counts > 0
    return float((counts[there] * np.log2(frequencies.sum() / frequencies[there])).sum())


def _normalised(
    counts: Integer[np.ndarray, "tables symbols"], fine: Int[np.ndarray, " tables"]
) -> Int64[np.ndarray, "tables symbols"]:
    """Return frequencies of nearly the least cost for counts, both (tables, symbols), whose rows add up to 2^fine.

    They are at least 1 where a symbol occurs.
    """
    sums = 2 ** fine.astype(np.int64)
    found = np.rint(counts * (sums / np.maximum(counts.sum(1), 1))[:, None]).astype(np.int64)
    found = np.maximum(found, counts > 0)
    found[:, 0] = np.where(counts.any(1), found[:, 0], sums)
    while len(rows := np.flatnonzero(missing := sums - found.sum(1))):
        one, few, many = found[rows], missing[rows] > 0, counts[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            gains = np.where(one > 0, many * np.log2((one + 1) / one), -1.0)
            losses = np.where(one > 1, many * np.log2(one / (one - 1)), np.inf)
        at = np.where(few, gains.argmax(1), losses.argmin(1))
        found[rows, at] += np.where(few, 1, -1)
    return found


def _lengths(
    coarse: Integer[np.ndarray, "tables symbols"],
) -> tuple[Int[np.ndarray, " tables"], Int[np.ndarray, " tables"]]:
    """Return how many lower bits of each table's frequencies are best written as they are, and its bits (tables,)."""
    raw = np.arange(PRECISION)
    lengths = np.frexp((coarse[:, None, :-1] >> raw[:, None]) + 1.0)[1]  # of a whole number: its bits
    bits = (2 * lengths - 1).sum(2) + raw * (coarse.shape[1] - 1)
    return bits.argmin(1), 2 * _FIELD + bits.min(1)


def write_table(bits: BitWriter, table: FrequencyTable) -> None:
    """Write a table; how many symbols it has is known to who reads it."""
    bits.number(table.fine, _FIELD)
    bits.number(table.raw, _FIELD)
    for one in (table.frequencies[:-1] >> (PRECISION - table.fine)).tolist():
        bits.gamma((one >> table.raw) + 1)
        bits.number(one & ((1 << table.raw) - 1), table.raw)


def read_table(bits: BitReader, symbols: int) -> Int64[np.ndarray, " {symbols}"]:
    """Return frequencies (symbols,); raises ValueError for what is no table."""
    fine, raw = bits.number(_FIELD), bits.number(_FIELD)
    if fine > PRECISION:
        raise ValueError("its table is too fine")
    found, left = np.zeros(symbols, np.int64), 2**fine
    for i in range(symbols - 1):
        found[i] = ((bits.gamma() - 1) << raw) + bits.number(raw)
        left -= int(found[i])
        if left < 0:
            raise ValueError("its table has too large a sum")
    found[-1] = left
    return found << (PRECISION - fine)


def encode(parts: list[Part], lanes: int) -> tuple[UInt32[np.ndarray, " {lanes}"], UInt16[np.ndarray, " words"]]:
    """Return the states (lanes,) uint32 that decoding starts from, and the words, uint16."""
    if lanes <= _FEW:
        return _encode_one_by_one(parts, lanes)
    states, words = np.full(lanes, LOWEST_STATE, np.uint64), []
    top, bits = np.uint64(32 - PRECISION), np.uint64(PRECISION)
    for f, c in (_placed(part) for part in reversed(parts)):
        for start in reversed(range(0, len(f), lanes)):
            here, first = f[start : start + lanes], c[start : start + lanes]
            x = states[: len(here)]
            full = x >= here << top
            words.append((x[full] & np.uint64(0xFFFF)).astype(np.uint16))
            x[full] >>= np.uint64(_WORD)
            x[:] = (x // here << bits) + x % here + first
    return states.astype(np.uint32), np.concatenate([np.zeros(0, np.uint16), *reversed(words)])


def _placed(part: Part) -> tuple[UInt64[np.ndarray, " n"], UInt64[np.ndarray, " n"]]:
    """Return f and c of each symbol, uint64 (n,)."""
    before = np.cumsum(part.frequencies, 1) - part.frequencies
    at = part.tables, part.symbols
    return part.frequencies[at].astype(np.uint64), before[at].astype(np.uint64)


def _encode_one_by_one(
    parts: list[Part], lanes: int
) -> tuple[UInt32[np.ndarray, " {lanes}"], UInt16[np.ndarray, " words"]]:
    """Do what ``encode`` does, lane after lane."""
    states, words, top = [LOWEST_STATE] * lanes, [], 32 - PRECISION
    for f, c in (_placed(part) for part in reversed(parts)):
        placed = list(enumerate(zip(f.tolist(), c.tolist(), strict=True)))
        for i, (here, first) in reversed(placed):
            x = states[i % lanes]
            if x >= here << top:
                words.append(x & 0xFFFF)
                x >>= _WORD
            states[i % lanes] = (x // here << PRECISION) + x % here + first
    return np.array(states, np.uint32), np.array(words[::-1], np.uint16)


class Decoder:
    """Takes parts out of states (lanes,) uint32 and words uint16, in the order in which they were given."""

    def __init__(self, states: UInt32[np.ndarray, " lanes"], words: UInt16[np.ndarray, " words"]) -> None:
        self._states, self._words, self._at = states.astype(np.uint32), words.astype(np.uint32), 0
        if states.size == 0 or int(states.min()) < LOWEST_STATE:
            raise ValueError("its states are too small")

    def take(
        self, tables: Integer[np.ndarray, " n"], frequencies: Integer[np.ndarray, "tables symbols"]
    ) -> UInt16[np.ndarray, " n"]:
        """Return symbols (n,), of which each has the table in ``tables`` (n,); raises ValueError where words end."""
        count, symbols = frequencies.shape
        flat = frequencies.ravel()
        # By table and state mod M: the symbol, its frequency, and x' mod M - c.
        symbol = np.repeat(np.tile(np.arange(symbols, dtype=np.uint16), count), flat)
        f = np.repeat(flat, flat).astype(np.uint32)
        before = (np.cumsum(frequencies, 1) - frequencies).ravel()
        rest = (np.tile(np.arange(SUM), count) - np.repeat(before, flat)).astype(np.uint32)
        places = tables.astype(np.intp) << PRECISION
        return symbol[self._run(places, f, rest)]

    def _run(
        self, places: Int[np.ndarray, " n"], f: UInt32[np.ndarray, " slots"], rest: UInt32[np.ndarray, " slots"]
    ) -> Int[np.ndarray, " n"]:
        """Run all lanes in lock-step over the first place of each symbol's table; return the place of each symbol."""
        lanes, words, at = len(self._states), self._words, self._at
        if lanes <= _FEW:
            return self._run_one_by_one(places, f, rest)
        mask, low, bits, word = (np.uint32(one) for one in (SUM - 1, LOWEST_STATE, PRECISION, _WORD))
        for start in range(0, len(places), lanes):
            here = places[start : start + lanes]
            x = self._states[: len(here)]
            here += x & mask
            x = f[here] * (x >> bits) + rest[here]
            short = np.flatnonzero(x < low)
            if short.size:
                taken = words[at : at + short.size]
                at += short.size
                if at > len(words):
                    raise ValueError("it ends early")
                x[short] = x[short] << word | taken
            self._states[: len(here)] = x
        self._at = at
        return places

    def _run_one_by_one(
        self, places: Int[np.ndarray, " n"], f: UInt32[np.ndarray, " slots"], rest: UInt32[np.ndarray, " slots"]
    ) -> Int[np.ndarray, " n"]:
        """Do what ``_run`` does, lane after lane."""
        states, words, taken = self._states.tolist(), self._words[self._at :][: len(places)].tolist(), 0
        factors, offsets, found = f.tolist(), rest.tolist(), places.tolist()
        for i, place in enumerate(found):
            x = states[i % len(states)]
            found[i] = place = place + (x & (SUM - 1))
            x = factors[place] * (x >> PRECISION) + offsets[place]
            if x < LOWEST_STATE:
                if taken == len(words):
                    raise ValueError("it ends early")
                x = x << _WORD | words[taken]
                taken += 1
            states[i % len(states)] = x
        self._at += taken
        self._states = np.array(states, np.uint32)
        return np.array(found, np.intp)

    def close(self) -> None:
        """Raise ValueError unless all words are used up and every lane is where encoding began."""
        if self._at != len(self._words) or bool((self._states != LOWEST_STATE).any()):
            raise ValueError("its last states are not the first ones")
