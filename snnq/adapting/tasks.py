"""The tasks of a data set, one after the other: which classes are learned together, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.base.errors import UsageError, nearest
from snnq.base.files import read_text
from snnq.base.strict_json import strict_json
from snnq.data import DataSet
from snnq.data.classes import check_samples, only_classes
from snnq.training.seeding import shuffled


@dataclass(frozen=True)
class Lessons:
    """Data whose classes are in the order in which they are learned, ``sizes`` of them in each task."""

    data: DataSet
    sizes: tuple[int, ...]

    def classes_of(self, task: int) -> range:
        """Return the labels of a task, the first of which is 0."""
        begin = sum(self.sizes[:task])
        return range(begin, begin + self.sizes[task])

    def members(self, split: str, task: int) -> np.ndarray:
        """Return the places of a task's samples in a split."""
        labels, own = getattr(self.data, split).labels, self.classes_of(task)
        return np.flatnonzero((labels >= own.start) & (labels < own.stop))


def lessons_of(data: DataSet, tasks: str, order: int) -> Lessons:
    """Return a data set task by task.

    ``tasks``: ``classes:N``, N classes a task (the last has what is left); ``joint``, all at once; or a JSON file, a
    list of lists of class names. ``order`` n > 0 draws the n-th order of the classes first, or of a file's tasks.
    Raises UsageError for tasks that cannot be, DataError where the data lack a class or its samples.
    """
    groups = _groups(data, tasks, order)
    found = Lessons(only_classes(data, [name for group in groups for name in group]), tuple(map(len, groups)))
    for split in ("train", "test"):
        check_samples(found.data, split)
    return found


def _groups(data: DataSet, tasks: str, order: int) -> list[list[str]]:
    parsed = re.fullmatch(r"classes:(\d{1,6})", tasks)
    if parsed is None and tasks != "joint":
        groups = _read(Path(tasks), data)
        return [groups[i] for i in _order(len(groups), order)]
    names = [data.classes[i] for i in _order(len(data.classes), order)]
    size = len(names) if parsed is None else int(parsed[1])
    if size < 1:
        raise UsageError(f"--tasks {tasks}: at least one class a task is needed")
    return [names[i : i + size] for i in range(0, len(names), size)]


def _order(count: int, order: int) -> Sequence[int]:
    return range(count) if order == 0 else shuffled(count, order, "order of classes")


def _read(path: Path, data: DataSet) -> list[list[str]]:
    """Return the tasks of a file; raises UsageError where it is none, or names a class twice or an unknown one."""
    hint = 'classes:2, joint, or a JSON file such as [["A", "B"], ["C"]]'
    try:
        found = strict_json(read_text(path))
    except OSError as problem:
        raise UsageError(f"--tasks {path}: cannot be read ({problem.strerror})", hint) from None
    except ValueError as problem:
        raise UsageError(f"--tasks {path}: not valid JSON ({problem})", hint) from None
    whole = isinstance(found, list) and found and all(isinstance(one, list) and one for one in found)
    if not whole or not all(isinstance(name, str) for group in found for name in group):
        raise UsageError(f"--tasks {path}: a list of lists of class names is wanted", hint)
    names = [name for group in found for name in group]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--tasks {path}: class '{name}' is in it twice")
        if name not in data.classes:
            raise UsageError(f"--tasks {path}: {data.spec} has no class '{name}'{nearest(name, data.classes)}")
    return found
