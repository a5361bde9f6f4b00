"""What a reader of one format returns, and what all of them check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import open_regular, regular_size

# Of a compressed file: more bytes than this, and more than so many for each that is stored, no recording unpacks to.
_MOST_BYTES, _MOST_TIMES = 64 * 2**20, 128


@dataclass(frozen=True)
class Raw:
    """A file's events as they lie in it, all (N,): ``t`` in µs, ``x``, ``y``, ``p``; ``sensor`` (h, w) if known.

    ``note``: what was taken for granted, a sentence.
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    sensor: tuple[int, int] | None = None
    note: str = ""


def head(file: Path, length: int) -> bytes:
    """Return a file's first bytes; raises OSError."""
    with open_regular(file) as stream:
        return stream.read(length)


def check_whole(file: Path, length: int, unit: int, what: str = "events") -> None:
    """Raise DataError where ``length`` bytes of data are not a whole number of units."""
    if length % unit:
        raise DataError(f"{file}: the file is cut off: {length} bytes of {what}, expected a multiple of {unit}.")


def check_unpacked(file: Path, unpacked: int) -> None:
    """Raise DataError before a compressed file is unpacked to more bytes than a recording of its size can have."""
    stored = regular_size(file)
    if unpacked > max(_MOST_BYTES, _MOST_TIMES * stored):
        raise DataError(
            f"{file}: its {stored:,} bytes unpack to {unpacked:,}, more than {_MOST_TIMES} times as much; "
            "no recording is like that.",
            "Save it again without compression, if it is your own.",
        )


def unwrapped(t: np.ndarray, bits: int) -> np.ndarray:
    """Return times of a counter of so many bits, int64: it began anew where it falls by more than half of its range."""
    t = t.astype(np.int64)
    return t + (np.cumsum(np.diff(t, prepend=t[:1]) < -(1 << bits - 1)) << bits)


def wrong_type(file: Path, expected: str) -> DataError:
    """Return the error for a file of another type than its name says."""
    return DataError(
        f"{file}: it is not {expected}.", "Give the file the ending of its real format, or fetch it again."
    )


def said_sensor(file: Path, header: dict[str, str]) -> tuple[int, int] | None:
    """Return (height, width) where a header says them, as geometry or by themselves; they must agree."""
    named = {key.lower(): value for key, value in header.items()}
    width, _, height = named.get("geometry", "").partition("x")
    found = {(h, w) for h, w in ((height, width), (named.get("height", ""), named.get("width", ""))) if h or w}
    if not found:
        return None
    sizes = {(_number(height), _number(width)) for height, width in found}
    if len(sizes) > 1 or 0 in (size := sizes.pop()):
        said = " and ".join(f"{width}x{height}" for height, width in sorted(found))
        raise DataError(f"{file}: its header says {said} pixels.")
    return size


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
