"""How long work tells its caller where it is. Nothing below ``cli`` prints; it calls a ``Progress``."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with a stage's name, how much of it is done out of ``total``, and facts worth showing.

    ``facts`` are numbers or short strings by name (``loss=0.31``, ``bits=2.4``); units stand in the names. A name with
    a dot is a part of the fact before it (``bits.mlp``), for views that have room for it.
    """

    def __call__(self, stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
        """Show that ``done`` of ``total`` is done."""


def silent(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
    """Say nothing."""


def shown(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
    """Stand for the view that a command opens on stderr: the default of the functions that users call."""
