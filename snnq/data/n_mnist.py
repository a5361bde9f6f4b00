"""``n-mnist:DIR``: N-MNIST's own raw recordings (Orchard et al. 2015), Train/ and Test/<class>/*.bin."""

from __future__ import annotations

from pathlib import Path

from snnq.data.contract import Recordings, Request
from snnq.data.event_files import Recording, read_as
from snnq.data.folders import by_folders, locate
from snnq.data.formats import atis
from snnq.data.recorded import open_recordings


def open_source(request: Request) -> Recordings:
    """Return the recordings: the official test split, and 15 % of the training split as validation.

    Option ``by``: how events are cut into frames, ``count`` (default) or ``time``.

    Raises:
        DataError: a folder is missing or empty.
    """
    return open_recordings(request, by_folders(locate(request.spec.path, ("NMNIST",)), ".bin"), read_recording)


def read_recording(file: Path) -> Recording:
    """Read one recording of 34×34 pixels.

    Raises:
        DataError: the file cannot be read, is empty or cut off, or has an event outside the field or back in time.
    """
    return read_as(file, atis.read, atis.N_MNIST)
