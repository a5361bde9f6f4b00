"""Which frequencies a code has: one table for all, or one for each class of channels, or by the code before it.

Channels differ in how wide they are and where their grid begins; the taps of a kernel resemble the taps beside them. So
codes (out, n) are coded under the cheapest of four contexts: ``ONE`` table; 2, 4 or 8 classes of ``ROWS`` (output
channels) or ``COLUMNS`` (inputs), each class a table, and the classes themselves symbols; or ``BEFORE``: tap by tap of
all kernels at once, each with the table of the code one tap before, the first taps with a table of their own.
Source: ours (docs/method.md §6).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from snnq.schemes import entropy
from snnq.schemes.bits import BitReader, BitWriter
from snnq.schemes.entropy import Decoder, FrequencyTable, Part

ONE, ROWS, COLUMNS, BEFORE = range(4)
_FIELD, _CLASSES_FIELD = 2, 2
_CLASSES = (2, 4, 8)
# More symbols would take more tables than pay.
_MOST_BEFORE = 32
_ROUNDS = 8
_SMOOTH = 0.1


@dataclass(frozen=True)
class Context:
    """A context of symbols, its tables, and the bits of all; ``classes`` of rows or columns, ``taps`` of a kernel."""

    kind: int
    tables: list[FrequencyTable]
    bits: float
    classes: np.ndarray
    taps: int = 1

    def write(self, bits: BitWriter, *, codes: bool) -> None:
        """Write all but the symbols; the kind only of ``codes``, which alone have another than ``ONE``."""
        if codes:
            bits.number(self.kind, _FIELD)
        if self.kind in (ROWS, COLUMNS):
            bits.number(_CLASSES.index(len(self.tables)), _CLASSES_FIELD)
            entropy.write_table(bits, entropy.fitted(np.bincount(self.classes)))
        if self.kind == BEFORE:
            bits.gamma(self.taps)
        for table in self.tables:
            entropy.write_table(bits, table)

    def parts(self, symbols: np.ndarray) -> Iterator[Part]:
        """Yield the symbols (rows, n) in the order in which they are decoded, with their tables."""
        frequencies = np.stack([table.frequencies for table in self.tables])
        if self.kind in (ROWS, COLUMNS):
            table = entropy.fitted(np.bincount(self.classes))
            yield Part(self.classes, np.zeros_like(self.classes), table.frequencies[None])
        if self.kind == BEFORE:
            by_tap = symbols.reshape(-1, self.taps).T
            for tap, before in zip(by_tap, [np.full_like(by_tap[0], len(frequencies) - 1), *by_tap], strict=False):
                yield Part(tap, before, frequencies)
            return
        turned = symbols.T if self.kind == COLUMNS else symbols
        yield Part(turned.ravel(), np.repeat(self.classes, turned.shape[1]), frequencies)


@dataclass(frozen=True)
class Read:
    """Symbols, the bits that they take by their tables, and those of their classes."""

    symbols: np.ndarray
    content: float
    classes: float


def best(symbols: np.ndarray, taps: int) -> Context:
    """Return the context of least bits for symbols (rows, n) of kernels of ``taps``."""
    size = int(symbols.max()) + 1
    tried = [_one(symbols, size)]
    for kind, turned in ((ROWS, symbols), (COLUMNS, symbols.T)):
        each = np.stack([np.bincount(row, minlength=size) for row in turned])
        tried += [_classed(kind, each, count) for count in _CLASSES if count <= len(each)]
    if taps > 1 and size <= _MOST_BEFORE:
        tried.append(_before(symbols, size, taps))
    return min((one for one in tried if one is not None), key=lambda one: one.bits)


def one_table(symbols: np.ndarray) -> Context:
    """Return the context without any classes."""
    return _one(symbols, int(symbols.max()) + 1)


def _one(symbols: np.ndarray, size: int) -> Context:
    counts = np.bincount(symbols.ravel(), minlength=size)
    table = entropy.fitted(counts)
    return Context(ONE, [table], _bits(table, counts), np.zeros(len(symbols), np.int64))


def _bits(table: FrequencyTable, counts: np.ndarray) -> float:
    return table.bits + entropy.cost(counts, table.frequencies)


def _classed(kind: int, each: np.ndarray, count: int) -> Context | None:
    """Return classes of rows by their counts (rows, symbols); None where fewer than ``count`` are left."""
    classes = _clustered(each, count)
    sums = np.stack([each[classes == one].sum(0) for one in range(int(classes.max()) + 1)])
    if len(sums) != count:
        return None
    tables, members = entropy.fitted_each(sums), np.bincount(classes)
    bits = sum(map(_bits, tables, sums)) + _bits(entropy.fitted(members), members) + _CLASSES_FIELD
    return Context(kind, tables, bits, classes)


def _clustered(each: np.ndarray, count: int) -> np.ndarray:
    """Return the class of each row of counts: Lloyd's iteration, where a row's distance is its code length.

    It begins with rows in the order of their mean symbol. Classes are numbered without gaps.
    """
    mean = (each * np.arange(each.shape[1])).sum(1) / np.maximum(each.sum(1), 1)
    rows = np.zeros(len(each), np.int64)
    rows[np.argsort(mean, kind="stable")] = np.arange(len(each)) * count // len(each)
    for _ in range(_ROUNDS):
        sums = np.stack([each[rows == one].sum(0) for one in range(count)]) + _SMOOTH
        lengths = -np.log2(sums / sums.sum(1, keepdims=True))
        before, rows = rows, (each @ lengths.T).argmin(1)
        if np.array_equal(rows, before):
            break
    return np.unique(rows, return_inverse=True)[1].ravel()


def _before(symbols: np.ndarray, size: int, taps: int) -> Context:
    """Return the context of the code one tap before; the last table is that of the first taps."""
    by_tap = symbols.reshape(-1, taps)
    pairs = np.bincount((by_tap[:, :-1] * size + by_tap[:, 1:]).ravel(), minlength=size * size).reshape(size, size)
    counts = np.stack([*pairs, np.bincount(by_tap[:, 0], minlength=size)])
    tables = entropy.fitted_each(counts)
    bits = sum(map(_bits, tables, counts)) + 2 * taps.bit_length() - 1
    return Context(BEFORE, tables, bits, np.zeros(len(symbols), np.int64), taps)


def read_symbols(bits: BitReader, decoder: Decoder, rows: int, n: int, size: int, *, codes: bool) -> Read:
    """Return symbols (rows, n) of a context, int64, with the bits that they and their classes take by their tables.

    Only ``codes`` have another context than ``ONE``.
    """
    kind = bits.number(_FIELD) if codes else ONE
    if kind == BEFORE:
        return _read_before(bits, decoder, rows, n, size)
    turned = (n, rows) if kind == COLUMNS else (rows, n)
    classes, count, spent = np.zeros(turned[0], np.int64), 1, 0.0
    if kind != ONE:
        at = bits.number(_CLASSES_FIELD)
        if at >= len(_CLASSES):
            raise ValueError("it has too many classes")
        count = _CLASSES[at]
        classes, spent = _take(decoder, classes, entropy.read_table(bits, count)[None])
    tables = np.stack([entropy.read_table(bits, size) for _ in range(count)])
    found, content = _take(decoder, np.repeat(classes, turned[1]), tables)
    found = found.reshape(turned)
    return Read(found.T if kind == COLUMNS else found, content, spent)


def _read_before(bits: BitReader, decoder: Decoder, rows: int, n: int, size: int) -> Read:
    taps = bits.gamma()
    if n % taps or size > _MOST_BEFORE:
        raise ValueError("its kernels have other taps")
    tables = np.stack([entropy.read_table(bits, size) for _ in range(size + 1)])
    found, content = np.zeros((taps, rows * n // taps), np.int64), 0.0
    before = np.full(rows * n // taps, size, np.int64)
    for tap in range(taps):
        before, spent = _take(decoder, before, tables)
        found[tap], content = before, content + spent
    return Read(found.T.reshape(rows, n), content, 0.0)


def _take(decoder: Decoder, which: np.ndarray, tables: np.ndarray) -> tuple[np.ndarray, float]:
    """Return symbols (n,), each of the table in ``which``, and the bits that they take."""
    found = decoder.take(which, tables).astype(np.int64)
    counts = np.bincount(which * tables.shape[1] + found, minlength=tables.size)
    return found, sum(map(entropy.cost, counts.reshape(tables.shape), tables))
