"""Making all candidates, chunk by chunk: each is a file in the run's folder, so that what was cut off goes on there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.files import read_text, write_atomic
from snnq.base.placing import replacing
from snnq.base.progress import Progress
from snnq.base.strict_json import Json, strict_json
from snnq.calibrating.pictures import Candidate, Generator
from snnq.data.dataset import LARGEST_COUNT

_TOGETHER = 64


@dataclass(frozen=True)
class Candidates:
    """``frames`` (N, T, 2, H, W) uint8 or uint16; ``asked`` (N,): the class each was made for, −1 for none; notes."""

    frames: np.ndarray
    asked: np.ndarray
    notes: list[Json]


def make_candidates(folder: Path, generator: Generator, count: int, progress: Progress) -> Candidates:
    """Return ``count`` candidates; those that lie in ``folder`` already are not made again.

    Raises DataError where one holds a count above 65 535.
    """
    folder.mkdir(exist_ok=True)
    size = generator.together * max(1, _TOGETHER // generator.together)
    found = []
    for start in range(0, count, size):
        stop = min(start + size, count)
        place = folder / f"{start:08d}.npy"
        known = _known(place, stop - start)
        found.append(known or _made(place, generator.make(start, stop)))
        progress("making candidates", stop, count)
    frames = [one.frames for one in found]
    kind = np.result_type(*(one.dtype for one in frames))
    return Candidates(
        np.concatenate([one.astype(kind, copy=False) for one in frames]),
        np.concatenate([one.asked for one in found]),
        [note for one in found for note in one.notes],
    )


def _made(place: Path, found: list[Candidate]) -> Candidates:
    """Write a chunk, its frames first and its notes last; return it."""
    frames = np.stack([one.frames for one in found])
    if frames.max(initial=0) > LARGEST_COUNT or frames.min(initial=0) < 0:
        raise DataError(f"a candidate holds counts outside 0 to {LARGEST_COUNT}: ask for more time steps")
    frames = frames.astype(np.uint8 if frames.max(initial=0) <= 255 else np.uint16)
    notes = [{"class": one.asked, **one.note} for one in found]
    with replacing(place) as temporary, temporary.open("wb") as stream:
        np.save(stream, frames, allow_pickle=False)
    write_atomic(place.with_suffix(".json"), json.dumps(notes, allow_nan=False))
    return _chunk(frames, notes)


def _known(place: Path, count: int) -> Candidates | None:
    """Return a chunk that was made before; None where it is not there, or not whole."""
    try:
        notes = strict_json(read_text(place.with_suffix(".json")))
        frames = np.load(place, allow_pickle=False)
        return _chunk(frames, notes) if len(frames) == len(notes) == count else None
    except (OSError, ValueError, EOFError):
        return None


def _chunk(frames: np.ndarray, notes: list[Json]) -> Candidates:
    asked = [-1 if one["class"] is None else int(one["class"]) for one in notes]
    return Candidates(frames, np.array(asked, np.int64), notes)
