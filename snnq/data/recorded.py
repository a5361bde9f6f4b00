"""What sources with one file a sample share: their splits, their content hash, their walk in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from snnq.data.contract import Recordings, Request, Samples
from snnq.data.fingerprint import hash_files
from snnq.data.folders import ClassFolders, class_names, list_samples, split_folder
from snnq.data.splits import VALIDATION_SHARE, limited, stratified
from snnq.errors import DataError

_BLOCK = 64


def open_files(request: Request, suffix: str, read: Callable[[Path], np.ndarray]) -> Recordings:
    """Return the recordings of ``<train|test[|validation]>/<class>/*<suffix>``.

    ``read(file)`` returns one sample's counts (T, C, H, W). Without a validation folder, 15 % of the training samples
    are held out as validation, class by class.

    Raises:
        DataError: a folder is missing or empty, or a class is unknown.
    """
    root = Path(request.spec.path).expanduser()
    train_folder, test_folder = _needed(root, "train", suffix), _needed(root, "test", suffix)
    classes = class_names(train_folder)
    train, test = list_samples(train_folder, classes, suffix), list_samples(test_folder, classes, suffix)
    validation_folder = split_folder(root, ("validation", "val", "valid"))
    if validation_folder is None:
        held_out, kept = stratified(train.labels, (VALIDATION_SHARE,))
        validation, train = _pick(train, held_out), _pick(train, kept)
    else:
        validation = list_samples(validation_folder, classes, suffix)
    splits = {"train": train, "validation": validation, "test": test}
    splits = {
        name: _pick(split, limited(np.arange(len(split.labels)), split.labels, request.spec.limit(name)))
        for name, split in splits.items()
    }
    files = [file for split in splits.values() for file in split.files]
    return Recordings(
        classes=classes,
        fingerprint={"content": hash_files(root, files, request.cache, request.progress)},
        read=lambda: {
            name: Samples(split.labels, partial(_walk, split.files, files[0], read)) for name, split in splits.items()
        },
    )


def _needed(root: Path, name: str, suffix: str) -> Path:
    folder = split_folder(root, (name,))
    if folder is None:
        what = "folder not found" if not root.exists() else f"no folder '{name}' in it"
        raise DataError(f"{root}: {what}; expected train/<class>/*{suffix} and test/<class>/*{suffix}.")
    return folder


def _pick(split: ClassFolders, indices: np.ndarray) -> ClassFolders:
    return ClassFolders(tuple(split.files[index] for index in indices), split.labels[indices])


def _walk(files: tuple[Path, ...], first: Path, read: Callable[[Path], np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the samples in blocks; each must have the shape of the ``first`` one."""
    shape = read(first).shape
    for start in range(0, len(files), _BLOCK):
        block = [read(file) for file in files[start : start + _BLOCK]]
        for file, sample in zip(files[start : start + _BLOCK], block, strict=True):
            if sample.shape != shape:
                raise DataError(f"{file}: its counts are {sample.shape}, those of {first} are {shape}.")
        yield np.stack(block)
