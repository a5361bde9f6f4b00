"""Files: reading only what ends, and writing so that nobody ever sees half of one."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

from snnq.base.placing import replacing

# A file of text that people write or programs write for people: far above any plan, table or report of ours.
MAX_TEXT_BYTES = 64 * 2**20


def write_atomic(path: Path, text: str, *, overwrite: bool = True) -> None:
    """Write a text file under a temporary name in the same folder, then rename it.

    Raises OSError; FileExistsError where something is there and not ``overwrite``.
    """
    with replacing(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def regular_size(path: str | Path, limit: int | None = None) -> int:
    """Return the size of a regular file in bytes, links followed.

    Raises OSError for anything else: opening a named pipe waits for ever, and a device has no end; and for a file of
    more than ``limit`` bytes.
    """
    return _checked(os.stat(path), limit)


def open_regular(path: str | Path, limit: int | None = None) -> io.BufferedReader:
    """Open a regular file for reading; raises OSError, and for anything else as ``regular_size``."""
    regular_size(path, limit)  # merely opening a device may do something
    flags = (getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY", "O_CLOEXEC"))
    handle = os.open(path, os.O_RDONLY | sum(flags))
    try:
        _checked(os.fstat(handle), limit)  # what was opened, whatever took its place meanwhile
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | Path, limit: int | None = None) -> bytes:
    """Return the content of a regular file, as long as it was when it was opened; raises OSError as ``open_regular``.

    What has no length of its own (under /proc) is empty.
    """
    with open_regular(path, limit) as stream:
        return stream.read(os.fstat(stream.fileno()).st_size)


def read_text(path: str | Path, limit: int = MAX_TEXT_BYTES) -> str:
    """Return a text file in UTF-8; raises OSError as ``open_regular``, and UnicodeDecodeError, a ValueError."""
    return read_regular(path, limit).decode("utf-8")


def _checked(found: os.stat_result, limit: int | None) -> int:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if limit is not None and found.st_size > limit:
        raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes; more than {limit:,} are not read")
    return found.st_size
