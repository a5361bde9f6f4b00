"""Arrays of whole and real numbers ↔ bits and entropy-coded symbols, exactly.

An array of whole numbers (rows, n) is written as ``lowest``, the least of them; ``low``, how many lower bits of what
lies above it are kept as they are; and the rest, the symbols, entropy-coded. Rows fall into classes with a table each
where that pays; their classes are symbols themselves. An array of one symbol takes a few bits in all.

Real numbers become whole ones first: n of n · 2^e where that is exact and shorter, else their float32 bits with the
sign below the exponent and zeros at the end left out. Source: ours (docs/method.md §6).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from snnq.schemes import entropy
from snnq.schemes.bits import WIDEST, BitReader, BitWriter
from snnq.schemes.entropy import MOST_SYMBOLS, SUM, Part

# One lane for so many symbols: that many steps of all take numpy a tenth of a second, and a lane costs three bytes.
_EACH, _MOST_LANES = 6144, 512
_CLASSES = (1, 2, 4, 8)
_ROUNDS = 8
_SMOOTH = 0.1
_LOW_FIELD, _CLASS_FIELD, _ZEROS_FIELD = 6, 2, 5
_START = struct.Struct("<HI")  # lanes, bytes of bits
_MANTISSA = 23


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


@dataclass(frozen=True)
class _Form:
    """How whole numbers are split: ``rows`` holds the class of each row, ``tables`` has one a class."""

    lowest: int
    low: int
    size: int
    rows: np.ndarray
    tables: list[entropy.Table]


class NumberWriter:
    """Collects arrays; ``bytes`` is everything."""

    def __init__(self) -> None:
        self.bits = BitWriter()
        self._parts: list[Part] = []

    def whole(self, numbers: np.ndarray, *, classes: bool = False) -> None:
        """Append whole numbers (rows, n); raises ValueError where they lie too far apart."""
        if numbers.size == 0:
            return
        numbers = numbers.astype(np.int64)
        form = _form(numbers, classes)
        rest = (numbers - form.lowest).astype(np.uint64)
        self.bits.signed(form.lowest)
        self.bits.number(form.low, _LOW_FIELD)
        self.bits.gamma(form.size)
        if form.size > 1:
            self._classes(form)
            for table in form.tables:
                entropy.write_table(self.bits, table)
            symbols = (rest >> np.uint64(form.low)).astype(np.int64)
            self._put(symbols, form.rows, np.stack([table.frequencies for table in form.tables]))
        self.bits.block((rest & np.uint64((1 << form.low) - 1)).ravel(), form.low)

    def real(self, numbers: np.ndarray) -> None:
        """Append float32 numbers (rows, n), finite ones."""
        if numbers.size == 0:
            return
        fixed, (zeros, pattern) = _fixed(numbers), _pattern(numbers)
        use_fixed = fixed is not None and _estimate(fixed[1]) <= _estimate(pattern)
        self.bits.number(int(use_fixed), 1)
        if fixed is not None and use_fixed:
            self.bits.signed(fixed[0])
            self.whole(fixed[1])
        else:
            self.bits.number(zeros, _ZEROS_FIELD)
            self.whole(pattern)

    def bytes(self, at_least: int = 0) -> bytes:
        """Return everything in at least so many bytes: lanes, the length of the bits, these, states, words."""
        symbols = sum(part.symbols.size for part in self._parts)
        lanes = min(max(symbols // _EACH, 1), _MOST_LANES)
        states, words = entropy.encode(self._parts, lanes)
        bits = self.bits.bytes()
        bits += bytes(max(at_least - len(bits) - _START.size - states.nbytes - words.nbytes, 0))
        return _START.pack(lanes, len(bits)) + bits + states.astype("<u4").tobytes() + words.astype("<u2").tobytes()

    def _classes(self, form: _Form) -> None:
        count = len(form.tables)
        self.bits.number(_CLASSES.index(count), _CLASS_FIELD)
        if count > 1:
            table = entropy.fitted(np.bincount(form.rows, minlength=count))
            entropy.write_table(self.bits, table)
            self._put(form.rows[:, None], np.zeros(len(form.rows), np.int64), table.frequencies[None])

    def _put(self, symbols: np.ndarray, rows: np.ndarray, frequencies: np.ndarray) -> None:
        self._parts.append(Part(symbols.ravel(), np.repeat(rows, symbols.shape[1]), frequencies))


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
        self._bits = BitReader(data[_START.size : start])
        self._symbols = entropy.Decoder(np.frombuffer(data[start:words], "<u4"), np.frombuffer(data[words:], "<u2"))
        self.state_bits = 32 * lanes

    def whole(self, rows: int, n: int) -> tuple[np.ndarray, Taken]:
        """Return whole numbers, int64 (rows, n), and what they took."""
        if rows * n == 0:
            return np.zeros((rows, n), np.int64), Taken(0, 0)
        start = self._bits.at
        lowest, low, size = self._bits.signed(), self._bits.number(_LOW_FIELD), self._bits.gamma()
        if size > MOST_SYMBOLS or low > WIDEST or abs(lowest) >= 2**WIDEST:
            raise ValueError("its numbers are too large")
        symbols, content, described = np.zeros((rows, n), np.int64), 0.0, 0.0
        if size > 1:
            count, classes, described = self._classes(rows)
            tables = np.stack([entropy.read_table(self._bits, size) for _ in range(count)])
            symbols, content = self._take(classes, n, tables)
        tables_end = self._bits.at
        lower = self._bits.block(rows * n, low).reshape(rows, n)
        taken = Taken(round(content) + rows * n * low, round(described) + tables_end - start)
        return (symbols << low) + lower + lowest, taken

    def real(self, rows: int, n: int) -> tuple[np.ndarray, Taken]:
        """Return float32 numbers (rows, n), and what they took."""
        if rows * n == 0:
            return np.zeros((rows, n), np.float32), Taken(0, 0)
        start = self._bits.at
        if self._bits.number(1):
            exponent = self._bits.signed()
            if abs(exponent) > 200:
                raise ValueError("its numbers are too large")
            numbers, made = self._bits.at, self.whole(rows, n)
            with np.errstate(over="ignore"):
                found = np.ldexp(made[0].astype(np.float64), exponent).astype(np.float32)
        else:
            zeros = self._bits.number(_ZEROS_FIELD)
            numbers, made = self._bits.at, self.whole(rows, n)
            found = _from_pattern(made[0], zeros)
        return found, Taken(made[1].content, made[1].tables + numbers - start)

    def close(self) -> None:
        """Raise ValueError unless everything is used up: bits to the last byte but for zeros, and all words."""
        self._symbols.close()
        if self._bits.rest():
            raise ValueError("bits behind its last number are not zero")

    def _classes(self, rows: int) -> tuple[int, np.ndarray, float]:
        """Return how many classes there are, that of each row, and the bits that these take by their table."""
        count = _CLASSES[self._bits.number(_CLASS_FIELD)]
        if count == 1:
            return count, np.zeros(rows, np.int64), 0.0
        found, bits = self._take(np.zeros(rows, np.int64), 1, entropy.read_table(self._bits, count)[None])
        return count, found[:, 0], bits

    def _take(self, classes: np.ndarray, n: int, tables: np.ndarray) -> tuple[np.ndarray, float]:
        """Return symbols (rows, n) and the bits that they take by their tables."""
        symbols = self._symbols.take(np.repeat(classes, n), tables).reshape(len(classes), n)
        bits = 0.0
        for one, frequencies in enumerate(tables):
            bits += entropy.cost(np.bincount(symbols[classes == one].ravel(), minlength=len(frequencies)), frequencies)
        return symbols.astype(np.int64), bits


def _form(numbers: np.ndarray, classes: bool) -> _Form:
    """Return the shortest form of whole numbers."""
    lowest = int(numbers.min())
    if max(abs(lowest), abs(int(numbers.max()))) >= 2 ** (WIDEST - 1):
        raise ValueError("numbers are too large")
    rest = (numbers - lowest).astype(np.uint64)
    low, symbols = _split(rest)
    size = int(symbols.max()) + 1
    counts = np.bincount(symbols.ravel(), minlength=size)
    rows = np.zeros(len(numbers), np.int64)
    best = _Form(lowest, low, size, rows, [entropy.fitted(counts)])
    if not classes or size == 1:
        return best
    by_row = np.bincount((np.arange(len(symbols))[:, None] * size + symbols).ravel(), minlength=len(symbols) * size)
    by_row = by_row.reshape(len(symbols), size)
    forms = [best]
    for count in _CLASSES[1:]:
        if count <= len(symbols):
            rows = _clustered(by_row, count)
            made = [entropy.fitted(by_row[rows == one].sum(0)) for one in range(int(rows.max()) + 1)]
            if len(made) in _CLASSES:
                forms.append(_Form(lowest, low, size, rows, made))
    return min(forms, key=lambda form: _form_bits(form, by_row))


def _form_bits(form: _Form, by_row: np.ndarray) -> float:
    """Return what classes, tables and symbols of a form take."""
    bits = 0.0
    for one, table in enumerate(form.tables):
        bits += table.bits + entropy.cost(by_row[form.rows == one].sum(0), table.frequencies)
    return bits + _table_and_symbols(np.bincount(form.rows))


def _clustered(by_row: np.ndarray, count: int) -> np.ndarray:
    """Return the class of each row of counts: Lloyd's iteration, where a row's distance is its code length.

    It begins with rows in the order of their mean symbol. Classes are numbered without gaps.
    """
    mean = (by_row * np.arange(by_row.shape[1])).sum(1) / np.maximum(by_row.sum(1), 1)
    rows = np.zeros(len(by_row), np.int64)
    rows[np.argsort(mean, kind="stable")] = np.arange(len(by_row)) * count // len(by_row)
    for _ in range(_ROUNDS):
        sums = np.stack([by_row[rows == one].sum(0) for one in range(count)]) + _SMOOTH
        lengths = -np.log2(sums / sums.sum(1, keepdims=True))
        rows = (by_row @ lengths.T).argmin(1)
    return np.unique(rows, return_inverse=True)[1].ravel()


def _split(rest: np.ndarray) -> tuple[int, np.ndarray]:
    """Return how many lower bits of numbers are kept as they are, and the symbols above them, int64."""
    width = int(rest.max()).bit_length()
    least = max(width - (MOST_SYMBOLS.bit_length() - 1), 0)
    best = (np.inf, 0)
    for low in range(least, width + 1):
        counts = np.bincount((rest >> np.uint64(low)).astype(np.int64).ravel())
        best = min(best, (rest.size * low + _table_and_symbols(counts), low))
        if len(counts) <= 2:
            break
    low = best[1]
    return low, (rest >> np.uint64(low)).astype(np.int64)


def _table_and_symbols(counts: np.ndarray) -> float:
    """Return the bits of symbols that occur so often, with their table; of one symbol, none."""
    if len(counts) == 1:
        return 0
    table = entropy.fitted(counts)
    return table.bits + entropy.cost(counts, table.frequencies)


def _estimate(numbers: np.ndarray) -> float:
    """Return about how many bits whole numbers take."""
    rest = (numbers - numbers.min()).astype(np.uint64)
    low, symbols = _split(rest)
    return rest.size * low + _table_and_symbols(np.bincount(symbols.ravel()))


def _fixed(numbers: np.ndarray) -> tuple[int, np.ndarray] | None:
    """Return (e, n) of numbers n · 2^e with the largest e; None where n would be too large, or 0 has a sign."""
    if bool((np.signbit(numbers) & (numbers == 0)).any()):
        return None
    there = numbers[numbers != 0].astype(np.float64)
    if there.size == 0:
        return 0, np.zeros(numbers.shape, np.int64)
    mantissas, exponents = np.frexp(there)
    whole = np.ldexp(mantissas, 24).astype(np.int64)
    trailing = np.frexp((whole & -whole).astype(np.float64))[1] - 1
    exponent = int((exponents - 24 + trailing).min())
    found = np.ldexp(numbers.astype(np.float64), -exponent)
    return (exponent, found.astype(np.int64)) if float(np.abs(found).max()) < SUM * SUM else None


def _pattern(numbers: np.ndarray) -> tuple[int, np.ndarray]:
    """Return how many bits at the end of all float32 numbers are zero, and the bits before: exponent, sign, mantissa."""
    bits = numbers.astype("<f4").view("<u4").astype(np.int64)
    sign, exponent, mantissa = bits >> 31, (bits >> _MANTISSA) & 0xFF, bits & ((1 << _MANTISSA) - 1)
    union = int(np.bitwise_or.reduce(mantissa, axis=None))
    zeros = min((union & -union).bit_length() - 1, _MANTISSA) if union else _MANTISSA
    return zeros, ((exponent << 1 | sign) << _MANTISSA | mantissa) >> zeros


def _from_pattern(pattern: np.ndarray, zeros: int) -> np.ndarray:
    """Return the float32 numbers of ``_pattern``."""
    if pattern.size and (int(pattern.min()) < 0 or int(pattern.max()) >= 1 << (32 - zeros if zeros < 32 else 0)):
        raise ValueError("its numbers are no float32 numbers")
    bits = pattern << zeros
    top, mantissa = bits >> _MANTISSA, bits & ((1 << _MANTISSA) - 1)
    return ((top & 1) << 31 | (top >> 1) << _MANTISSA | mantissa).astype("<u4").view("<f4").astype(np.float32)
