"""A few real samples a class, from the training split of a data spec: what steers a generator."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from snnq.base.errors import UsageError
from snnq.base.progress import Progress
from snnq.base.strict_json import Json
from snnq.data import open_data
from snnq.data.dataset import Frames
from snnq.training.seeding import shuffled


@dataclass(frozen=True)
class FewShots:
    """``samples`` with their labels, class by class; ``facts``: the spec, which samples, and their sha256."""

    samples: Frames
    facts: Json


def few_shots(
    spec: str,
    names: tuple[str, ...],
    shots: int,
    steps: int,
    image_size: tuple[int, int],
    seed: int,
    progress: Progress,
) -> FewShots:
    """Return ``shots`` training samples of every class, drawn by the seed; no other split is looked at.

    Raises UsageError where a class has fewer, or the data have no labels or other classes.
    """
    data = open_data(spec, steps=steps, image_size=image_size, progress=progress)
    if data.labels != "given":
        raise UsageError(f"--few-shot {spec}: it has no labels", "name a few real samples by class")
    if len(data.classes) != len(names):
        raise UsageError(f"--few-shot {spec}: it has {len(data.classes)} classes, the model has {len(names)}")
    order = np.array(shuffled(len(data.train), seed, "few shots"), np.int64)
    chosen = []
    for label, name in enumerate(data.classes):
        own = order[data.train.labels[order] == label][:shots]
        if len(own) < shots:
            raise UsageError(
                f"--few-shot {spec}: class '{name}' has {len(own)} training samples, {shots} are asked for"
            )
        chosen += own.tolist()
    frames = np.ascontiguousarray(data.train.frames[np.array(chosen)])
    found = Frames(frames, data.train.labels[np.array(chosen)], data.train.pixels)
    content = hashlib.sha256(frames.tobytes()).hexdigest()
    return FewShots(found, {"data": str(data.spec), "shots": shots, "numbers": chosen, "sha256": content})
