"""What a reader of one format returns, and what all of them check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.errors import DataError


@dataclass(frozen=True)
class Raw:
    """A file's events as they lie in it, all (N,): ``t`` in µs, ``x``, ``y``, ``p``; ``sensor`` (h, w) if known."""

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    sensor: tuple[int, int] | None = None


def head(file: Path, length: int) -> bytes:
    """Return a file's first bytes; raises OSError."""
    with file.open("rb") as stream:
        return stream.read(length)


def check_whole(file: Path, length: int, unit: int, what: str = "events") -> None:
    """Raise DataError where ``length`` bytes of data are not a whole number of units."""
    if length % unit:
        raise DataError(f"{file}: the file is cut off: {length} bytes of {what}, expected a multiple of {unit}.")


def wrong_type(file: Path, expected: str) -> DataError:
    """Return the error for a file of another type than its name says."""
    return DataError(
        f"{file}: it is not {expected}.", "Give the file the ending of its real format, or fetch it again."
    )
