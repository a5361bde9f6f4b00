"""Samples as files in one folder a class: how they are told apart into splits, hashed, and read in chunks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.data.dataset import Damaged, Part, Recordings, Request, Samples
from snnq.data.event_files import read_events
from snnq.data.fingerprint import hash_files
from snnq.data.integrator import By, integrate_resized
from snnq.data.spec import SPLITS
from snnq.data.splits import VALIDATION_SHARE, Hashed, limited, noted, stratified

HELD_OUT = f"validation is {VALIDATION_SHARE:.0%} of train, by class".replace("%", " %")


@dataclass(frozen=True)
class ClassFolders:
    """The files of one split, in order of class and name, and their labels int64 (N,)."""

    files: tuple[Path, ...]
    labels: np.ndarray


@dataclass(frozen=True)
class Sorted:
    """A set's files, all below ``root``, by split (train, validation, test), and ``how`` these were told apart."""

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, ClassFolders]
    how: str


def locate(path: str, inside: Sequence[str] = ()) -> Path:
    """Return the folder of a spec, or the first of the folders ``inside`` it that there is.

    Raises DataError: there is no such folder.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        problem = "it is no folder" if root.exists() else "folder not found"
        raise DataError(f"{root}: {problem}.", "say where the data lie: --data SOURCE:DIR")
    return next((root / name for name in inside if (root / name).is_dir()), root)


def split_folder(root: Path, names: Sequence[str]) -> Path | None:
    """Return the first folder of ``root`` with one of the names, whatever its case, or None."""
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    return next((folders[name] for name in names if name in folders), None)


def class_names(folder: Path, order: str = "name") -> tuple[str, ...]:
    """Return the class folders' names in an order of ``class_orders``.

    Raises DataError: by number, and a name is no number.
    """
    names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))]
    orders = class_orders(names)
    if order not in orders:
        wrong = min(name for name in names if not _is_number(name))
        raise DataError(f"{folder}: classes={order}, but the class folder '{wrong}' is no number.", "Drop 'classes'.")
    return orders[order]


def class_orders(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the classes by ``name``, as strings of code points, and ``numeric`` where all are numbers.

    The first is the order of torchvision's ``DatasetFolder`` and so of SpikingJelly's sets: 0, 1, 10, 2, …
    """
    by_name = {"name": tuple(sorted(names))}
    if not all(map(_is_number, names)):
        return by_name
    return by_name | {"numeric": tuple(sorted(names, key=lambda name: (int(name), name)))}


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) <= 18


def list_samples(folder: Path, classes: Sequence[str], suffixes: str | tuple[str, ...]) -> ClassFolders:
    """Return every <class>/*<suffix> file of a split.

    Raises DataError: a class folder that is not one of ``classes``, or no file at all.
    """
    strange = [name for name in class_names(folder) if name not in classes]
    if strange:
        raise DataError(
            f"{folder / strange[0]}: class '{strange[0]}' is not among the training classes {list(classes)}."
        )
    return list_classes(folder, classes, suffixes)


def list_classes(folder: Path, classes: Sequence[str], suffixes: str | tuple[str, ...]) -> ClassFolders:
    """Return every <class>/*<suffix> file of these classes, whatever other folders there are; by class and name.

    Names are in lexicographic order (``a_10`` before ``a_2``), as torchvision's and so SpikingJelly's folders are.

    Raises DataError: there is no such file.
    """
    found = [_files(folder / name, suffixes) for name in classes]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in found])
    if not len(labels):
        kinds = " or ".join((suffixes,) if isinstance(suffixes, str) else suffixes)
        raise DataError(f"{folder}: no <class>/*{kinds} file in it.")
    return ClassFolders(tuple(file for files in found for file in files), labels)


def _files(folder: Path, suffixes: str | tuple[str, ...]) -> list[Path]:
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    return [folder / name for name in names if name.lower().endswith(suffixes) and name[0] != "."]


def pick(split: ClassFolders, indices: np.ndarray) -> ClassFolders:
    """Return some of a split's samples."""
    return ClassFolders(tuple(split.files[index] for index in indices), split.labels[indices])


