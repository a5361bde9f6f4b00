"""Arrays of whole and real numbers ↔ bits and entropy-coded symbols, exactly.

An array of whole numbers (rows, n) is written as ``lowest``, the least of them; ``low``, how many lower bits of what
lies above it are kept as they are; and the rest, the symbols, entropy-coded: codes in the context that suits them
(``snnq.packed.contexts``), others with one table. An array of one symbol takes a few bits in all. Real numbers become
whole ones first (``snnq.packed.reals``). Source: ours (docs/method.md §6).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from snnq.packed import reals
from snnq.packed.contexts import best, one_table, read_symbols
from snnq.schemes import entropy
from snnq.schemes.bits import WIDEST, BitReader, BitWriter
from snnq.schemes.entropy import MOST_SYMBOLS, Part

# One lane for so many symbols: that many steps of all take numpy a tenth of a second, and a lane costs three bytes.
_EACH, _MOST_LANES = 6144, 512
_LOW_FIELD, _ZEROS_FIELD = 6, 5
_START = struct.Struct("<HI")  # lanes, bytes of bits


@dataclass(frozen=True)
class Taken:
    """What an array takes, in whole bits: ``content``, symbols and lower bits, and ``tables``, what describes it.

    Symbols take parts of bits, and share words: what is left of these when each array is rounded belongs to none.
    """

    content: int
    tables: int

    @property
    def all(self) -> int:
        """Both."""
        return self.content + self.tables


class NumberWriter:
    """Collects arrays; ``bytes`` is everything."""

    def __init__(self) -> None:
        self.bits = BitWriter()
        self._parts: list[Part] = []

    def whole(self, numbers: np.ndarray, *, taps: int = 0) -> None:
        """Append whole numbers (rows, n); ``taps``: codes of kernels of so many; 0: no codes.

        Raises ValueError where they lie too far apart.
        """
        if numbers.size == 0:
            return
        self._whole(_split(numbers), taps)

    def _whole(self, split: _Split, taps: int = 0) -> None:
        lowest, low, rest = split.lowest, split.low, split.rest
        if max(abs(lowest), abs(lowest + int(rest.max()))) >= 2 ** (WIDEST - 1):
            raise ValueError("numbers are too large")
        symbols = (rest >> np.uint64(low)).astype(np.int64)
        self.bits.signed(lowest)
        self.bits.number(low, _LOW_FIELD)
        self.bits.gamma(int(symbols.max()) + 1)
        if symbols.any():
            context = best(symbols, taps) if taps else one_table(symbols)
            context.write(self.bits, codes=taps > 0)
            self._parts += context.parts(symbols)
        self.bits.block((rest & np.uint64((1 << low) - 1)).ravel(), low)

    def real(self, numbers: np.ndarray) -> None:
        """Append float32 numbers (rows, n), finite ones."""
        if numbers.size == 0:
            return
        fixed, (zeros, pattern) = reals.fixed(numbers), reals.pattern(numbers)
        split = _split(pattern)
        if fixed is not None and (found := _split(fixed[1])).bits <= split.bits:
            self.bits.number(1, 1)
            self.bits.signed(fixed[0])
            self._whole(found)
        else:
            self.bits.number(0, 1)
            self.bits.number(zeros, _ZEROS_FIELD)
            self._whole(split)

    def bytes(self, at_least: int = 0) -> bytes:
        """Return everything in at least so many bytes: lanes, the length of the bits, these, states, words."""
        symbols = sum(part.symbols.size for part in self._parts)
        lanes = min(max(symbols // _EACH, 1), _MOST_LANES)
        states, words = entropy.encode(self._parts, lanes)
        bits = self.bits.bytes()
        bits += bytes(max(at_least - len(bits) - _START.size - states.nbytes - words.nbytes, 0))
        return _START.pack(lanes, len(bits)) + bits + states.astype("<u4").tobytes() + words.astype("<u2").tobytes()


class NumberReader:
    """Takes arrays out of what a ``NumberWriter`` made, in the same order; raises ValueError for what is damaged."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _START.size:
            raise ValueError("it ends early")
        lanes, length = _START.unpack_from(data)
        start = _START.size + length
        words = start + 4 * lanes
        if len(data) < words or (len(data) - words) % 2 or not 1 <= lanes <= _MOST_LANES:
            raise ValueError("its parts are longer than it is")
        self.state_bits = 32 * lanes
        self._bits = BitReader(data[_START.size : start])
        self._decoder = entropy.Decoder(np.frombuffer(data[start:words], "<u4"), np.frombuffer(data[words:], "<u2"))

    def whole(self, rows: int, n: int, *, codes: bool = False) -> tuple[np.ndarray, Taken]:
        """Return whole numbers, int64 (rows, n), and what they took; ``codes`` as the writer was given taps."""
        if rows * n == 0:
            return np.zeros((rows, n), np.int64), Taken(0, 0)
        start = self._bits.at
        lowest, low, size = self._bits.signed(), self._bits.number(_LOW_FIELD), self._bits.gamma()
        if size > MOST_SYMBOLS or low > WIDEST or abs(lowest) >= 2**WIDEST:
            raise ValueError("its numbers are too large")
        symbols, content, described = np.zeros((rows, n), np.int64), 0.0, 0.0
        if size > 1:
            found = read_symbols(self._bits, self._decoder, rows, n, size, codes=codes)
            symbols, content, described = found.symbols, found.content, found.classes
        tables = self._bits.at - start
        lower = self._bits.block(rows * n, low).reshape(rows, n)
        return (symbols << low) + lower + lowest, Taken(round(content) + rows * n * low, round(described) + tables)

    def real(self, rows: int, n: int) -> tuple[np.ndarray, Taken]:
        """Return float32 numbers (rows, n), and what they took."""
        if rows * n == 0:
            return np.zeros((rows, n), np.float32), Taken(0, 0)
        start = self._bits.at
        is_fixed = self._bits.number(1)
        place = self._bits.signed() if is_fixed else self._bits.number(_ZEROS_FIELD)
        spent = self._bits.at - start
        numbers, taken = self.whole(rows, n)
        found = (reals.from_fixed if is_fixed else reals.from_pattern)(place, numbers)
        return found, Taken(taken.content, taken.tables + spent)

    def close(self) -> None:
        """Raise ValueError unless everything is used up: bits to the last byte but for zeros, and all words."""
        self._decoder.close()
        if self._bits.rest():
            raise ValueError("bits behind its last number are not zero")


