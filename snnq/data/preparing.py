"""Making a cache entry: chunk by chunk, by several processes, going on where a killed run stopped.

An entry is made in a folder of its own beside its place and renamed; whoever makes it holds a lock on that folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from snnq.base.errors import DataError
from snnq.base.progress import Progress
from snnq.data import chunks
from snnq.data.cache import META, Entry, facts_of, frames_hash, load, read_split, write_stamps
from snnq.data.chunks import Chunk, Note, shared
from snnq.data.dataset import Damaged, Recordings, Samples
from snnq.data.spec import SPLITS

_ATTEMPTS = 5
_ABANDONED_SECONDS = 7 * 86_400
# Workplaces of an entry NAME-HASH, and damaged entries on their way out.
_LEFT = re.compile(r"\..+-[0-9a-f]{24}\.(partial|[0-9a-f]{32})(?P<damaged>\.[0-9a-f]{32}\.old)?")
_WAIT_SECONDS = 0.2
_WORTH_SECONDS = 0.5  # of work left: less of it is not worth other processes


def store(
    folder: Path, recordings: Recordings, stage: str, progress: Progress, workers: int = 1, skip_corrupt: bool = False
) -> dict[str, Entry]:
    """Prepare every split and put it at ``folder``; return it. The bytes do not depend on ``workers`` or on cuts.

    Where another process makes the same entry, this one waits for it. With ``skip_corrupt`` damaged recordings are
    left out and noted in the entry.

    Raises DataError: the cache cannot be written, recordings are damaged (all are named), or a sample holds a count
    above 65 535.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        with _workplace(folder) as place:
            if load(folder) is None:
                _make(place, recordings, stage, progress, workers, skip_corrupt)
                _move(place, folder)
    except OSError as error:
        raise DataError(
            f"cache {folder.parent}: cannot be written ({error.strerror or error}).",
            "Set SNNQ_CACHE to a folder that can be written and has room.",
        ) from error
    entries = load(folder)
    if entries is None:
        raise DataError(f"cache {folder}: damaged as soon as it was written.", "Set SNNQ_CACHE to another folder.")
    return entries


