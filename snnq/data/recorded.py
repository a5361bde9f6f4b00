"""What sources with one file a sample share: their content hash, and their samples in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.data.contract import Damaged, Part, Recordings, Request, Samples
from snnq.data.event_files import read_events
from snnq.data.fingerprint import hash_files
from snnq.data.folders import ClassFolders, Sorted, pick
from snnq.data.integrator import By, integrate_resized
from snnq.data.spec import SPLITS
from snnq.data.splits import Hashed, limited, noted


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