def by_folders(root: Path, suffix: str, order: str = "name") -> Sorted:
    """Return the files of ``<train|test[|validation]>/<class>/*<suffix>``; ``order`` is ``class_names``'.

    Without a validation folder, 15 % of the training samples are held out as validation, class by class.

    Raises DataError: a folder is missing or empty, or a class is unknown.
    """
    train_folder, test_folder = _needed(root, "train", suffix), _needed(root, "test", suffix)
    classes = class_names(train_folder, order)
    train, test = list_samples(train_folder, classes, suffix), list_samples(test_folder, classes, suffix)
    validation_folder = split_folder(root, ("validation", "val", "valid"))
    if validation_folder is None:
        return hold_out(root, classes, train, test, "train and test as in the folders")
    validation = list_samples(validation_folder, classes, suffix)
    splits = {"train": train, "validation": validation, "test": test}
    return Sorted(root, classes, splits, "train, validation and test as in the folders")


def hold_out(root: Path, classes: tuple[str, ...], train: ClassFolders, test: ClassFolders, how: str) -> Sorted:
    """Take validation from train, class by class."""
    held_out, kept = stratified(train.labels, (VALIDATION_SHARE,))
    splits = {"train": pick(train, kept), "validation": pick(train, held_out), "test": test}
    return Sorted(root, classes, splits, f"{how}; {HELD_OUT}")


def by_last_tenth(root: Path, classes: tuple[str, ...], found: ClassFolders, round_down: bool = False) -> Sorted:
    """Take as test the last tenth of each class's files in lexicographic order.

    Of n files, ⌈0.9 n⌉ are for training as in SpikingJelly's ``split_to_train_test_set(0.9, …)``, or ⌊0.9 n⌋ with
    ``round_down`` as in STAtten's ``NCaltech101_aug``.
    """
    cut = math.floor if round_down else math.ceil
    train: list[np.ndarray] = []
    test: list[np.ndarray] = []
    for label in range(len(classes)):
        own = np.flatnonzero(found.labels == label)
        keep = cut(len(own) * 0.9)
        train.append(own[:keep])
        test.append(own[keep:])
    how = "test is the last tenth of each class's files in lexicographic order"
    return hold_out(root, classes, pick(found, np.concatenate(train)), pick(found, np.concatenate(test)), how)


def _needed(root: Path, name: str, suffix: str) -> Path:
    folder = split_folder(root, (name,))
    if folder is None:
        raise DataError(
            f"{root}: no folder '{name}' in it; expected train/<class>/*{suffix} and test/<class>/*{suffix}."
        )
    return folder


def open_recordings(request: Request, found: Sorted, sensor: tuple[int, int]) -> Recordings:
    """Return event recordings of a sensor (height, width), one a file, as frames of the model's steps and image size.

    Recordings of another size than the model's are resized by the nearest pixel (``integrate_resized``).
    """
    frames = partial(_frames, sensor=sensor, steps=request.steps, image_size=request.image_size, by=request.spec.by)
    return open_files(request, found, frames, quick=True)


def _frames(file: Path, sensor: tuple[int, int], steps: int, image_size: tuple[int, int], by: By) -> np.ndarray:
    """Return one recording's counts (steps, 2, *image_size)."""
    recording = read_events(file, sensor)
    return integrate_resized(recording.events, steps, recording.sensor, image_size, by)


def open_files(request: Request, found: Sorted, read: Callable[[Path], np.ndarray], quick: bool = False) -> Recordings:
    """Return recordings of which ``read(file)`` gives the counts (T, C, H, W); the spec's ``limit`` is obeyed.

    ``quick`` is ``hash_files``'.
    """
    splits = {
        name: pick(split, limited(np.arange(len(split.labels)), split.labels, request.spec.limit(name)))
        for name, split in found.splits.items()
    }
    files = [file for split in splits.values() for file in split.files]
    content = hash_files(found.root, files, request.cache, request.progress, quick)
    left = iter(content.files)
    hashed = {
        name: Hashed(split.files, split.labels.tolist(), list(islice(left, len(split.files))))
        for name, split in splits.items()
    }
    return Recordings(
        classes=found.classes,
        fingerprint={"content": content.total},
        split=noted(request, found.how, hashed),
        read=lambda: _samples(splits, request.chunk, read),
    )


def _samples(splits: Mapping[str, ClassFolders], chunk: int, read: Callable[[Path], np.ndarray]) -> dict[str, Samples]:
    def samples(split: ClassFolders) -> Samples:
        def part(start: int, stop: int) -> Part:
            return partial(_read_all, split.files[start:stop], read)

        return Samples(split.labels, chunk, part)

    return {name: samples(splits[name]) for name in SPLITS}


def _read_all(files: Sequence[Path], read: Callable[[Path], np.ndarray]) -> Iterator[np.ndarray | Damaged]:
    for file in files:
        try:
            yield read(file)
        except DataError as error:
            yield Damaged.of(str(file), error)
