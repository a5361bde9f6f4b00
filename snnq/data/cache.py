"""Prepared frames on disk: one folder an entry, read through memory maps.

The place is named by a hash of everything the frames depend on, so an entry is never stale; what is damaged is rebuilt.
``meta.json`` says what must lie there. Frames are too large to be hashed at every opening: ``stamps.json`` says which
size and times their files had when they were as ``meta.json`` says, and where those are others they are hashed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from snnq.base.files import open_regular, read_text, regular_size, write_atomic
from snnq.base.strict_json import Json, strict_json
from snnq.data.spec import SPLITS

FORMAT_VERSION = 1
META, _STAMPS = "meta.json", "stamps.json"


@dataclass(frozen=True)
class Entry:
    """One prepared split: frames (N, T, C, H, W) uint8 or uint16, memory-mapped, and labels int64 (N,).

    ``skipped``: of each damaged recording that was left out, what was wrong with it. ``videos``: of clips, which video
    each is of, int64 (N,).
    """

    frames: np.ndarray
    labels: np.ndarray
    skipped: tuple[str, ...] = ()
    videos: np.ndarray | None = None


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
    """Return an entry's splits, or None where it is absent, damaged or changed.

    Looked at are the files' presence, sizes, shapes and types, the labels, and the frames, if their files were touched.
    """
    try:
        meta = strict_json(read_text(folder / META))
        entries = {split: _sound_split(folder, split, meta[split]) for split in SPLITS}
        stamps = _stamps(folder)
        if stamps != _remembered(folder):
            if not all(_untouched(folder, split, meta[split].get("frames")) for split in SPLITS):
                return None
            with suppress(OSError):  # a cache that is only read: it is hashed again the next time
                write_stamps(folder, stamps)
        return entries
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


def _sound_split(folder: Path, split: str, expected: Json) -> Entry:
    entry = read_split(folder, split)
    facts = facts_of(entry)
    if facts != {key: expected[key] for key in facts} or ("videos" in expected) != ("videos" in facts):
        raise ValueError(f"{split}: {facts}, expected {expected}")
    return replace(entry, skipped=tuple(map(str, expected.get("skipped", ()))))


def _untouched(folder: Path, split: str, expected: str | None) -> bool:
    """Tell whether a split's frames are as they were made; without their hash: by when they were written."""
    if expected is not None:
        return frames_hash(folder, split) == expected
    return _frames(folder, split).stat().st_mtime_ns <= (folder / META).stat().st_mtime_ns


def _frames(folder: Path, split: str) -> Path:
    return folder / f"{split}-frames.npy"


def frames_hash(folder: Path, split: str) -> str:
    """Return the sha256 (hex) of a split's file of frames; raises OSError."""
    with open_regular(_frames(folder, split)) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]


def write_stamps(folder: Path, stamps: dict[str, list[int]] | None = None) -> None:
    """Note that the frames of an entry are as they should be, now or when they had these stamps; raises OSError."""
    write_atomic(folder / _STAMPS, json.dumps(stamps or _stamps(folder)))


def _stamps(folder: Path) -> dict[str, list[int]]:
    """Return what changes when a file of frames is written to: its size, and when content and state changed (ns)."""
    found = {split: _frames(folder, split).stat() for split in SPLITS}
    return {split: [one.st_size, one.st_mtime_ns, one.st_ctime_ns] for split, one in found.items()}


def _remembered(folder: Path) -> object:
    try:
        return strict_json(read_text(folder / _STAMPS))
    except (OSError, ValueError):
        return None


def read_split(folder: Path, split: str) -> Entry:
    """Return what lies in an entry's folder for one split; raises OSError or ValueError where that is damaged."""
    videos = folder / f"{split}-videos.npy"
    return Entry(
        frames=_mapped(folder / f"{split}-frames.npy"),
        labels=np.array(_mapped(folder / f"{split}-labels.npy")),
        videos=np.array(_mapped(videos)) if videos.exists() else None,
    )


def _mapped(file: Path) -> np.ndarray:
    """Return an array on its mapped file: a damaged header must not ask for memory, nor a named pipe for patience."""
    regular_size(file)
    return np.load(file, mmap_mode="r", allow_pickle=False)


def facts_of(entry: Entry) -> dict[str, object]:
    """Return what ``meta.json`` says of a split, JSON-ready: shape and type of its frames, a hash of its labels."""
    facts: dict[str, object] = {
        "shape": list(entry.frames.shape),
        "type": str(entry.frames.dtype),
        "labels": _hash(entry.labels),
    }
    return facts if entry.videos is None else facts | {"videos": _hash(entry.videos)}


def _hash(numbers: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers, dtype="<i8").tobytes()).hexdigest()


@dataclass(frozen=True)
class CachedData:
    """One prepared data set in the cache."""

    name: str
    path: str
    bytes: int

    @property
    def mib(self) -> float:
        """Size in MiB."""
        return self.bytes / 2**20


def stored(folder: Path) -> CachedData:
    """Return an entry's name, place and size."""
    sizes = []
    for file in folder.iterdir():
        with suppress(OSError):  # another process' temporary file
            sizes.append(file.stat().st_size)
    return CachedData(folder.name, str(folder), sum(sizes))


def summary(root: Path) -> list[CachedData]:
    """Return what lies in the cache, sorted by name."""
    return [stored(folder) for folder in sorted((root / "data").glob("[!.]*")) if folder.is_dir()]
