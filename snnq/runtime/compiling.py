"""Compiling the engine's loops, and where the machine code is kept for the next process.

What numba keeps are pickles, and whoever can write them runs code in this process. So they lie beside the source, which
is trusted anyway, where NUMBA_CACHE_DIR says, or in a folder of snnq's cache that is this user's alone. Where there is
none of these, loops are compiled in every process.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config

ROOT = Path(__file__).resolve().parents[1]  # the package
IMPORT = re.compile(rf"^from {ROOT.name}\.([\w.]+) import (\([^)]*\)|.*)", re.MULTILINE)


def compiled(loop: Callable[..., Any]) -> Any:
    """Return a loop that is compiled at its first call, releases the interpreter and is kept where that is safe."""
    settings: Any = config
    file = Path(loop.__code__.co_filename)
    asked = settings.CACHE_DIR
    kept = Path(asked) if asked else file.parent / "__pycache__" if _writable_source() else _private_folder()
    if kept is None:
        return njit(nogil=True)(loop)
    settings.CACHE_DIR = str(kept / f"{file.stem}-{_version(file)}")  # numba looks at it here and now
    try:
        return njit(nogil=True, cache=True)(loop)
    finally:
        settings.CACHE_DIR = asked


@cache
def _version(file: Path) -> str:
    """Return a hash of a file's source and of all of snnq that it imports when it is loaded.

    Numba asks whether the file itself has changed alone. What a loop calls, and numbers and records it takes, of other
    files are in its machine code as well: after an upgrade that would go on with the old ones.
    """
    every, left = {file: b""}, [file]
    while left:
        one = left.pop()
        every[one] = one.read_bytes()
        new = [other for other in _imported(every[one].decode()) if other not in every]
        every |= dict.fromkeys(new, b"")
        left += dict.fromkeys(new)
    text = hashlib.sha256()
    for one in sorted(every):
        text.update(hashlib.sha256(every[one]).digest())
    return text.hexdigest()[:16]


def _imported(source: str) -> Iterator[Path]:
    """Yield the files of snnq's modules that a module imports when it is loaded: not in its functions."""
    for module, names in IMPORT.findall(source):
        for name in re.findall(r"\w+", names):
            place = ROOT.joinpath(*module.split("."))
            found = (
                place / f"{name}.py",
                place / name / "__init__.py",
                place.with_suffix(".py"),
                place / "__init__.py",
            )
            yield from [one for one in found if one.is_file()][:1]


@cache
def _writable_source() -> bool:
    source = Path(__file__).parent
    kept = source / "__pycache__"
    return os.access(kept if kept.exists() else source, os.W_OK | os.X_OK)


@cache
def _private_folder() -> Path | None:
    """Return a folder that is this user's alone, made if need be, or None, which is said once."""
    from snnq.data.cache import cache_root  # only now: it brings much with it

    user = os.geteuid() if hasattr(os, "geteuid") else 0
    folder = cache_root() / f"numba-{user}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem = private_problem(folder, user)
    except OSError as failed:
        problem = failed.strerror or str(failed)
    if problem is None:
        return folder
    logging.getLogger(__name__).warning(
        "The integer engine is compiled anew in every process, some seconds each: %s cannot be used (%s). "
        "SNNQ_CACHE names a folder that can.",
        folder,
        problem,
    )
    return None


def private_problem(folder: Path, user: int) -> str | None:
    """Return why a folder is not one that only ``user`` can write, or None if it is."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    if os.name != "posix":
        return None
    if found.st_uid != user:
        return f"it belongs to user {found.st_uid}"
    if found.st_mode & 0o022:
        return "other users can write in it"
    return None if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written"
