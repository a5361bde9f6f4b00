"""A long command's folder: its resolved configuration, its state and its metrics.

A run that was cut off goes on when it is opened again with the same configuration, and refuses, naming the field,
when anything it depends on has changed.

    config.json     every setting and the hashes of every input
    state.pt        the newest complete state (written to a temporary name and renamed)
    metrics.jsonl   one line an epoch
    scores.json     a finished search's scores
    front.json      and the plans along its accuracy–cost front
    settings.json   the words of the command, to run it again: --settings
    candidates      samples that calibrate has made so far, a file a chunk
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

from snnq.base.errors import RunChangedError, SnnqError, UsageError
from snnq.base.files import read_text, write_atomic
from snnq.base.placing import is_temporary, lock, replacing, sweep, try_place
from snnq.base.strict_json import Json, strict_json
from snnq.training import processes

NAMES = ("state.pt", "config.json", "metrics.jsonl", "scores.json", "front.json", "settings.json", "candidates")
STATE, CONFIG, METRICS, SCORES, FRONT, SETTINGS, CANDIDATES = NAMES
_MADE = (STATE, METRICS, SCORES, FRONT, SETTINGS, CANDIDATES)  # what a run puts beside its configuration
ELSEWHERE = "choose another one with --run"
_EARLIER = re.compile(r"\.(state\.pt|config\.json|metrics\.jsonl|scores\.json)\.\d+\.tmp")  # before 0.1


@dataclass(frozen=True)
class RunFolder:
    """An opened run folder."""

    path: Path
    resumed: bool
    lock: _Lock | None = field(default=None, repr=False, compare=False)

    @property
    def state_path(self) -> Path:
        """Where the newest complete state lies, if there is one."""
        return self.path / STATE

    def write_state(self, write: Callable[[Path], object], history: list[Json]) -> None:
        """Write one JSON line an epoch, then let ``write`` make the newest state; raises SnnqError where it cannot be.

        In this order: a run that was cut off between both does that epoch again, and writes its line anew.
        """
        with _saving(self.path):
            write_atomic(self.path / METRICS, "".join(json.dumps(line) + "\n" for line in history))
            with replacing(self.state_path) as temporary:
                write(temporary)

    def write_scores(self, scores: str, front: str) -> None:
        """Keep a finished search's scores and its front; raises SnnqError where they cannot be written."""
        with _saving(self.path):
            write_atomic(self.path / SCORES, scores)
            write_atomic(self.path / FRONT, front)


