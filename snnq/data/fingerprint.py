"""A hash of the content of many files, without reading again what has not changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from snnq.base.errors import DataError
from snnq.base.files import open_regular, read_regular, read_text, write_atomic
from snnq.base.machine import available_processors
from snnq.base.progress import Progress
from snnq.base.strict_json import strict_json

_QUIET = 500  # files that are checked without a word
_PART = 16  # files between two progress calls
_THREADS = 8
_BLOCK = 2**20  # bytes: files of at most that are read as a whole
_EVERY, _SAMPLE = 2**18, 2**14  # bytes


@dataclass(frozen=True)
class Hashes:
    """Of some files: ``total``, one sha256 over (path, size, sha256) of all, and ``files``, size and sha256 of each."""

    total: str
    files: tuple[str, ...]


def hash_files(root: Path, files: Sequence[Path], cache: Path, progress: Progress, quick: bool = False) -> Hashes:
    """Return the hashes of files below ``root``, in the given order; a path is that below ``root``.

    A file whose size and modification time are as they were is not read again: its hash is remembered in ``cache``.
    With ``quick``, of a file above 1 MiB only the first 16 KiB of every 256 KiB are hashed, and the last 16: another
    recording, or one made anew, differs there, too, while the sha256 of all would take longer than reading the events.

    Raises DataError: a file cannot be read.
    """
    place = f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]}{'-quick' if quick else ''}.json"
    notes = cache / "hashes" / place
    before = {
        name: row
        for name, row in remembered(notes).items()
        if isinstance(row, list) and len(row) == 3 and isinstance(row[2], str)
    }
    now: dict[str, list[object]] = {}
    total = hashlib.sha256()
    names = [file.relative_to(root).as_posix() for file in files]
    parts = [slice(start, start + _PART) for start in range(0, len(files), _PART)]

    def digests(part: slice) -> list[list[object]]:
        return [_digest(file, before.get(name), quick) for file, name in zip(files[part], names[part], strict=True)]

    with ThreadPoolExecutor(min(available_processors(), _THREADS)) as threads:  # hashing and reading hold no lock
        for part, rows in zip(parts, threads.map(digests, parts), strict=True):
            if len(files) > _QUIET:
                progress("checking files", part.start, len(files))
            for name, row in zip(names[part], rows, strict=True):
                now[name] = row
                total.update(f"{name}\0{row[0]}\0{row[2]}\n".encode())
    if len(files) > _QUIET:
        progress("checking files", len(files), len(files))
    if now != {name: before.get(name) for name in now}:
        remember(notes, before | now)
    return Hashes(total.hexdigest(), tuple(f"{now[name][0]} {now[name][2]}" for name in names))


def _digest(file: Path, known: list[object] | None, quick: bool) -> list[object]:
    """Return [bytes, modification time in ns, hash] of a file; a known hash is kept where the first two agree."""
    try:
        facts = os.stat(file)
        if known is not None and known[:2] == [facts.st_size, facts.st_mtime_ns]:
            return known
        return [facts.st_size, facts.st_mtime_ns, _content(file, facts.st_size, quick)]
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error}).") from error


def _content(file: Path, size: int, quick: bool) -> str:
    if size <= _BLOCK:
        return hashlib.sha256(read_regular(file)).hexdigest()
    with open_regular(file) as stream:
        if not quick:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        found = hashlib.sha256()
        for start in (*range(0, size, _EVERY), size - _SAMPLE):
            stream.seek(start)
            found.update(stream.read(_SAMPLE))
        return found.hexdigest()


def remembered(notes: Path) -> dict[str, object]:
    """Return what ``remember`` noted; nothing where that cannot be read."""
    try:
        found = strict_json(read_text(notes))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def remember(notes: Path, rows: Mapping[str, object]) -> None:
    """Note what was found out about files, by name, in the cache."""
    with suppress(OSError):  # only a convenience: the frames' cache says what is wrong
        write_atomic(notes, json.dumps(rows))
