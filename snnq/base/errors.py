"""Every mistake a user can make: one class each, with its exit code and a hint.

Exit codes: 1 a failure we know, 2 usage or an invalid file, 3 budget not met,
4 verification mismatch, 130 interrupted (Ctrl-C).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SnnqError(Exception):
    """A failure we know. ``message`` says on one line what was found, ``hint`` what to type next."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        # It may quote a file, which may hold anything: a line break there must not look like a line of ours.
        message = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(SnnqError):
    """What was given cannot be used: an option, an argument or a file."""

    exit_code = 2


class UsageError(InputError):
    """An option or argument that cannot be used as given."""


class CheckpointError(InputError):
    """A float checkpoint that cannot be opened, recognised or loaded."""


class DataError(InputError):
    """A data spec, recording or frame file that cannot be read."""


class PlanError(InputError):
    """A plan.json that is damaged, or does not fit its model."""


class CostTableError(InputError):
    """A cost table that is damaged or misses a constant."""


class MachineError(InputError):
    """A machine's file that is damaged or misses a constant."""


class PackedError(InputError):
    """A packed folder that is damaged or incomplete."""


class OutputExistsError(InputError):
    """An output that is already there and would be overwritten."""


class RunChangedError(InputError):
    """A run cannot go on because something it depends on has changed."""


class MissingLibraryError(SnnqError):
    """An optional library that a command needs is not installed, or does not import."""


class NotFiniteError(SnnqError):
    """A loss, current, weight or statistic that is not a finite number; it is never written as a result."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "no such number was saved or written; see what the model itself gives: snnq eval")


class BudgetError(SnnqError):
    """No plan keeps the budget."""

    exit_code = 3


class VerificationError(SnnqError):
    """A packed folder does not hold what its plan says."""

    exit_code = 4


class InterruptedRun(SnnqError):  # noqa: N818 (an interruption is no error)
    """Ctrl-C during a long command; the state is saved."""

    exit_code = 130


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest allowed word, or an empty string."""
    close = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
