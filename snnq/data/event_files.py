"""A single event file, of any format: its events in time order, and the sensor's size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError, nearest
from snnq.base.files import regular_size
from snnq.data.formats import aedat, arrays, atis, prophesee
from snnq.data.formats.raw import Raw
from snnq.data.integrator import Events

READERS = {
    ".aedat": aedat.read,
    ".aedat4": aedat.read_4,
    ".bin": atis.read_single,
    ".dat": prophesee.read_dat,
    ".raw": prophesee.read_raw,
    ".hdf5": arrays.read_hdf5,
    ".h5": arrays.read_hdf5,
    ".npz": arrays.read_npz,
    ".npy": arrays.read_npy,
}
# Sensors read out a row, or a burst, at a time: such disorder is sorted, more of it is damage.
_DISORDER_US = 1000
_LARGEST = 4096  # pixels: beyond any event sensor
_FARTHEST_US = 2**62 - 1  # so that no difference of two times overflows


@dataclass(frozen=True)
class Recording:
    """One recording: its events, and the sensor's (height, width) in pixels.

    ``sensor_known`` is False where the file does not say the size and the events' largest coordinates stand for it.
    ``note``: what was taken for granted, a sentence.
    """

    events: Events
    sensor: tuple[int, int]
    sensor_known: bool = True
    note: str = ""


def read_events(file: Path, sensor: tuple[int, int] | None = None) -> Recording:
    """Read an event file by the format its name ends with; ``sensor`` is the size that it must have, if that is known.

    Raises DataError: the ending is unknown, or the file is empty, cut off, of another type, or has events that go back
    in time or lie outside the sensor. Nothing is unpickled, and nothing but a regular file is opened;
    MissingLibraryError: a format needs a library that is not installed.
    """
    suffix = file.suffix.lower()
    if suffix not in READERS:
        raise DataError(
            f"{file}: files ending with '{suffix}' are unknown{nearest(suffix, READERS)}; known: {', '.join(READERS)}."
        )
    try:
        if regular_size(file) == 0:
            raise DataError(f"{file}: the file is empty: 0 bytes.")
        raw: Raw = READERS[suffix](file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}).") from error
    return _sound(file, raw, sensor or raw.sensor)


def _sound(file: Path, raw: Raw, sensor: tuple[int, int] | None) -> Recording:
    if not len(raw.t):
        raise DataError(f"{file}: there is no event in it.")
    size = sensor or (_LARGEST, _LARGEST)
    if max(size) > _LARGEST:
        raise DataError(f"{file}: a sensor of {size[1]}x{size[0]} pixels, allowed: to {_LARGEST}x{_LARGEST}.")
    _within(file, raw.t, "t", -_FARTHEST_US, _FARTHEST_US)
    width, height = (_within(file, part, name, 0, limit - 1, "; is it of this sensor?") + 1 for name, part, limit in (
        ("x", raw.x, size[1]), ("y", raw.y, size[0])
    ))  # fmt: skip
    events = _in_order(file, Events(raw.t.astype(np.int64, copy=False), raw.x, raw.y, _polarity(file, raw.p)))
    return Recording(events, sensor or (height, width), sensor is not None, raw.note)


def _polarity(file: Path, p: np.ndarray) -> np.ndarray:
    """Return polarities 0 and 1; where a file has none but −1 and 1, −1 is 0."""
    if p.dtype.kind == "b" or p.dtype.kind == "u" or p.min() >= 0:
        _within(file, p, "p", 0, 1)
        return p
    _within(file, p, "p", -1, 1)
    if not p.all():
        raise DataError(f"{file}: polarities of -1 and of 0 found, allowed: 0 and 1, or -1 and 1.")
    return p > 0


def _within(file: Path, part: np.ndarray, name: str, low: int, high: int, question: str = "") -> int:
    """Return the largest number; raises DataError where one is not from ``low`` to ``high``."""
    least, largest = int(part.min()), int(part.max())  # Python's, so that no comparison is of wrapped numbers
    if least < low or largest > high:
        wrong = largest if largest > high else least
        raise DataError(f"{file}: an event at {name}={wrong}, allowed: {low} to {high}{question}")
    return largest


def _in_order(file: Path, events: Events) -> Events:
    t = events.t
    if not np.any(t[1:] < t[:-1]):
        return events
    back = np.maximum.accumulate(t) - t
    worst = int(back.argmax())
    if back[worst] > _DISORDER_US:
        raise DataError(
            f"{file}: event {worst} goes back in time by {int(back[worst])} µs; it is damaged, or of another format."
        )
    order = np.argsort(t, kind="stable")
    return Events(t[order], events.x[order], events.y[order], events.p[order])