@contextmanager
def _saving(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as problem:  # torch says so of a full disk
        said = getattr(problem, "strerror", None) or "is there room on the disk?"
        raise SnnqError(
            f"{path}: the run cannot be saved ({said})",
            "what was saved before is whole: make room, and the same command goes on from there",
        ) from None


class _Lock:
    """A locked folder; it is free again when nobody refers to this any more. Sent to another process, it is None."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()

    def __del__(self) -> None:
        os.close(self.handle)


# This process' own, by device and inode: a run that was interrupted may be opened again while its error is looked at.
_LOCKS: WeakValueDictionary[tuple[int, int], _Lock] = WeakValueDictionary()


def _check_place(out: Path) -> None:
    """Raise UsageError where nothing can be written at ``out``: before the hours, not after them."""
    try:
        try_place(out)
    except OSError as problem:
        raise UsageError(f"{out}: cannot be written ({problem.strerror})", "choose another place with --out") from None


def run_path(out: Path, chosen: str | Path | None = None) -> Path:
    """Return where the run that makes ``out`` keeps its state: beside it, unless another folder was chosen."""
    return Path(chosen) if chosen else beside(out, "run")


def beside(out: Path, ending: str) -> Path:
    """Return the path of what lies beside ``out`` under its name and an ending; UsageError where it has no name."""
    if not out.name:
        raise UsageError(f"out: '{out}' has no name of its own", "name what is to be written, such as packed")
    return out.with_name(f"{out.name}.{ending}")


def open_run(
    path: Path,
    config: Json,
    *,
    out: Path | None = None,
    force: bool = False,
    words: Mapping[str, object] | None = None,
) -> RunFolder:
    """Create the run folder, or open it to go on; ``words`` are those of the command that runs, kept for another run.

    Raises RunChangedError naming the first setting that differs from the one the run was started with; ``force``
    starts anew instead. A folder that holds anything but a run's own files, or in which another process works just now,
    is never touched. Raises UsageError where it, or what the run makes at ``out`` in the end, cannot be written. Of
    several processes the first one does it for all.
    """
    return processes.on_first(lambda: _open(path, json.loads(json.dumps(config)), out, force, words))


def begun_with(path: Path) -> Json | None:
    """Return the settings of the run in a folder, or None where there are none that can be read.

    Raises RunChangedError where the file is another's.
    """
    if not os.path.lexists(path / CONFIG):
        return None
    found, damage = _read_config(path / CONFIG)
    return None if damage else found


def _open(path: Path, config: Json, out: Path | None, force: bool, words: Mapping[str, object] | None) -> RunFolder:
    if out is not None:
        _check_place(out)
    try:
        _refuse_foreign(path)
        path.mkdir(parents=True, exist_ok=True)
        locked = _lock(path)
        for name in NAMES:
            sweep(path / name)
        if os.path.lexists(path / CONFIG):
            before, damage = _read_config(path / CONFIG)
            if not force:
                if damage:
                    raise RunChangedError(f"{path / CONFIG} cannot be read: {damage}", "type --force to start anew")
                _refuse_changes(path, before, config)
                _write_words(path, words)
                return RunFolder(path, (path / STATE).exists(), locked)
            # Its configuration is replaced last: until then what is left belongs to it.
            for name in _MADE:
                if name == CANDIDATES:
                    shutil.rmtree(path / name, ignore_errors=True)
                else:
                    (path / name).unlink(missing_ok=True)
        write_atomic(path / CONFIG, json.dumps(config, indent=2) + "\n")
        _write_words(path, words)
        return RunFolder(path, False, locked)
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written ({problem.strerror})", ELSEWHERE) from None


def _write_words(path: Path, words: Mapping[str, object] | None) -> None:
    if words is not None:
        write_atomic(path / SETTINGS, json.dumps(words, indent=2, ensure_ascii=False) + "\n")


def _refuse_foreign(path: Path) -> None:
    """Raise RunChangedError if the folder holds anything but a run: its files, and their temporary names."""
    if os.path.lexists(path) and not path.is_dir():
        raise RunChangedError(f"{path} is not a folder", ELSEWHERE)
    names = sorted(entry.name for entry in path.iterdir()) if path.exists() else []
    for name in names:
        if name not in NAMES and not is_temporary(name) and not _EARLIER.fullmatch(name):
            raise RunChangedError(f"{path} is not a run folder: it holds '{name}'", ELSEWHERE)
    for name in _MADE:
        if name in names and CONFIG not in names:
            raise RunChangedError(f"{path} is not a run folder: it holds '{name}', but no {CONFIG}", ELSEWHERE)


def _lock(path: Path) -> _Lock | None:
    """Lock the folder while its run is worked on; None where the system cannot. Raises RunChangedError."""
    folder = path.resolve()
    inode = (folder.stat().st_dev, folder.stat().st_ino)
    if (mine := _LOCKS.get(inode)) is not None:
        return mine
    handle = None
    for patience in range(10, -1, -1):  # what a killed process started may take a moment to end
        try:
            handle = lock(folder)
        except BlockingIOError:
            if not patience:
                raise RunChangedError(f"{path}: another process is working on this run", ELSEWHERE) from None
            time.sleep(0.2)
        else:
            break
    if handle is None:
        return None
    mine = _LOCKS[inode] = _Lock(handle)
    return mine


def _read_config(path: Path) -> tuple[Json, str]:
    """Return the run's settings, and what is wrong with the file; raises RunChangedError where it is another's."""
    try:
        found = strict_json(read_text(path))
    except (ValueError, OSError) as problem:
        return {}, getattr(problem, "strerror", None) or str(problem)
    if not isinstance(found, dict) or "command" not in found:
        raise RunChangedError(f"{path} holds no settings of a run", ELSEWHERE)
    return found, ""


def _refuse_changes(path: Path, before: Json, now: Json) -> None:
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise RunChangedError(
                f"{path} was started with {name} = {json.dumps(before.get(name))}, "
                f"now it is {json.dumps(now.get(name))}",
                "type --force to start anew, or --run to use another folder",
            )
