"""What the rooms below say on the way: they log it under ``snnq``, and a command prints it as a note on stderr.

Used from Python, the same sentences go where Python's logging sends them: warnings to stderr, the rest nowhere.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from snnq.console.printing import note


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        note(f"Warning: {said}" if record.levelno >= logging.WARNING else said)


@contextmanager
def remarks_shown() -> Iterator[None]:
    """Print what is logged under ``snnq`` meanwhile, from INFO on; a warning says that it is one."""
    log, handler = logging.getLogger("snnq"), _Notes()
    before = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]
