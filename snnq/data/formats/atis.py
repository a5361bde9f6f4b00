"""``.bin``: the recordings of N-MNIST and N-Caltech101 (Orchard et al. 2015), read by tonic."""

from __future__ import annotations

from pathlib import Path

from snnq.data.formats.raw import Raw, check_whole

N_MNIST = (34, 34)
N_CALTECH101 = (180, 240)
_EVENT_BYTES = 5


def read(file: Path) -> Raw:
    """Read 5 bytes an event: x, y, polarity and 23 bits of time in µs; the file does not say the sensor's size.

    Raises:
        DataError: the file is cut off.
    """
    from tonic.io import events_struct, read_mnist_file

    check_whole(file, file.stat().st_size, _EVENT_BYTES, "data")
    found = read_mnist_file(str(file), dtype=events_struct)
    return Raw(found["t"], found["x"], found["y"], found["p"])


def read_single(file: Path) -> Raw:
    """As ``read``; the sensor is N-MNIST's where the events fit into it, else N-Caltech101's."""
    found = read(file)
    small = all(part.max(initial=0) < size for part, size in ((found.y, N_MNIST[0]), (found.x, N_MNIST[1])))
    return Raw(found.t, found.x, found.y, found.p, N_MNIST if small else N_CALTECH101)
