"""``n-mnist:DIR``: N-MNIST's own raw recordings (Orchard et al. 2015), Train/ and Test/<class>/*.bin."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from snnq.data.contract import Recordings, Request
from snnq.data.integrator import By, Events, integrate
from snnq.data.recorded import open_files
from snnq.errors import DataError

_SENSOR = (34, 34)
_EVENT_BYTES = 5


def open_source(request: Request) -> Recordings:
    """Return the recordings: the official test split, and 15 % of the training split as validation.

    Option ``by``: how events are cut into frames, ``count`` (default) or ``time``.

    Raises:
        DataError: a folder is missing or empty; later, a recording that is damaged.
    """
    return open_files(request, ".bin", partial(_read_frames, steps=request.steps, by=request.spec.by))


def _read_frames(file: Path, steps: int, by: By) -> np.ndarray:
    return integrate(read_recording(file), steps, *_SENSOR, by)


def read_recording(file: Path) -> Events:
    """Read one recording: 5 bytes an event (x, y, polarity and 23 bits of time in µs), 34×34 pixels.

    Raises:
        DataError: the file cannot be read, is empty or cut off, or has an event outside the field.
    """
    from tonic.io import events_struct, read_mnist_file

    try:
        size = file.stat().st_size
        if size == 0 or size % _EVENT_BYTES:
            what = "cut off" if size else "empty"
            raise DataError(f"{file}: the file is {what}: {size} bytes, expected a multiple of {_EVENT_BYTES}.")
        raw = read_mnist_file(str(file), dtype=events_struct)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}).") from error
    raw = raw[np.argsort(raw["t"], kind="stable")]
    events = Events(*(raw[name].astype(np.int64) for name in ("t", "x", "y", "p")))
    for name, size in (("x", _SENSOR[1]), ("y", _SENSOR[0])):
        largest = getattr(events, name).max(initial=-1)
        if largest >= size:
            raise DataError(
                f"{file}: an event at {name}={largest}, allowed: 0 to {size - 1}; is it an N-MNIST recording?"
            )
    return events
