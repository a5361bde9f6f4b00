"""Some classes of a data set, in an order of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from snnq.base.errors import DataError, nearest
from snnq.data.dataset import DataSet, Frames


def only_classes(data: DataSet, classes: Sequence[str]) -> DataSet:
    """Return the samples of ``classes``, whose labels are then their places there.

    Raises DataError for classes that the data lack, and for data without labels.
    """
    if data.labels == "none":
        raise DataError(f"{data.spec} has no labels, and classes are told by them", "name labelled data: --data SPEC")
    for name in classes:
        if name not in data.classes:
            raise DataError(
                f"{data.spec} has no class '{name}'{nearest(name, data.classes)}",
                f"its classes are {', '.join(data.classes[:12])}{', …' if len(data.classes) > 12 else ''}",
            )
    places = np.full(len(data.classes), -1, np.int64)
    places[[data.classes.index(name) for name in classes]] = range(len(classes))
    parts = {split: _part(getattr(data, split), places) for split in ("train", "validation", "test")}
    return replace(data, classes=tuple(classes), other_orders={}, **parts)


def _part(frames: Frames, places: np.ndarray) -> Frames:
    labels = places[frames.labels]
    if (labels >= 0).all():
        return replace(frames, labels=labels)
    kept = np.flatnonzero(labels >= 0)
    videos = None if frames.videos is None else frames.videos[kept]
    return replace(frames, frames=frames.frames[kept], labels=labels[kept], videos=videos)


def check_samples(data: DataSet, split: str) -> None:
    """Raise DataError where a split has no sample of some class."""
    there = set(getattr(data, split).labels.tolist())
    lacking = ", ".join(name for label, name in enumerate(data.classes) if label not in there)
    if lacking:
        raise DataError(f"{data.spec}: its {split} split has no sample of {lacking}", "leave the class out: --tasks")
