"""``n-caltech101:DIR``: N-Caltech101's own raw recordings (Orchard et al. 2015), <class>/*.bin, 180×240 and smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from snnq.data.contract import Recordings, Request
from snnq.data.event_files import Recording, read_as
from snnq.data.folders import by_last_tenth, class_names, list_classes, locate
from snnq.data.formats import atis
from snnq.data.recorded import open_recordings


def open_source(request: Request) -> Recordings:
    """Return the recordings, resized to the image size; the set has no split of its own.

    As STAtten's code, test is the last tenth of each class (⌊0.9 n⌋ files are left), frames are cut at 180×240 and
    then resized by the nearest pixel. Its files are in the order in which a folder happens to list them; here the order
    is lexicographic. Coordinates are not shifted to begin at 0, as tonic does. Validation is 15 % of train, by class.

    Raises:
        DataError: the folder has no class with recordings.
    """
    root = locate(request.spec.path, ("Caltech101", "NCALTECH101/Caltech101"))
    classes = class_names(root)
    found = by_last_tenth(root, classes, list_classes(root, classes, ".bin"), round_down=True)
    recordings = open_recordings(request, found, read_recording)
    return replace(recordings, fingerprint=recordings.fingerprint | {"resized": "nearest"})


def read_recording(file: Path) -> Recording:
    """Read one recording of 180×240 pixels.

    Raises:
        DataError: the file cannot be read, is empty or cut off, or has an event outside the field or back in time.
    """
    return read_as(file, atis.read, atis.N_CALTECH101)
