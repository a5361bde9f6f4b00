"""``dvs128-gesture:DIR``: IBM's DVS128 Gesture (Amir et al. 2017) as tonic lays it out, a file for each gesture."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.data.contract import Recordings, Request
from snnq.data.event_files import Recording, read_as
from snnq.data.folders import ClassFolders, hold_out, locate
from snnq.data.formats import aedat, arrays
from snnq.data.recorded import open_recordings

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
# The gesture of each label: tonic's numbers are those of the files, and the published ones minus one.
ORDERS = {
    "tonic": tuple(range(len(CLASSES))),
    "spikingjelly": tuple(sorted(range(len(CLASSES)), key=str)),
}
_FOLDERS = {"train": "ibmGestureTrain", "test": "ibmGestureTest"}


def open_source(request: Request) -> Recordings:
    """Return the recordings of ``ibmGestureTrain`` and ``ibmGestureTest``: 23 and 6 persons, the official split.

    Validation is 15 % of the training recordings, by class, not by person. Option ``numbering``: ``tonic`` (default)
    takes a file's number for the label; SpikingJelly names class folders 0 to 10 by it, which its loader, torchvision's
    ``DatasetFolder``, sorts as strings: 0, 1, 10, 2, … (``spikingjelly``).

    Raises:
        DataError: a folder is missing or empty, or a file is named after no gesture.
    """
    root = locate(request.spec.path, ("DVSGesture",))
    order = ORDERS[request.spec.option("numbering") or "tonic"]
    train, test = (_files(root, name, order) for name in _FOLDERS.values())
    orders = {name: tuple(CLASSES[number] for number in numbers) for name, numbers in ORDERS.items()}
    classes = tuple(CLASSES[number] for number in order)
    found = hold_out(root, classes, train, test, "official train and test persons")
    return replace(open_recordings(request, found, read_recording), orders=orders)


def _files(root: Path, name: str, numbers: tuple[int, ...]) -> ClassFolders:
    """Return <person>_<light>/<gesture>.npy, by label and path; label i is the gesture ``numbers[i]``."""
    files = [
        file for file in sorted((root / name).glob("user*/*")) if file.suffix.lower() == ".npy" and file.name[0] != "."
    ]
    if not files:
        raise DataError(
            f"{root}: no {name}/user*/*.npy in it, as tonic's DVSGesture lays the set out.",
            "Fetch it: 'snnq data prepare SPEC --download'.",
        )
    for file in files:
        if not re.fullmatch(r"[0-9]|10", file.stem):
            raise DataError(f"{file}: named after no gesture, allowed: 0.npy to {len(CLASSES) - 1}.npy.")
    labels = np.array([numbers.index(int(file.stem)) for file in files], dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    return ClassFolders(tuple(files[index] for index in order), labels[order])


def read_recording(file: Path) -> Recording:
    """Read one gesture: numbers (N, 4), which are x, y, p and t in ms, of 128×128 pixels; as tonic's ``DVSGesture``.

    Raises:
        DataError: the file cannot be read, is cut off or damaged, or has an event outside the field or back in time.
    """
    return read_as(file, arrays.read_npy, aedat.DVS128)