def coded_bits(codes: np.ndarray, taps: int) -> float:
    """Return the bits that codes (rows, n) of kernels of ``taps`` take in their best context, its tables included."""
    symbols = codes.astype(np.int64) - int(codes.min())
    return best(symbols, taps).bits if symbols.any() else 0.0


@dataclass(frozen=True)
class _Split:
    """Whole numbers as ``lowest`` + ``rest``, whose ``low`` lower bits are best kept: in about ``bits`` bits."""

    lowest: int
    rest: np.ndarray
    low: int
    bits: float


def _split(numbers: np.ndarray) -> _Split:
    """Return how whole numbers are split in the fewest bits.

    A table is made only where the entropy of the symbols and the shortest table leave it a chance.
    """
    numbers = numbers.astype(np.int64)
    lowest = int(numbers.min())
    rest = (numbers - lowest).astype(np.uint64)
    width = int(rest.max()).bit_length()
    least = max(width - (MOST_SYMBOLS.bit_length() - 1), 0)
    found = []
    for low in range(least, width + 1):
        counts = np.bincount((rest >> np.uint64(low)).astype(np.int64).ravel())
        least_bits = entropy.cost(counts, counts) + entropy.shortest_table(counts) if len(counts) > 1 else 0.0
        found.append((rest.size * low + least_bits, low, counts))
    bits, low = math.inf, 0
    for at_least, kept, counts in sorted(found, key=lambda one: one[:2]):
        # Rounding of the two sums may differ; a thousandth of a bit is more than that.
        if at_least > bits + 1e-3:
            break
        table = entropy.fitted(counts)
        spent = table.bits + entropy.cost(counts, table.frequencies) if len(counts) > 1 else 0.0
        bits, low = min((bits, low), (rest.size * kept + spent, kept))
    return _Split(lowest, rest, low, bits)
