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
