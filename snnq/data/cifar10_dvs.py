"""``cifar10-dvs:DIR``: CIFAR10-DVS (Li et al. 2017), <class>/*.aedat as published or *.aedat4 as tonic fetches them."""

from __future__ import annotations

from pathlib import Path

from snnq.base.errors import DataError
from snnq.data.cifar10 import CLASSES
from snnq.data.contract import Recordings, Request
from snnq.data.event_files import READERS, Recording, read_as
from snnq.data.folders import by_last_tenth, list_classes, locate
from snnq.data.formats import aedat
from snnq.data.recorded import open_recordings


def open_source(request: Request) -> Recordings:
    """Return the recordings; the set has no split of its own.

    Test are the last 100 of the 1 000 files of each class in lexicographic order, which is what SpikingJelly's
    ``split_to_train_test_set(0.9, …)`` gives Spikformer; validation is 15 % of the others, by class.

    Raises:
        DataError: a class is missing.
    """
    root = locate(request.spec.path, ("CIFAR10DVS", "extract"))
    missing = [name for name in CLASSES if not (root / name).is_dir()]
    if missing:
        raise DataError(
            f"{root}: no folder '{missing[0]}' in it; expected one for each of {', '.join(CLASSES)}.",
            "Unpack the ten archives there, or fetch them: 'snnq data prepare SPEC --download'.",
        )
    found = list_classes(root, CLASSES, (".aedat", ".aedat4"))
    return open_recordings(request, by_last_tenth(root, CLASSES, found), read_recording)


def read_recording(file: Path) -> Recording:
    """Read one recording of 128×128 pixels. AEDAT 2 gives the coordinates that SpikingJelly gives; AEDAT 4 its own.

    Raises:
        DataError: the file cannot be read, is cut off or damaged, or has an event outside the field or back in time.
        MissingLibraryError: AEDAT 4 needs a library that is not installed.
    """
    return read_as(file, READERS[file.suffix.lower()], aedat.DVS128)
