"""A table of strange inputs: what is written, what is typed, what is said, which exit code.

A row runs in an empty folder of its own, in this process; with ``memory_mib`` or ``seconds`` in a forked one that may
take no more (``limited``), so that a hang or an allocation without bound fails the row, not the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import limited
import pytest

from snnq.cli.main import run


@dataclass(frozen=True)
class Row:
    """One strange input.

    ``name`` says in a few words what it is; ``make(folder)`` writes it and returns the words after ``snnq``; ``said``
    is a regular expression that stdout and stderr together must hold, white space of any kind read as one space;
    ``check(folder, output)`` looks further; ``memory_mib`` is what it may take beyond the imports.
    """

    name: str
    make: Callable[[Path], list[str]]
    code: int
    said: str = ""
    check: Callable[[Path, str], None] | None = None
    memory_mib: int | None = None
    seconds: float | None = None


def rows(*table: Row) -> Any:
    """Return the decorator that runs a test once for each row, as its argument ``row``."""
    return pytest.mark.parametrize("row", table, ids=[row.name.replace(" ", "-") for row in table])


def check(row: Row, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Run a row in ``folder`` and hold it to what it says; an unexpected traceback or an unknown error never passes."""
    monkeypatch.chdir(folder)
    words = row.make(folder)
    capfd.readouterr()
    if row.memory_mib is None and row.seconds is None:
        code = run(words)
        output = "".join(capfd.readouterr())
    else:
        code, output = limited.run(words, folder, memory_mib=row.memory_mib, seconds=row.seconds or 20.0)
    shown = f"snnq {' '.join(words)}\nexit code {code}\n{output}"
    assert code == row.code, shown
    assert not re.search("Traceback|please report it", output), shown
    assert re.search(row.said, " ".join(output.split())), shown
    if row.check is not None:
        row.check(folder, output)
