"""Libraries that write to the process' output past Python: what they say is not ours to print."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def output_discarded() -> Iterator[None]:
    """Discard what compiled code writes to file descriptor 1 meanwhile; Python's own output stays before or after it.

    Where the process has no such descriptor, nothing is done.
    """
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        yield
    finally:
        with suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).fflush(None)  # C holds it back until its buffer is full, or the process ends
        os.dup2(kept, 1)
        os.close(kept)
