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

import numpy as np

from snnq.schemes.bits import BitReader, BitWriter

PRECISION = 12
SUM = 2**PRECISION
LOWEST_STATE = 2**16
# Symbols of a table: each that occurs needs a part of SUM.
MOST_SYMBOLS = 512
_WORD = 16
# Four bits each say how fine a table's frequencies are, and how many of their bits are written as they are.
_FIELD = 4


@dataclass(frozen=True)
class Part:
    """Symbols (n,) and the table of each, a row of ``frequencies`` (tables, symbols), whose rows add up to ``SUM``."""

    symbols: np.ndarray
    tables: np.ndarray
    frequencies: np.ndarray


@dataclass(frozen=True)
class Table:
    """Frequencies (symbols,) that add up to ``SUM``, written in ``bits``.

    All are multiples of 2^(PRECISION - fine); the ``raw`` lower bits of each are written as they are.
    """

    frequencies: np.ndarray
    fine: int
    raw: int
    bits: int


def fitted(counts: np.ndarray) -> Table:
    """Return the table of least bits, its own and the symbols', for symbols of these counts.

    A finer one codes the symbols in fewer bits, and takes more bits itself.
    """
    needed = max(int(np.count_nonzero(counts)) - 1, 0).bit_length()
    tried = [_table(_normalised(counts, fine), fine) for fine in range(needed, PRECISION + 1)]
    return min(tried, key=lambda one: one.bits + cost(counts, one.frequencies))


def cost(counts: np.ndarray, frequencies: np.ndarray) -> float:
    """Return the bits of symbols that occur so often, Σ count · log2(Σ f / f)."""
    there = counts > 0
    return float((counts[there] * np.log2(frequencies.sum() / frequencies[there])).sum())


def _normalised(counts: np.ndarray, fine: int) -> np.ndarray:
    """Return frequencies that add up to 2^fine, at least 1 where a symbol occurs, of nearly the least cost."""
    total = max(int(counts.sum()), 1)
    found = np.maximum(np.rint(counts * (2.0**fine / total)).astype(np.int64), counts > 0)
    if not counts.any():
        found[0] = 2**fine
    while (missing := 2**fine - int(found.sum())) != 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            if missing > 0:
                at = np.argmax(np.where(found > 0, counts * np.log2((found + 1) / found), -1.0))
                found[at] += 1
            else:
                at = np.argmin(np.where(found > 1, counts * np.log2(found / (found - 1)), np.inf))
                found[at] -= 1
    return found


def _table(coarse: np.ndarray, fine: int) -> Table:
    """Return the shortest table of frequencies that add up to 2^fine."""
    lengths = np.frexp((coarse[:-1] >> np.arange(PRECISION)[:, None]) + 1.0)[1]  # of a whole number: its bits
    bits = (2 * lengths - 1).sum(1) + np.arange(PRECISION) * (len(coarse) - 1)
    raw = int(bits.argmin())
    return Table(coarse << (PRECISION - fine), fine, raw, 2 * _FIELD + int(bits[raw]))


def write_table(bits: BitWriter, table: Table) -> None:
    """Write a table; how many symbols it has is known to who reads it."""
    bits.number(table.fine, _FIELD)
    bits.number(table.raw, _FIELD)
    for one in (table.frequencies[:-1] >> (PRECISION - table.fine)).tolist():
        bits.gamma((one >> table.raw) + 1)
        bits.number(one & ((1 << table.raw) - 1), table.raw)


def read_table(bits: BitReader, symbols: int) -> np.ndarray:
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


def encode(parts: list[Part], lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the states (lanes,) uint32 that decoding starts from, and the words, uint16."""
    states, words = np.full(lanes, LOWEST_STATE, np.uint64), []
    top, bits = np.uint64(32 - PRECISION), np.uint64(PRECISION)
    for part in reversed(parts):
        before = np.cumsum(part.frequencies, 1) - part.frequencies
        f = part.frequencies[part.tables, part.symbols].astype(np.uint64)
        c = before[part.tables, part.symbols].astype(np.uint64)
        for start in reversed(range(0, len(f), lanes)):
            here, first = f[start : start + lanes], c[start : start + lanes]
            x = states[: len(here)]
            full = x >= here << top
            words.append((x[full] & np.uint64(0xFFFF)).astype(np.uint16))
            x[full] >>= np.uint64(_WORD)
            x[:] = (x // here << bits) + x % here + first
    return states.astype(np.uint32), np.concatenate([np.zeros(0, np.uint16), *reversed(words)])


class Decoder:
    """Takes parts out of states (lanes,) uint32 and words uint16, in the order in which they were given."""

    def __init__(self, states: np.ndarray, words: np.ndarray) -> None:
        self._states, self._words, self._at = states.astype(np.uint32), words.astype(np.uint32), 0
        if states.size == 0 or int(states.min()) < LOWEST_STATE:
            raise ValueError("its states are too small")

    def take(self, tables: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
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

    def _run(self, places: np.ndarray, f: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """Run all lanes in lock-step over the first place of each symbol's table; return the place of each symbol."""
        lanes, words, at = len(self._states), self._words, self._at
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

    def close(self) -> None:
        """Raise ValueError unless all words are used up and every lane is where encoding began."""
        if self._at != len(self._words) or bool((self._states != LOWEST_STATE).any()):
            raise ValueError("its last states are not the first ones")
