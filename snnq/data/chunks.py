"""A split made in chunks: each is one file with a note beside it, so that work which was cut off goes on there.

Chunks are made by processes that outlive nobody: each takes every n-th job and stops when its parent is gone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from snnq.base.errors import DataError, SnnqError
from snnq.base.files import read_text
from snnq.base.strict_json import strict_json
from snnq.data.dataset import LARGEST_COUNT, Damaged, Part, Samples

Job = TypeVar("Job")
Given = TypeVar("Given")
Result = TypeVar("Result")


def shared(
    work: Callable[[Job, Given], Result], jobs: Sequence[tuple[Job, Given]], workers: int
) -> Iterator[tuple[Job, Result]]:
    """Yield (job, work(job, given)) for every (job, given), in the order in which ``workers`` processes finish them.

    On Linux the processes are forked, so that they need not import anything again; elsewhere they are spawned, and
    ``work`` and the jobs must be picklable. Raises what ``work`` raises, or SnnqError where a process dies.
    """
    kind = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(kind)
    processes: list[BaseProcess] = []
    readers: list[Connection] = []
    try:
        for number in range(min(workers, len(jobs))):
            reader, writer = context.Pipe(duplex=False)
            arguments = (work, jobs[number::workers], writer, os.getpid())
            processes.append(context.Process(target=_do, args=arguments, daemon=True))
            with warnings.catch_warnings():
                # Of forking beside other threads: ours hold nothing that this work needs.
                warnings.simplefilter("ignore", DeprecationWarning)
                processes[-1].start()
            writer.close()
            readers.append(reader)
        left = {number: len(jobs[number::workers]) for number in range(len(processes))}
        while any(left.values()):
            for reader in wait([readers[number] for number, count in left.items() if count]):
                number = readers.index(reader)  # type: ignore[arg-type]
                at, result = _received(readers[number], processes[number])
                left[number] -= 1
                yield jobs[number + at * workers][0], result
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _received(reader: Connection, process: BaseProcess) -> tuple[int, Any]:
    try:
        at, result = reader.recv()
    except EOFError:
        process.join()
        raise SnnqError(
            f"a process that prepared data died (exit code {process.exitcode})", "use fewer: --workers 1"
        ) from None
    if isinstance(result, BaseException):
        raise result
    return at, result


def _do(
    work: Callable[[Job, Given], object], jobs: Sequence[tuple[Job, Given]], writer: Connection, parent: int
) -> None:
    with suppress(KeyboardInterrupt, BrokenPipeError):  # the parent says so
        for at, (job, given) in enumerate(jobs):
            if os.getppid() != parent:
                return
            try:
                result = work(job, given)
            except Exception as error:
                result = error
            writer.send((at, result))


FOLDER = "chunks"


@dataclass(frozen=True)
class Note:
    """What became of a chunk: the samples it holds by their index, their type and shape, and what was damaged."""

    kept: tuple[int, ...]
    type: str
    shape: tuple[int, ...]
    bytes: int
    damaged: tuple[Damaged, ...]


@dataclass(frozen=True)
class Chunk:
    """Samples start … stop − 1 of a split, below the folder of an entry that is being made."""

    folder: Path
    split: str
    start: int
    stop: int

    @property
    def file(self) -> Path:
        """Where its frames lie until they are put together."""
        return self.folder / FOLDER / f"{self.split}-{self.start:08d}.npy"

    def note(self) -> Note | None:
        """Return its note, or None where it is not made."""
        try:
            found = strict_json(read_text(self.file.with_suffix(".json")))
            damaged = tuple(Damaged(**one) for one in found["damaged"])
            return Note(tuple(found["kept"]), found["type"], tuple(found["shape"]), found["bytes"], damaged)
        except (OSError, ValueError, KeyError, TypeError):
            return None


def chunks_of(folder: Path, split: str, samples: Samples) -> list[Chunk]:
    """Return a split's chunks in order."""
    total = len(samples.labels)
    return [Chunk(folder, split, at, min(at + samples.chunk, total)) for at in range(0, total, samples.chunk)]


