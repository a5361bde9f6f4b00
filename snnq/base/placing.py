"""Putting files and folders in their place: made under a temporary name beside it, then renamed.

A temporary name is ``.NAME.snnq-`` and 16 random hexadecimal digits: nobody else has it, and whoever makes something
there holds a lock on it. So what a killed process left is told from what another one is making just now; it is removed
when the next one puts something in the same place. Nothing of any other name is ever touched.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

MARK = ".snnq-"
_ABANDONED_SECONDS = 7 * 86_400  # where the system cannot lock
_NEW, _OLD, _GONE = "new", "old", "gone"


def is_temporary(name: str) -> bool:
    """Return whether a file of this name is one of ours that was never put in its place."""
    return re.fullmatch(rf"\..*{re.escape(MARK)}[0-9a-f]{{16}}", name, re.DOTALL) is not None


@contextmanager
def replacing(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary file beside ``path``; what was written into it takes that place at the end. Parents are made.

    Raises OSError; FileExistsError where something is at ``path``, now or at the end, and not ``overwrite``.
    """
    path = Path(path)
    _make_parents(path)
    sweep(path)
    _check_free(path, overwrite)
    temporary, handle = _claim(path, lambda new: os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)))
    try:
        yield temporary
        _place_file(temporary, path, overwrite)
    finally:
        with suppress(OSError):
            temporary.unlink()
        _close(handle)


@contextmanager
def workplace(path: str | Path) -> Iterator[Path]:
    """Give a path in a folder of ours beside ``path``, where nothing is yet: a file or a folder is to be made there.

    ``install`` takes it to its place; what else is there is removed at the end. Raises OSError.
    """
    path = Path(path)
    _make_parents(path)
    sweep(path)
    place, handle = _claim(path, os.mkdir)
    try:
        yield place / _NEW
    finally:
        _give_up(place, path, (_OLD,))
        _close(handle)


def try_place(path: str | Path) -> None:
    """Raise OSError unless something can be put at ``path``; nothing is left there, but parents are made."""
    path = Path(path)
    _make_parents(path)
    _check_free(path, overwrite=True)
    place, handle = _claim(path, os.mkdir)
    place.rmdir()
    _close(handle)


def install(new: Path, path: Path, *, overwrite: bool = False) -> None:
    """Take what was made in a ``workplace`` to its place, which is free where nothing or an empty folder is.

    With ``overwrite`` what is there goes, a folder only when the new one is in its place. Raises OSError;
    FileExistsError where something is there and not ``overwrite``.
    """
    folder = new.is_dir()
    if path.is_dir() and not path.is_symlink():
        if overwrite:
            os.rename(path, new.parent / _OLD)
        elif folder:
            with suppress(OSError):
                path.rmdir()
    if not folder:
        _place_file(new, path, overwrite)
        return
    try:
        os.rename(new, path)  # where another process was first, it fails
    except OSError:
        _check_free(path, overwrite)
        raise


def sweep(path: str | Path) -> None:
    """Remove what killed processes left beside ``path``.

    Where one was killed between taking an old folder away and putting the complete new one there, that is done first.
    """
    path = Path(path)
    ours = re.compile(re.escape(f".{path.name}{MARK}") + "[0-9a-f]{16}")
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in [one for one in entries if ours.fullmatch(one.name)]:
            with suppress(OSError):
                _sweep(Path(entry.path), path)


def _sweep(left: Path, path: Path) -> None:
    found = left.lstat()
    folder = stat.S_ISDIR(found.st_mode)
    if not (folder or stat.S_ISREG(found.st_mode)) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        return  # no file of ours
    handle = lock(left)  # raises where it is being made just now
    try:
        if handle is None and time.time() - found.st_mtime < _ABANDONED_SECONDS:
            return
        if folder:
            _give_up(left, path, (_NEW, _OLD))
        else:
            left.unlink()
    finally:
        _close(handle)


def _give_up(place: Path, path: Path, instead: tuple[str, ...]) -> None:
    """Remove a workplace; where the old folder was taken away and nothing put there, the first of ``instead`` is."""
    old = place / _OLD
    if os.path.lexists(old):
        for name in instead:
            with suppress(OSError):
                if not os.path.lexists(path):
                    os.rename(place / name, path)
        if not os.path.lexists(path):
            return  # it stays in the workplace
        with suppress(OSError):
            os.rename(old, place / _GONE)  # half of it must never be put back
    shutil.rmtree(place, ignore_errors=True)


def _place_file(new: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        _check_free(path, overwrite)
        os.replace(new, path)
        return
    try:
        os.link(new, path)  # unlike a renamed file, it never takes a place where another process was first
    except OSError:  # or no such links here
        _check_free(path, overwrite)
        os.replace(new, path)
    else:
        new.unlink()


def _make_parents(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # which would say that something is at ``path``
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def _check_free(path: Path, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(found := os.stat(path).st_mode) and not stat.S_ISDIR(found):
            raise OSError(errno.EINVAL, "something is there that is no regular file")  # never in place of /dev/null


def _claim(path: Path, make: Callable[[Path], None]) -> tuple[Path, int | None]:
    """Make something under a name that nobody else has; return it and the lock on it (None: it cannot be locked)."""
    while True:
        place = path.with_name(f".{path.name}{MARK}{secrets.token_hex(8)}")
        make(place)
        with suppress(FileNotFoundError, BlockingIOError):  # swept before it was locked
            handle = lock(place)
            if handle is None or _is_still(place, handle):
                return place, handle
            _close(handle)


def lock(place: Path) -> int | None:
    """Lock a file or folder for this process alone, as long as the handle that is returned is open.

    None where the system cannot lock. Raises BlockingIOError where another process has locked it.
    """
    if fcntl is None:
        return None
    handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        os.close(handle)
        return None
    return handle


def _is_still(place: Path, handle: int) -> bool:
    with suppress(OSError):
        return place.lstat().st_ino == os.fstat(handle).st_ino
    return False


def _close(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)
