"""``frames:DIR``: frame files as SpikingJelly writes them, ``<class>/*.npz`` with the key ``frames``."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.data.dataset import LARGEST_COUNT, Recordings, Request
from snnq.data.folders import (
    Sorted,
    by_folders,
    by_last_tenth,
    class_names,
    class_orders,
    list_classes,
    locate,
    open_files,
    split_folder,
)
from snnq.data.formats.arrays import open_npz
from snnq.data.integrator import By

_MOST_CHANNELS = 256
_SPLITS = ("train", "test", "validation", "val", "valid")


def open_source(request: Request) -> Recordings:
    """Return the frames of train/, test/ and, where there is one, validation/ (or val/).

    Where there is neither train/ nor test/, but classes, as SpikingJelly lays out CIFAR10-DVS, test is the last tenth
    of each class. ``DIR`` may also be the folder above, with ``frames_number_<T>_split_by_number`` in it. Classes are
    in the order of their names as strings, as SpikingJelly's own loader has them; by number with ``classes=numeric``.

    Raises DataError: a folder is missing or empty.
    """
    root = _frames_folder(locate(request.spec.path), request.steps)
    found = _sorted(root, request.spec.option("classes") or "name")
    first = found.splits["train"].files[0]
    read = partial(read_sample, first=first, steps=request.steps, image_size=request.image_size)
    return replace(open_files(request, found, read), orders=class_orders(found.classes))


def cut_by(path: str, steps: int) -> By | None:
    """Return how the frames in a folder were cut, where SpikingJelly's name of it says it."""
    try:
        name = _frames_folder(locate(path), steps).name
    except DataError:  # it is not there any more
        name = Path(path).name
    ends: dict[str, By] = {"_split_by_time": "time", "_split_by_number": "count"}
    return next((by for end, by in ends.items() if name.endswith(end)), None)


def _frames_folder(root: Path, steps: int) -> Path:
    """Return the folder of frames itself, or that for ``steps`` time steps in SpikingJelly's folder of a set."""
    inside = sorted(path.name for path in root.glob("frames_number_*_split_by_*") if path.is_dir())
    if not inside:
        return root
    fitting = [name for name in inside if name.startswith(f"frames_number_{steps}_split_by_")]
    if len(fitting) != 1:
        what = f"{len(fitting)} folders" if fitting else "no folder"
        raise DataError(
            f"{root}: {what} for {steps} time steps among {', '.join(inside)}.",
            "Name one of these folders in the data spec, and use a model of its time steps.",
        )
    return root / fitting[0]


def _sorted(root: Path, order: str) -> Sorted:
    if any(split_folder(root, (name,)) for name in _SPLITS):
        return by_folders(root, ".npz", order)
    classes = class_names(root)
    if not any(path.suffix.lower() == ".npz" for name in classes for path in (root / name).iterdir()):
        raise DataError(
            f"{root}: no frames in it; expected train/<class>/*.npz and test/<class>/*.npz, or <class>/*.npz.",
            "Name the folder that SpikingJelly wrote, such as DVS128Gesture/frames_number_16_split_by_number.",
        )
    classes = class_names(root, order)
    return by_last_tenth(root, classes, list_classes(root, classes, ".npz"))


def read_sample(file: Path, first: Path, steps: int, image_size: tuple[int, int]) -> np.ndarray:
    """As ``read_frames``; the sample must have as many channels as the ``first`` one, if that can be read.

    Raises DataError: as ``read_frames``, or the shapes differ.
    """
    counts = read_frames(file, steps, image_size)
    expected = _shape(first, steps, image_size)
    if expected not in (None, counts.shape):
        raise DataError(f"{file}: its counts are {counts.shape}, those of {first} are {expected}.")
    return counts


@lru_cache(maxsize=4)
def _shape(file: Path, steps: int, image_size: tuple[int, int]) -> tuple[int, ...] | None:
    try:
        return read_frames(file, steps, image_size).shape
    except DataError:
        return None


def holds_frames(file: Path) -> bool:
    """Whether a file is one of frames, not of events; raises DataError where it is a damaged .npz."""
    if file.suffix.lower() != ".npz" or not file.is_file():
        return False
    with open_npz(file) as archive:
        return "frames" in archive.names() and "x" not in archive.names()


def read_frames(file: Path, steps: int, image_size: tuple[int, int]) -> np.ndarray:
    """Read one sample: whole-number counts (T, C, H, W), int64.

    Raises DataError: the file is damaged, has no ``frames``, another shape, or values that are no counts up to 65 535.
    """
    with open_npz(file) as archive:
        if "frames" not in archive.names():
            raise DataError(f"{file}: no key 'frames', found {list(archive.names())}.")
        header = archive.header("frames")
        _check_shape(file, header.shape, steps, image_size)
        kept = header.dtype.kind in "buif"
        frames = archive.read("frames") if kept else np.zeros(0)
    if not kept or not (np.isfinite(frames) & (frames == np.floor(frames)) & (frames >= 0)).all():
        raise DataError(f"{file}: 'frames' holds values that are no counts (whole numbers of at least 0).")
    if (largest := frames.max(initial=0)) > LARGEST_COUNT:
        raise DataError(f"{file}: 'frames' holds {largest:g}, allowed: counts of 0 to {LARGEST_COUNT}.")
    return frames.astype(np.int64)


def _check_shape(file: Path, shape: tuple[int, ...], steps: int, image_size: tuple[int, int]) -> None:
    """Raise DataError unless frames are as the model takes them, before they are unpacked."""
    if len(shape) != 4 or shape[0] != steps or shape[2:] != image_size or not 1 <= shape[1] <= _MOST_CHANNELS:
        want = f"({steps}, C, {image_size[0]}, {image_size[1]})"
        hint = "Use a model of this shape, or make the frames again in the model's shape."
        raise DataError(f"{file}: 'frames' is {shape}, the model takes {want}.", hint)