def make(chunk: Chunk, part: Part) -> Note:
    """Prepare a chunk and write it, its frames first and its note last; return the note.

    Raises DataError: a sample holds a count above 65 535 or values that are no counts, or two have different shapes;
    OSError: it cannot be written.
    """
    kept: list[int] = []
    damaged: list[Damaged] = []
    block = np.zeros(0, np.uint8)
    for index, sample in enumerate(part(), chunk.start):
        if isinstance(sample, Damaged):
            damaged.append(sample)
            continue
        kind = _kind(sample, chunk)
        if not kept:
            block = np.empty((chunk.stop - chunk.start, *sample.shape), kind)
        elif sample.shape != block.shape[1:]:
            raise _shapes_differ(chunk.split, sample.shape, block.shape[1:])
        block = block.astype(np.promote_types(block.dtype, kind), copy=False)
        block[len(kept)] = sample
        kept.append(index)
    block = block[: len(kept)]
    temporary = chunk.file.with_suffix(f".{uuid.uuid4().hex}.tmp")
    with temporary.open("wb") as stream:
        np.save(stream, block, allow_pickle=False)
    os.replace(temporary, chunk.file)
    note = Note(tuple(kept), str(block.dtype), block.shape[1:], chunk.file.stat().st_size, tuple(damaged))
    temporary.write_text(json.dumps(asdict(note)), encoding="utf-8")
    os.replace(temporary, chunk.file.with_suffix(".json"))
    return note


def _kind(counts: np.ndarray, chunk: Chunk) -> type[np.uint8] | type[np.uint16]:
    largest = counts.max(initial=0)
    if largest > LARGEST_COUNT:
        raise DataError(f"{chunk.split}: a sample holds a count above {LARGEST_COUNT}.", "Ask for more time steps.")
    if counts.dtype.kind not in "biu" or counts.min(initial=0) < 0:
        raise DataError(f"{chunk.split}: a sample holds {counts.dtype} values that are no counts.")
    return np.uint8 if largest <= 255 else np.uint16


def _shapes_differ(split: str, one: tuple[int, ...], other: tuple[int, ...]) -> DataError:
    return DataError(f"{split}: samples are of different shapes, {one} and {other}.")


def to_do(chunks: Sequence[Chunk], whole: Path) -> list[Chunk]:
    """Return the chunks that must be made (again) before ``assemble`` can write ``whole``.

    Those that a cut-off ``assemble`` already took away are in ``whole``, as far as its size says.
    """
    notes = [chunk.note() for chunk in chunks]
    sound = [
        note is not None and chunk.file.is_file() and chunk.file.stat().st_size == note.bytes
        for chunk, note in zip(chunks, notes, strict=True)
    ]
    known = [note for note in notes if note is not None]
    if len(known) == len(chunks) and not all(sound) and any(note.kept for note in known):
        taken = next((number for number, there in enumerate(sound) if there), len(sound))
        if all(sound[taken:]) and whole.is_file() and whole.stat().st_size >= _size(known, taken):
            return []
    return [chunk for chunk, there in zip(chunks, sound, strict=True) if not there]


def _header(notes: Sequence[Note]) -> tuple[bytes, int]:
    """Return the .npy header of a whole split, and the bytes of one sample."""
    import io

    shape = next(note.shape for note in notes if note.kept)
    kind = np.result_type(*(note.type for note in notes))
    stream = io.BytesIO()
    facts = {"descr": kind.str, "fortran_order": False, "shape": (sum(len(note.kept) for note in notes), *shape)}
    np.lib.format.write_array_header_1_0(stream, facts)
    return stream.getvalue(), int(np.prod(shape)) * kind.itemsize


def _size(notes: Sequence[Note], taken: int) -> int:
    header, sample = _header(notes)
    return len(header) + sample * sum(len(note.kept) for note in notes[:taken])


def assemble(chunks: Sequence[Chunk], whole: Path) -> np.ndarray:
    """Put a split's chunks into one .npy file, taking each away once it is in; return the indices of its samples.

    The first chunk becomes that file, where its type is that of all. No more than one chunk lies on the disk twice, and
    what was cut off goes on with the first chunk that is left.

    Raises DataError: two samples have different shapes.
    """
    notes = [note for chunk in chunks if (note := chunk.note()) is not None]
    shapes = sorted({note.shape for note in notes if note.kept})
    if len(shapes) > 1:
        raise _shapes_differ(chunks[0].split, shapes[0], shapes[1])
    taken = next((number for number, chunk in enumerate(chunks) if chunk.file.is_file()), len(chunks))
    kind = np.result_type(*(note.type for note in notes))
    if not taken and notes[0].type == str(kind) and notes[0].bytes == _size(notes, 1):
        os.replace(chunks[0].file, whole)
        taken = 1
    with whole.open("r+b" if taken else "w+b") as stream:
        stream.write(_header(notes)[0])
        stream.truncate(_size(notes, taken))
        stream.seek(0, os.SEEK_END)
        for chunk in chunks[taken:]:
            _append(stream, chunk, kind)
    return np.array([index for note in notes for index in note.kept], dtype=np.int64)


def _append(stream: BinaryIO, chunk: Chunk, kind: np.dtype) -> None:
    stream.write(np.load(chunk.file, mmap_mode="r", allow_pickle=False).astype(kind, copy=False).data)
    stream.flush()
    chunk.file.unlink()
