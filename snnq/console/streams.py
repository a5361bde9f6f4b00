"""stdout and stderr that no reader, disk or terminal can break: what they cannot take is lost, the command is not.

Results lie in files; a command that has worked for hours must not end because nobody listens. In the end it says that
its data did not reach stdout.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

from snnq.base.errors import SnnqError
from snnq.console.printing import error

if TYPE_CHECKING:
    from typing_extensions import Buffer

_FAULTS: list[OSError] = []  # of stdout, the first one first


class _Unbreakable(io.FileIO):
    """A file that is written to as far as it goes; stdout's faults are remembered."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as fault:
            if isinstance(fault, BlockingIOError):
                raise  # a pipe that is full for now
            if self.fileno() == 1:
                _FAULTS.append(fault)
            return len(memoryview(data).cast("B"))


def guard_streams() -> None:
    """Put unbreakable streams in the place of stdout and stderr, and nothing where they, or stdin, are closed.

    A file that is opened later must not become one of them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # Nothing can be written to it, so that stdout's fault is seen; stderr has nobody to tell.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    for number, name in ((1, "stdout"), (2, "stderr")):
        before = getattr(sys, name)
        if before is not None:
            before.flush()
        terminal = os.isatty(number)
        stream = io.TextIOWrapper(
            io.BufferedWriter(_Unbreakable(number, "wb", closefd=False)),
            encoding=getattr(before, "encoding", "utf-8"),
            errors=getattr(before, "errors", "backslashreplace"),
            line_buffering=terminal or number == 2,
        )
        setattr(sys, name, stream)


def leave(code: int) -> int:
    """Write what is left to write; return the exit code: a success without its data on stdout is none.

    A reader that has heard enough (``| head``) is no fault.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    faults = [fault for fault in _FAULTS if fault.errno != errno.EPIPE]
    if not faults:
        return code
    error(SnnqError(f"stdout: cannot be written ({faults[0].strerror})", "what the command wrote to files is whole"))
    return code or 1
