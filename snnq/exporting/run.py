"""``snnq.export``: a packed folder in another format.

It is written under a temporary name beside its place, then renamed; nothing is lost on the way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from snnq.base.errors import OutputExistsError, UsageError
from snnq.base.placing import install, sweep, workplace
from snnq.exporting.targets import Exported, find_target
from snnq.packed.verification import verify

_ELSEWHERE = "name another place: --out"
_ADD_FORCE = "add --force to overwrite it, or name another --out"
Result = TypeVar("Result")


def default_place(folder: Path, suffix: str) -> Path:
    """Return the path beside a packed folder that its name and ``suffix`` make."""
    named = folder if folder.name and folder.name != ".." else Path(os.path.abspath(folder))
    return named.with_name(named.name + suffix)


def check_free(out: Path, folder: Path, force: bool) -> None:
    """Raise OutputExistsError if something is at ``out`` already, UsageError if that is the packed folder itself."""
    sweep(out)
    if os.path.abspath(out) == os.path.abspath(folder):
        raise UsageError(f"{out} is the packed folder itself: an export is never written over it", _ELSEWHERE)
    if os.path.lexists(out) and not force and not _is_empty_folder(out):
        raise OutputExistsError(f"{out} is already there", _ADD_FORCE)


def put(out: Path, write: Callable[[Path], Result], *, force: bool) -> Result:
    """Let ``write`` make a file or a folder under a temporary name, put it at ``out``, and return what it returned.

    With ``force`` what is at ``out`` is replaced; a folder only where each of its files has a successor. Raises
    OutputExistsError where that is not so, or where something is there by the end, UsageError where nothing can be
    written.
    """
    try:
        with workplace(out) as new:
            result = write(new)
            _check_successors(new, out)
            install(new, out, overwrite=force)
        return result
    except FileExistsError:
        raise OutputExistsError(f"{out} is already there", _ADD_FORCE) from None
    except OSError as problem:
        raise UsageError(f"{out}: cannot be written ({problem.strerror or problem})", _ELSEWHERE) from None


def file_sizes(out: Path) -> dict[str, int]:
    """Return the bytes of every file of an export, by its name inside the folder or, of one file, its own name."""
    files = sorted(path for path in out.rglob("*") if path.is_file()) if out.is_dir() else [out]
    return {str(path.relative_to(out) if out.is_dir() else path.name): path.stat().st_size for path in files}


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _check_successors(new: Path, out: Path) -> None:
    """Raise OutputExistsError where putting ``new`` in the place of ``out`` would lose anything else than its past."""
    if not os.path.lexists(out) or (_is_empty_folder(out) and new.is_dir()):
        return
    if new.is_dir() != (out.is_dir() and not out.is_symlink()):
        kind = "a file" if new.is_dir() else "a folder"
        raise OutputExistsError(f"{out} is there and is {kind}, the export is none", _ELSEWHERE)
    if new.is_dir():
        for name in sorted({entry.name for entry in out.iterdir()} - {entry.name for entry in new.iterdir()}):
            raise OutputExistsError(f"{out} holds '{name}', which no export wrote: it is not overwritten", _ELSEWHERE)


def export(path: str | Path, to: str, out: str | Path | None = None, force: bool = False) -> Exported:
    """Write a packed folder in another format and return what was written; ``to`` is one of ``TARGETS``.

    The folder is verified first, and what was written is read back by the format's own library and compared with the
    packed weights before it is put in its place: ``out``, or beside the folder under its name and the target's suffix.

    Raises UsageError for an unknown target, or a plan the format cannot hold; OutputExistsError for an ``out`` that is
    there, unless ``force``; MissingLibraryError, which says what to install; PackedError or VerificationError for a
    folder that is damaged, and VerificationError where the library does not read back the very weights.
    """
    folder, target = Path(path), find_target(to)
    place = Path(out) if out is not None else default_place(folder, target.suffix)
    check_free(place, folder, force)
    verify(folder)
    facts = put(place, lambda new: target.export(folder, new), force=force)
    return Exported(to, str(folder), str(place), file_sizes(place), facts.layers, facts.notes, facts.unsaid)
