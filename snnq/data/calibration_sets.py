"""``calib:DIR``: frames that ``snnq calibrate`` made without the real data; they have no labels.

set.json       what was asked, of which checkpoint, by which generator and filters; hashes
samples.jsonl  one line a candidate: its class, seed, prompt or file, its scores, and whether it was kept
frames.npy     counts (N, T, 2, H, W) of those kept: train, then validation, then test
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from snnq.base.errors import DataError
from snnq.base.files import read_text, regular_size
from snnq.base.strict_json import Json, strict_json
from snnq.base.validation import Many, Record, dotted, validate
from snnq.data.dataset import Part, Recordings, Request, Samples
from snnq.data.fingerprint import hash_files
from snnq.data.folders import locate
from snnq.data.spec import SPLITS

SET_FILE, SAMPLES_FILE, FRAMES_FILE = "set.json", "samples.jsonl", "frames.npy"
SET_VERSION = 1
# The label of a sample that has none: every loss and every count refuses it.
UNLABELLED = -1
_CHUNK = 256
_MAKE = "make it again: snnq calibrate CKPT --out DIR --force"


class CalibrationSet(Record):
    """``set.json``: what a set is and how it was made.

    ``splits`` are the numbers of samples in train, validation and test. ``command`` are the words that make it again,
    ``facts`` what else its bytes depend on, ``thresholds`` of every filter the worst score that was kept.
    """

    schema_version: PositiveInt = SET_VERSION
    tool: str
    fingerprint: str
    checkpoint_sha256: str
    architecture: str
    classes: Annotated[Many[str], Field(min_length=1)]
    frames_shape: Annotated[Many[PositiveInt], Field(min_length=4, max_length=4)]
    generator: str
    seed: int
    candidates: PositiveInt
    splits: dict[str, NonNegativeInt]
    filters: Many[str] = ()
    thresholds: dict[str, float] = Field(default_factory=dict)
    command: Json = Field(default_factory=dict)
    facts: Json = Field(default_factory=dict)
    sha256: dict[str, str]

    @model_validator(mode="after")
    def _whole(self) -> CalibrationSet:
        if self.schema_version > SET_VERSION:
            raise ValueError(f"schema_version {self.schema_version} is of a newer snnq; this one reads {SET_VERSION}")
        if tuple(self.splits) != SPLITS or set(self.sha256) != {FRAMES_FILE, SAMPLES_FILE}:
            raise ValueError(f"splits must be of {', '.join(SPLITS)}, sha256 of {FRAMES_FILE} and {SAMPLES_FILE}")
        return self

    @property
    def made(self) -> str:
        """How it was made, in a few words."""
        kept = f", filtered by {' and '.join(self.filters)}" if self.filters else ""
        return f"{self.generator}, seed {self.seed}{kept}"


def read_set(root: Path) -> CalibrationSet:
    """Return ``set.json`` of a folder; raises DataError where it is none, or damaged."""
    path = root / SET_FILE
    try:
        found = strict_json(read_text(path))
    except (OSError, ValueError) as problem:
        raise DataError(f"{path}: cannot be read ({getattr(problem, 'strerror', None) or problem}).", _MAKE) from None
    return validate(CalibrationSet, found, str(path), DataError, _MAKE, dotted)


def open_source(request: Request) -> Recordings:
    """Return the frames of a calibration set, without labels.

    Raises DataError: the folder is none, a file is damaged, or its frames are of another shape than the model's.
    """
    root = locate(request.spec.path)
    found = read_set(root)
    steps, _, *size = found.frames_shape
    if (steps, *size) != (request.steps, *request.image_size):
        ours, theirs = ("x".join(map(str, one)) for one in ((steps, *size), (request.steps, *request.image_size)))
        raise DataError(
            f"{root}: its frames have steps and pixels {ours}, the model takes {theirs}.",
            "Make a set for this model: snnq calibrate CKPT.",
        )
    files = [root / name for name in (FRAMES_FILE, SAMPLES_FILE)]
    content = hash_files(root, files, request.cache, request.progress)
    for file, said in zip(files, content.files, strict=True):
        if said.rpartition(" ")[2] != found.sha256[file.name]:
            raise DataError(f"{file}: it is not the file that {SET_FILE} names: its sha256 is another.", _MAKE)
    _check_frames(files[0], (sum(found.splits.values()), *found.frames_shape))
    return Recordings(
        classes=tuple(found.classes),
        fingerprint={"content": content.total, "splits": dict(found.splits)},
        split=f"as they were made ({found.made}); no sample has a label",
        read=lambda: _samples(request, found, files[0]),
        lacks=tuple(split for split in SPLITS if not found.splits[split]),
        labelled=False,
    )


def _check_frames(file: Path, shape: tuple[int, ...]) -> None:
    """Raise DataError unless a file holds counts of this shape; they are mapped, not read."""
    try:
        regular_size(file)
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise DataError(f"{file}: cannot be read ({problem}).", _MAKE) from None
    if found.shape != shape or found.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{file}: it holds {found.dtype} of {found.shape}, {SET_FILE} says counts of {shape}.", _MAKE)


def _samples(request: Request, found: CalibrationSet, file: Path) -> dict[str, Samples]:
    starts: dict[str, int] = dict(zip(SPLITS, np.cumsum([0, *found.splits.values()]).tolist(), strict=False))
    chunk = min(_CHUNK, request.chunk)

    def samples(split: str) -> Samples:
        count, limit = found.splits[split], request.spec.limit(split)
        count = count if limit is None else min(count, limit)

        def part(start: int, stop: int) -> Part:
            return partial(_read, file, starts[split] + start, starts[split] + stop)

        return Samples(np.full(count, UNLABELLED, np.int64), chunk, part)

    return {split: samples(split) for split in SPLITS}


def _read(file: Path, start: int, stop: int) -> Iterator[np.ndarray]:
    yield from np.load(file, mmap_mode="r", allow_pickle=False)[start:stop]
