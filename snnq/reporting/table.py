"""A table of text, and foreign text made fit to stand in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

R = TypeVar("R")
DIFFERS, YES = "differs", "yes"
_LONGEST_NAME = 48


@dataclass(frozen=True)
class Table:
    """A title, the columns and the rows, all text.

    ``section``: which section of the report's page it stands in. ``long``: too long for the terminal, which leaves it
    to every other format.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    section: str = ""
    long: bool = False

    @property
    def marked(self) -> tuple[bool, ...]:
        """Which rows are marked: those that say ``YES`` where the last column is ``DIFFERS``."""
        return tuple(self.columns[-1] == DIFFERS and row[-1] == YES for row in self.rows)

    @property
    def prose(self) -> bool:
        """Whether cells are folded on a page: only those with more than a name or number can be."""
        return any(len(cell) > _LONGEST_NAME for row in self.rows for cell in row)

    @property
    def classes(self) -> tuple[str, ...]:
        """A column's class on a page: ``n``, numbers, aligned right; ``w``, words, folded on a phone; or none."""
        columns = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        return tuple("n" if _numeric(one) else "w" if any(" " in cell for cell in one) else "" for one in columns)


def _numeric(cells: Sequence[str]) -> bool:
    """Return whether all cells are numbers, dashes or empty, and some are numbers."""
    return all(one[:1] in "+-−0123456789" for one in cells) and any(one not in ("", "-") for one in cells)


def table_of(title: str, rows: Iterable[R], cells: Mapping[str, Callable[[R], str]], section: str = "") -> Table:
    """Return the table of some records: a column for each of ``cells``, which makes its text of a record."""
    return Table(title, tuple(cells), tuple(tuple(cell(row) for cell in cells.values()) for row in rows), section)


def visible(text: str) -> str:
    """Return text with control characters, line breaks and lone surrogates as escapes, fit for one line anywhere."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def loss_text(value: float | None, sign: str = "") -> str:
    """Return a loss in nats, or a probability, with four decimals; a dash for None."""
    return "-" if value is None else f"{value:{sign}.4f}"
