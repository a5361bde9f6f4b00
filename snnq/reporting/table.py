"""A table of text, and foreign text made fit to stand in one."""

from __future__ import annotations

from dataclasses import dataclass

DIFFERS, YES = "differs", "yes"


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


def visible(text: str) -> str:
    """Return text with control characters, line breaks and lone surrogates as escapes, fit for one line anywhere."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def loss_text(value: float | None) -> str:
    """Return a loss in nats with four decimals, a dash for None."""
    return "-" if value is None else f"{value:.4f}"
