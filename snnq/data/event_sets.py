"""Published event sets, a file for each recording, as their authors or tonic lay them out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.data.dataset import Recordings, Request
from snnq.data.folders import (
    ClassFolders,
    by_folders,
    by_last_tenth,
    class_names,
    hold_out,
    list_classes,
    locate,
    open_recordings,
)
from snnq.data.formats import aedat, atis
from snnq.data.image_sets import CLASSES

GESTURES = (
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
ORDERS = {"tonic": tuple(range(len(GESTURES))), "spikingjelly": tuple(sorted(range(len(GESTURES)), key=str))}
_GESTURE_FOLDERS = {"train": "ibmGestureTrain", "test": "ibmGestureTest"}


def n_mnist(request: Request) -> Recordings:
    """Return N-MNIST's own raw recordings (Orchard et al. 2015), Train/ and Test/<class>/*.bin of 34×34 pixels.

    Test is the official split, and validation 15 % of the training split. Option ``by``: how events are cut into
    frames, ``count`` (default) or ``time``. Raises DataError where a folder is missing or empty.
    """
    return open_recordings(request, by_folders(locate(request.spec.path, ("NMNIST",)), ".bin"), atis.N_MNIST)


def n_caltech101(request: Request) -> Recordings:
    """Return N-Caltech101's own raw recordings (Orchard et al. 2015), <class>/*.bin, 180×240 pixels and smaller.

    They are resized to the image size; the set has no split of its own. As STAtten's code, test is the last tenth of
    each class (⌊0.9 n⌋ files are left), frames are cut at 180×240 and then resized by the nearest pixel. Its files are
    in the order in which a folder happens to list them; here the order is lexicographic. Coordinates are not shifted to
    begin at 0, as tonic does. Validation is 15 % of train, by class.

    Raises DataError where the folder has no class with recordings.
    """
    root = locate(request.spec.path, ("Caltech101", "NCALTECH101/Caltech101"))
    classes = class_names(root)
    found = by_last_tenth(root, classes, list_classes(root, classes, ".bin"), round_down=True)
    recordings = open_recordings(request, found, atis.N_CALTECH101)
    return replace(recordings, fingerprint=recordings.fingerprint | {"resized": "nearest"})


def cifar10_dvs(request: Request) -> Recordings:
    """Return CIFAR10-DVS (Li et al. 2017), <class>/*.aedat as published or *.aedat4 as tonic fetches them, 128×128.

    The set has no split of its own. Test are the last 100 of the 1 000 files of each class in lexicographic order,
    which is what SpikingJelly's ``split_to_train_test_set(0.9, …)`` gives Spikformer; validation is 15 % of the others,
    by class. AEDAT 2 gives the coordinates that SpikingJelly gives; AEDAT 4 its own.

    Raises DataError where a class is missing.
    """
    root = locate(request.spec.path, ("CIFAR10DVS", "extract"))
    missing = [name for name in CLASSES if not (root / name).is_dir()]
    if missing:
        raise DataError(
            f"{root}: no folder '{missing[0]}' in it; expected one for each of {', '.join(CLASSES)}.",
            "Unpack the ten archives there, or fetch them: 'snnq data prepare SPEC --download'.",
        )
    found = list_classes(root, CLASSES, (".aedat", ".aedat4"))
    return open_recordings(request, by_last_tenth(root, CLASSES, found), aedat.DVS128)


def dvs128_gesture(request: Request) -> Recordings:
    """Return IBM's DVS128 Gesture (Amir et al. 2017) as tonic lays it out, a file of 128×128 pixels for each gesture.

    ``ibmGestureTrain`` and ``ibmGestureTest`` are the official split: 23 and 6 persons. A file holds numbers (N, 4),
    which are x, y, p and t in ms. Validation is 15 % of the training recordings, by class, not by person. Option
    ``numbering``: ``tonic`` (default) takes a file's number for the label; SpikingJelly names class folders 0 to 10 by
    it, which its loader, torchvision's ``DatasetFolder``, sorts as strings: 0, 1, 10, 2, … (``spikingjelly``).

    Raises DataError where a folder is missing or empty, or a file is named after no gesture.
    """
    root = locate(request.spec.path, ("DVSGesture",))
    order = ORDERS[request.spec.option("numbering") or "tonic"]
    train, test = (_gestures(root, name, order) for name in _GESTURE_FOLDERS.values())
    orders = {name: tuple(GESTURES[number] for number in numbers) for name, numbers in ORDERS.items()}
    classes = tuple(GESTURES[number] for number in order)
    found = hold_out(root, classes, train, test, "official train and test persons")
    return replace(open_recordings(request, found, aedat.DVS128), orders=orders)


def _gestures(root: Path, name: str, numbers: tuple[int, ...]) -> ClassFolders:
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
            raise DataError(f"{file}: named after no gesture, allowed: 0.npy to {len(GESTURES) - 1}.npy.")
    labels = np.array([numbers.index(int(file.stem)) for file in files], dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    return ClassFolders(tuple(files[index] for index in order), labels[order])
