"""Prepared frames on disk: one folder an entry, written beside its place and renamed, read through memory maps.

The place is named by a hash of everything the frames depend on, so an entry is never stale; what is damaged is rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from snnq.data.contract import Recordings, Samples
from snnq.data.spec import SPLITS
from snnq.errors import DataError
from snnq.progress import Progress

FORMAT_VERSION = 1
_META = "meta.json"
_ATTEMPTS = 5
_ABANDONED_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class Entry:
    """One prepared split: frames (N, T, C, H, W) uint8 or uint16, memory-mapped, and labels int64 (N,)."""

    frames: np.ndarray
    labels: np.ndarray


def cache_root(given: str | Path | None = None) -> Path:
    """Return the cache's root: ``given``, $SNNQ_CACHE, $XDG_CACHE_HOME/snnq or ~/.cache/snnq."""
    if given is not None:
        return Path(given).expanduser()
    if os.environ.get("SNNQ_CACHE"):
        return Path(os.environ["SNNQ_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "snnq"


def content_hash(facts: dict[str, object]) -> str:
    """Return the sha256 (hex) of JSON-ready facts and the cache's format version."""
    text = json.dumps({"format": FORMAT_VERSION, **facts}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load(folder: Path) -> dict[str, Entry] | None:
    """Return an entry's splits, or None where it is absent or damaged (a missing file, a wrong size, shape or type)."""
    try:
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        return {split: _sound_split(folder, split, meta[split]) for split in SPLITS}
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _sound_split(folder: Path, split: str, expected: dict[str, object]) -> Entry:
    entry = _read_split(folder, split)
    if _facts(entry) != expected:
        raise ValueError(f"{split}: {_facts(entry)}, expected {expected}")
    return entry


def _read_split(folder: Path, split: str) -> Entry:
    return Entry(
        frames=np.load(folder / f"{split}-frames.npy", mmap_mode="r", allow_pickle=False),
        labels=np.load(folder / f"{split}-labels.npy", allow_pickle=False),
    )


def _facts(entry: Entry) -> dict[str, object]:
    labels = hashlib.sha256(np.ascontiguousarray(entry.labels, dtype="<i8").tobytes()).hexdigest()
    return {"shape": list(entry.frames.shape), "type": str(entry.frames.dtype), "labels": labels}


def store(folder: Path, recordings: Recordings, stage: str, progress: Progress) -> dict[str, Entry]:
    """Prepare every split and put it at ``folder``; return it.

    Two processes may do so at once: each writes its own temporary folder, and the entries are the same.

    Raises:
        DataError: the cache cannot be written, or a sample holds a count above 65 535.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    _sweep(folder)
    try:
        temporary.mkdir(parents=True)
        _write(temporary, recordings.read(), stage, progress)
        _move(temporary, folder)
    except OSError as error:
        raise DataError(
            f"cache {folder.parent}: cannot be written ({error.strerror or error}).",
            "Set SNNQ_CACHE to a folder that can be written and has room.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    entries = load(folder)
    if entries is None:
        raise DataError(f"cache {folder}: damaged as soon as it was written.", "Set SNNQ_CACHE to another folder.")
    return entries


def _sweep(folder: Path) -> None:
    """Remove what killed processes left of this entry, once it is surely nobody's any more."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _write(folder: Path, splits: dict[str, Samples], stage: str, progress: Progress) -> None:
    total = sum(len(samples.labels) for samples in splits.values())
    meta, done = {}, 0
    for split in SPLITS:
        samples, before = splits[split], done
        if not len(samples.labels):
            raise DataError(f"{stage}: no sample for {split}.", "Give every class at least two training samples.")

        def step(count: int, before: int = before) -> None:
            progress(stage, before + count, total)

        _write_frames(folder / f"{split}-frames.npy", samples, step)
        np.save(folder / f"{split}-labels.npy", samples.labels, allow_pickle=False)
        meta[split] = _facts(_read_split(folder, split))
        done += len(samples.labels)
    (folder / _META).write_text(json.dumps(meta, indent=1, sort_keys=True), encoding="utf-8")


def _write_frames(file: Path, samples: Samples, step: Callable[[int], None]) -> None:
    """Write frames as uint8; where a count does not fit, start again as uint16."""
    for kind in (np.uint8, np.uint16):
        with file.open("wb") as stream:
            if _write_blocks(stream, samples, np.dtype(kind), step):
                return
    raise DataError(f"{file.stem}: a sample holds a count above {np.iinfo(np.uint16).max}.", "Ask for more time steps.")


def _write_blocks(stream: BinaryIO, samples: Samples, kind: np.dtype, step: Callable[[int], None]) -> bool:
    """Write one .npy file block by block; False as soon as a count does not fit."""
    done = 0
    step(0)
    for block in samples.blocks():
        if block.max(initial=0) > np.iinfo(kind).max:
            return False
        if done == 0:
            shape = (len(samples.labels), *block.shape[1:])
            header = {"descr": kind.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
        stream.write(block.astype(kind).tobytes())
        done += len(block)
        step(done)
    return True


def _move(temporary: Path, folder: Path) -> None:
    """Put a finished entry in its place; a damaged one there is moved away first, a sound one is kept."""
    old = temporary.with_name(temporary.name + ".old")
    for _ in range(_ATTEMPTS):
        with suppress(OSError):
            os.rename(temporary, folder)
            return
        if load(folder) is not None:
            return
        with suppress(OSError):
            os.rename(folder, old)
        shutil.rmtree(old, ignore_errors=True)
    os.rename(temporary, folder)  # says why it cannot be done


@dataclass(frozen=True)
class Stored:
    """One prepared data set in the cache."""

    name: str
    path: str
    bytes: int

    @property
    def mib(self) -> float:
        """Size in MiB."""
        return self.bytes / 2**20


def stored(folder: Path) -> Stored:
    """Return an entry's name, place and size."""
    return Stored(folder.name, str(folder), sum(file.stat().st_size for file in folder.iterdir()))


def summary(root: Path) -> list[Stored]:
    """Return what lies in the cache, sorted by name."""
    return [stored(folder) for folder in sorted((root / "data").glob("[!.]*")) if folder.is_dir()]
