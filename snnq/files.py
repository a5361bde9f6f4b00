"""Files: writing so that nobody ever sees half of one, and reading only what ends."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path


def write_atomic(path: Path, text: str) -> None:
    """Write a text file under a temporary name in the same folder, then rename it; raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def regular_size(path: Path) -> int:
    """Return the size of a regular file in bytes, links followed.

    Raises OSError for anything else: opening a named pipe waits for ever, and a device has no end.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    return found.st_size


def read_regular(path: str | Path) -> bytes:
    """Return the content of a regular file; raises OSError, and for anything else as ``regular_size``."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        content = os.read(handle, found.st_size + 1)
        if len(content) == found.st_size:
            return content
        with open(handle, "rb", closefd=False) as stream:  # more than one read takes, or it grows
            return content + stream.read()
    finally:
        os.close(handle)
