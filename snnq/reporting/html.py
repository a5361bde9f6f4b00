"""Templates to text: the page's environment, and tables as the templates take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snnq.reporting.figures.svg import HATCH
from snnq.reporting.table import Table, visible

_LONGEST_NAME = 48


@dataclass(frozen=True)
class Grid:
    """A table of the page: what its columns are, and which rows are marked as different.

    A column's class is ``n`` where it has numbers, aligned right, and ``w`` where it has words, which are folded on a
    phone. Cells of ``prose`` are folded everywhere; names and numbers stay whole.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    marked: tuple[bool, ...]
    prose: bool


def grids(tables: Iterable[Table]) -> list[Grid]:
    """Return tables for the page."""
    return [Grid(one.title, one.columns, one.rows, _classes(one), one.marked, _is_prose(one)) for one in tables]


def _is_prose(table: Table) -> bool:
    return any(len(cell) > _LONGEST_NAME for row in table.rows for cell in row)


def _classes(table: Table) -> tuple[str, ...]:
    cells = [[row[i] for row in table.rows] for i in range(len(table.columns))]
    return tuple("n" if _numeric(column) else "w" if any(" " in one for one in column) else "" for column in cells)


def _numeric(column: Sequence[str]) -> bool:
    """Return whether all cells of a column are numbers, dashes or empty, and some are numbers."""
    return all(not one or one[:1] in "+-−0123456789" for one in column) and any(one not in ("", "-") for one in column)


def render(template: str, **values: Any) -> str:
    """Return a template's page. All strings are escaped, and control characters in them made visible."""
    environment = Environment(
        loader=PackageLoader("snnq.reporting"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(hatch=Markup(HATCH), **values)


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
