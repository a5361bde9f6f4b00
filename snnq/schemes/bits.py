"""Numbers in few bits, one behind the other, the lowest bit of each first: what tables and raw parts are written in.

A positive number n without a known width is Elias' gamma code: as many zeros as n has bits below its highest, a one,
and those bits. Source: Elias 1975, with the lowest bit first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int64, Integer

# What one unaligned read of eight bytes holds, wherever in a byte it begins.
WIDEST = 57
_CHUNK = 2**16


class BitWriter:
    """Collects numbers; ``length`` is how many bits they take so far."""

    def __init__(self) -> None:
        self.length = 0
        self._parts: list[np.ndarray] = []

    def number(self, value: int, width: int) -> None:
        """Append one number below 2^width."""
        self.block(np.array([value]), width)

    def gamma(self, value: int) -> None:
        """Append a positive number in Elias' gamma code."""
        zeros = value.bit_length() - 1
        self.number(1 << zeros, zeros + 1)
        self.number(value - (1 << zeros), zeros)

    def signed(self, value: int) -> None:
        """Append any whole number: 0, -1, 1, -2, … as 1, 2, 3, 4, … in gamma code."""
        self.gamma(1 + (2 * value if value >= 0 else -2 * value - 1))

    def block(self, values: Integer[np.ndarray, " n"], width: int) -> None:
        """Append whole numbers (n,) below 2^width, all of that width."""
        places = np.arange(width, dtype=np.uint64)
        for start in range(0, len(values) if width else 0, _CHUNK):
            some = values[start : start + _CHUNK].astype(np.uint64)
            self._parts.append(((some[:, None] >> places) & np.uint64(1)).astype(np.uint8).ravel())
        self.length += len(values) * width

    def bytes(self) -> bytes:
        """Return everything, filled up with zeros to whole bytes."""
        return np.packbits(np.concatenate([np.zeros(0, np.uint8), *self._parts]), bitorder="little").tobytes()


class BitReader:
    """Reads what a ``BitWriter`` wrote; raises ValueError where the bytes end early. ``at`` is the next bit."""

    def __init__(self, data: bytes) -> None:
        self.at = 0
        self._length = 8 * len(data)
        self._data = np.frombuffer(data + bytes(8), np.uint8)

    def number(self, width: int) -> int:
        """Return the next number of that width."""
        start = self._pass(width)
        return int.from_bytes(self._data[start >> 3 : (start >> 3) + 8].tobytes(), "little") >> (start & 7) & (
            (1 << width) - 1
        )

    def gamma(self) -> int:
        """Return the next number in gamma code."""
        zeros = 0
        while not self.number(1):
            zeros += 1
            if zeros >= WIDEST:
                raise ValueError(f"a number of more than {WIDEST} bits")
        return (1 << zeros) + self.number(zeros)

    def signed(self) -> int:
        """Return the next whole number of either sign."""
        folded = self.gamma() - 1
        return -(folded + 1) // 2 if folded & 1 else folded // 2

    def block(self, count: int, width: int) -> Int64[np.ndarray, " {count}"]:
        """Return the next numbers of one width, int64 (count,)."""
        if width > WIDEST:
            raise ValueError(f"numbers of {width} bits")
        if width == 0:
            return np.zeros(count, np.int64)
        where = self._pass(count * width) + width * np.arange(count)
        found, first = np.zeros(count, np.uint64), where >> 3
        for i in range((width + 14) // 8):
            found |= self._data[first + i].astype(np.uint64) << np.uint64(8 * i)
        mask = np.uint64((1 << width) - 1)
        return ((found >> (where & 7).astype(np.uint64)) & mask).astype(np.int64)

    def rest(self) -> bool:
        """Return whether any bit behind the numbers read so far is set."""
        tail = self._data[(self.at + 7) >> 3 :]
        return bool(tail.any()) or bool(self.number(-self.at % 8))

    def _pass(self, bits: int) -> int:
        """Return where the next bits begin, and go behind them."""
        start, self.at = self.at, self.at + bits
        if self.at > self._length:
            raise ValueError("it ends early")
        return start