def _sweep(parent: Path) -> None:
    """Remove what killed processes left, once it is surely nobody's any more; nothing of another name."""
    for left in parent.glob(".*"):
        kind = _LEFT.fullmatch(left.name)
        if kind is None or left.is_symlink():
            continue
        with suppress(OSError):
            inside = left / chunks.FOLDER
            newest = max(path.stat().st_mtime for path in (left, inside) if path.exists())
            if kind["damaged"] or time.time() - newest > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """Give the folder where an entry is made, locked; a private one where the system cannot lock."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        place = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
        place.mkdir()
        yield place
        return
    place = folder.with_name(f".{folder.name}.partial")
    while True:
        try:
            place.mkdir(exist_ok=True)
            handle = os.open(place, os.O_RDONLY)
        except FileExistsError:  # a file; or a folder that another one removed while mkdir looked what it is
            if place.exists() and not place.is_dir():
                raise
            continue
        except FileNotFoundError:  # another one has just finished
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_still(place, handle):
                continue
            try:
                yield place
            finally:
                if _is_still(place, handle):
                    with suppress(OSError):  # goes where nothing is in it
                        place.rmdir()
            return
        except BlockingIOError:
            time.sleep(_WAIT_SECONDS)
        finally:
            os.close(handle)


def _is_still(place: Path, handle: int) -> bool:
    """Tell whether an opened folder still is the one at its place: who held the lock before may have moved it."""
    with suppress(OSError):
        return place.stat().st_ino == os.fstat(handle).st_ino
    return False


def _make(
    place: Path, recordings: Recordings, stage: str, progress: Progress, workers: int, skip_corrupt: bool
) -> None:
    splits = recordings.read()
    (place / chunks.FOLDER).mkdir(exist_ok=True)
    work = {split: chunks.chunks_of(place, split, splits[split]) for split in SPLITS}
    try:
        for split in SPLITS:
            if not len(splits[split].labels) and split not in recordings.lacks:
                raise _no_sample(stage, split)
        _make_chunks(place, work, splits, stage, progress, workers)
        damaged = {split: [one for note in _notes(work[split]) for one in note.damaged] for split in SPLITS}
        _check_damaged(stage, damaged, sum(len(samples.labels) for samples in splits.values()), skip_corrupt)
        meta: dict[str, object] = {
            split: _finish(place, split, work, splits[split], stage) | {"skipped": [str(one) for one in damaged[split]]}
            for split in sorted(SPLITS, key=lambda split: not work[split])  # an empty one is made like another
        }
    except DataError as error:
        if not isinstance(error, DamagedRecordings):  # those may yet be skipped
            shutil.rmtree(place, ignore_errors=True)
        raise
    shutil.rmtree(place / chunks.FOLDER)
    (place / META).write_text(json.dumps(meta, indent=1, sort_keys=True), encoding="utf-8")
    write_stamps(place)


class DamagedRecordings(DataError):  # noqa: N818 (it is them)
    """Some recordings of a set are damaged; all are named."""


def _no_sample(stage: str, split: str) -> DataError:
    return DataError(f"{stage}: no sample for {split}.", "Give every class at least two training samples.")


def _notes(work: Sequence[Chunk]) -> list[Note]:
    return [note for chunk in work if (note := chunk.note()) is not None]


def _check_damaged(stage: str, damaged: dict[str, list[Damaged]], total: int, skip_corrupt: bool) -> None:
    """Refuse what cannot be used: recordings by name, unless they may be skipped, or a set that is another than asked.

    Where all recordings have the same fault, they are not damaged: spec, shape or reader are not for them.
    """
    found = [one for of_split in damaged.values() for one in of_split]
    if len(found) == total and len({one.kind for one in found}) == 1:
        raise DataError(
            f"{stage}: none of the {total} recordings can be used, all for the same reason: {found[0]}.",
            found[0].hint or "They are of another kind than the data spec says.",
        )
    if found and not skip_corrupt:
        what = "is" if len(found) == 1 else "are"
        raise DamagedRecordings(
            f"{stage}: {len(found)} of {total} recordings {what} damaged: {'; '.join(map(str, found))}."
        )


def _finish(place: Path, split: str, work: dict[str, list[Chunk]], samples: Samples, stage: str) -> dict[str, object]:
    if work[split]:
        if not any(note.kept for note in _notes(work[split])):
            raise _no_sample(stage, split)
        kept = chunks.assemble(work[split], place / f"{split}-frames.npy")
    else:
        like = read_split(place, next(one for one in SPLITS if work[one])).frames
        np.save(place / f"{split}-frames.npy", np.zeros((0, *like.shape[1:]), like.dtype), allow_pickle=False)
        kept = np.zeros(0, np.int64)
    np.save(place / f"{split}-labels.npy", samples.labels[kept], allow_pickle=False)
    if samples.videos is not None:
        np.save(place / f"{split}-videos.npy", samples.videos[kept], allow_pickle=False)
    return facts_of(read_split(place, split)) | {"frames": frames_hash(place, split)}


def _make_chunks(
    place: Path, work: dict[str, list[Chunk]], splits: dict[str, Samples], stage: str, progress: Progress, workers: int
) -> None:
    """Make every chunk that is not there yet, telling how many samples and MiB are done and how fast."""
    missing = {split: chunks.to_do(own, place / f"{split}-frames.npy") for split, own in work.items()}
    left = [chunk for split in SPLITS for chunk in missing[split]]
    total = sum(len(samples.labels) for samples in splits.values())
    done = total - sum(chunk.stop - chunk.start for chunk in left)
    mib, first, begun = 0.0, done, time.monotonic()
    progress(stage, done, total)
    for chunk, note in _made(left, splits, workers):
        done += chunk.stop - chunk.start
        mib += note.bytes / 2**20
        seconds = max(time.monotonic() - begun, 1e-9)
        progress(stage, done, total, mib=mib, seconds=round(seconds, 1), per_second=round((done - first) / seconds))


def _made(left: Sequence[Chunk], splits: dict[str, Samples], workers: int) -> Iterator[tuple[Chunk, Note]]:
    """Make chunks and yield them as they are done: alone while that is quicker than starting other processes."""
    jobs = [(chunk, splits[chunk.split].part(chunk.start, chunk.stop)) for chunk in left]
    done, begun = 0, time.monotonic()
    while done < len(jobs):
        seconds = time.monotonic() - begun
        # The first chunk also imports what a reader needs, once and for all.
        if workers > 1 and done and seconds / done * (len(jobs) - done) > _WORTH_SECONDS:
            break
        chunk, part = jobs[done]
        yield chunk, chunks.make(chunk, part)
        done += 1
    yield from shared(chunks.make, jobs[done:], workers)


def _move(temporary: Path, folder: Path) -> None:
    """Put a finished entry in its place; a damaged one there is moved away first, a sound one is kept."""
    old = temporary.with_name(f"{temporary.name}.{uuid.uuid4().hex}.old")
    for _ in range(_ATTEMPTS):
        with suppress(OSError):
            os.rename(temporary, folder)
            return
        if load(folder) is not None:
            shutil.rmtree(temporary, ignore_errors=True)
            return
        with suppress(OSError):
            os.rename(folder, old)
        shutil.rmtree(old, ignore_errors=True)
        with suppress(OSError):
            old.unlink()
    os.rename(temporary, folder)  # says why it cannot be done
