"""``dvs128-gesture:DIR``: IBM's DVS128 Gesture (Amir et al. 2017) as tonic lays it out, a file for each gesture."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from snnq.data.contract import Recordings, Request
from snnq.data.event_files import Recording, read_as
from snnq.data.folders import ClassFolders, hold_out, locate
from snnq.data.formats import aedat, arrays
from snnq.data.recorded import open_recordings
from snnq.errors import DataError

CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter-clockwise",
    "left arm clockwise",
    "left arm counter-clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
_FOLDERS = {"train": "ibmGestureTrain", "test": "ibmGestureTest"}


def open_source(request: Request) -> Recordings:
    """Return the recordings of ``ibmGestureTrain`` and ``ibmGestureTest``: 23 and 6 persons, the official split.

    Validation is 15 % of the training recordings, by class, not by person.

    Raises:
        DataError: a folder is missing or empty, or a file is named after no gesture.
    """
    root = locate(request.spec.path, ("DVSGesture",))
    train, test = (_files(root, name) for name in _FOLDERS.values())
    found = hold_out(root, CLASSES, train, test, "official train and test persons")
    return open_recordings(request, found, read_recording)


def _files(root: Path, name: str) -> ClassFolders:
    """Return <person>_<light>/<gesture>.npy, by gesture and path."""
    files = [
        file for file in sorted((root / name).glob("user*/*")) if file.suffix.lower() == ".npy" and file.name[0] != "."
    ]
    if not files:
        raise DataError(
            f"{root}: no {name}/user*/*.npy in it, as tonic's DVSGesture lays the set out.",
            "Fetch it: 'snnq data prepare SPEC --download'.",
        )
    for file in files:
        if not re.fullmatch(r"\d|10", file.stem):
            raise DataError(f"{file}: named after no gesture, allowed: 0.npy to {len(CLASSES) - 1}.npy.")
    labels = np.array([int(file.stem) for file in files], dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    return ClassFolders(tuple(files[index] for index in order), labels[order])


def read_recording(file: Path) -> Recording:
    """Read one gesture: numbers (N, 4), which are x, y, p and t in ms, of 128×128 pixels; as tonic's ``DVSGesture``.

    Raises:
        DataError: the file cannot be read, is cut off or damaged, or has an event outside the field or back in time.
    """
    return read_as(file, arrays.read_npy, aedat.DVS128)
