"""Prepared frames on disk: one folder an entry, read through memory maps.

The place is named by a hash of everything the frames depend on, so an entry is never stale; what is damaged is rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from snnq.data.spec import SPLITS
from snnq.files import read_text, regular_size
from snnq.strict_json import strict_json

FORMAT_VERSION = 1
META = "meta.json"


@dataclass(frozen=True)
class Entry:
    """One prepared split: frames (N, T, C, H, W) uint8 or uint16, memory-mapped, and labels int64 (N,).

    ``skipped``: of each damaged recording that was left out, what was wrong with it.
    """

    frames: np.ndarray
    labels: np.ndarray
    skipped: tuple[str, ...] = ()


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
        meta = strict_json(read_text(folder / META))
        return {split: _sound_split(folder, split, meta[split]) for split in SPLITS}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


def _sound_split(folder: Path, split: str, expected: dict[str, Any]) -> Entry:
    skipped = tuple(map(str, expected.pop("skipped", ())))
    entry = read_split(folder, split)
    if facts_of(entry) != expected:
        raise ValueError(f"{split}: {facts_of(entry)}, expected {expected}")
    return replace(entry, skipped=skipped)


def read_split(folder: Path, split: str) -> Entry:
    """Return what lies in an entry's folder for one split; raises OSError or ValueError where that is damaged."""
    return Entry(
        frames=_mapped(folder / f"{split}-frames.npy"), labels=np.array(_mapped(folder / f"{split}-labels.npy"))
    )


def _mapped(file: Path) -> np.ndarray:
    """Return an array on its mapped file: a damaged header must not ask for memory, nor a named pipe for patience."""
    regular_size(file)
    return np.load(file, mmap_mode="r", allow_pickle=False)


def facts_of(entry: Entry) -> dict[str, object]:
    """Return what ``meta.json`` says of a split, JSON-ready: shape and type of its frames, a hash of its labels."""
    labels = hashlib.sha256(np.ascontiguousarray(entry.labels, dtype="<i8").tobytes()).hexdigest()
    return {"shape": list(entry.frames.shape), "type": str(entry.frames.dtype), "labels": labels}


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
