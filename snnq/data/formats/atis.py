"""``.bin``: the recordings of N-MNIST and N-Caltech101 (Orchard et al. 2015)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snnq.base.files import read_regular
from snnq.data.formats.raw import Raw, check_whole

N_MNIST = (34, 34)
N_CALTECH101 = (180, 240)
# The word's highest byte is y: the other three are one bit of polarity and 23 of time.
_RECORD = np.dtype({"names": ["x", "y", "word"], "formats": ["u1", "u1", ">u4"], "offsets": [0, 1, 1], "itemsize": 5})
_OVERFLOW_Y, _OVERFLOW_US = 240, 2**13


def read(file: Path) -> Raw:
    """Read 5 bytes an event: x, y, then one bit of polarity and 23 of time in µs, high byte first.

    An event at y = 240 is none, but says that the time of all that follow is 2¹³ µs later. The events are those that
    tonic's ``read_mnist_file`` gives, which takes four times as long; the file does not say the sensor's size.

    Raises DataError: the file is cut off.
    """
    data = read_regular(file)
    check_whole(file, len(data), _RECORD.itemsize, "data")
    found = np.frombuffer(data, _RECORD)
    x, y, word = found["x"].copy(), found["y"].copy(), found["word"].astype(np.uint32)
    p, t = (word & 2**23) != 0, (word & 2**23 - 1).astype(np.int64)
    overflow = y == _OVERFLOW_Y
    if overflow.any():
        t += _OVERFLOW_US * np.cumsum(overflow)
        x, y, p, t = x[~overflow], y[~overflow], p[~overflow], t[~overflow]
    return Raw(t, x, y, p)


def read_single(file: Path) -> Raw:
    """As ``read``; the sensor is N-MNIST's where the events fit into it, else N-Caltech101's."""
    found = read(file)
    small = all(part.max(initial=0) < size for part, size in ((found.y, N_MNIST[0]), (found.x, N_MNIST[1])))
    return Raw(found.t, found.x, found.y, found.p, N_MNIST if small else N_CALTECH101)
