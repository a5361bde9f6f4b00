"""Samples as files in one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.errors import DataError


@dataclass(frozen=True)
class ClassFolders:
    """The files of one split, in order of class and name, and their labels int64 (N,)."""

    files: tuple[Path, ...]
    labels: np.ndarray


def split_folder(root: Path, names: Sequence[str]) -> Path | None:
    """Return the first folder of ``root`` with one of the names, whatever its case, or None."""
    folders = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()} if root.is_dir() else {}
    return next((folders[name] for name in names if name in folders), None)


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the class folders' names: in order of number where all are numbers, else of the alphabet."""
    names = [path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    number = all(name.isascii() and name.isdigit() for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if number else (lambda name: (0, name))))


def list_samples(folder: Path, classes: Sequence[str], suffix: str) -> ClassFolders:
    """Return every <class>/*<suffix> file of a split.

    Raises:
        DataError: a class folder that is not one of ``classes``, or no file at all.
    """
    strange = [name for name in class_names(folder) if name not in classes]
    if strange:
        raise DataError(
            f"{folder / strange[0]}: class '{strange[0]}' is not among the training classes {list(classes)}."
        )
    found = [sorted((folder / name).glob(f"*{suffix}")) for name in classes]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in found])
    if not len(labels):
        raise DataError(f"{folder}: no <class>/*{suffix} file in it.")
    return ClassFolders(tuple(file for files in found for file in files), labels)
