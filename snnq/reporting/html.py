"""Templates to text: the page's environment, and tables as the templates take them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snnq.reporting.figures.svg import HATCH
from snnq.reporting.tables import Table
from snnq.reporting.text import visible

_LONGEST_NAME = 48


@dataclass(frozen=True)
class Grid:
    """A table of the page: which columns are numbers and aligned right, and which rows are marked as different.

    Cells of ``prose`` are folded, anywhere if need be; names and numbers elsewhere stay whole.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    marked: tuple[bool, ...]
    prose: bool


def grids(tables: Iterable[Table]) -> list[Grid]:
    """Return tables for the page."""
    return [Grid(one.title, one.columns, one.rows, _numeric(one), one.marked, _is_prose(one)) for one in tables]


def _is_prose(table: Table) -> bool:
    return any(len(cell) > _LONGEST_NAME for row in table.rows for cell in row)


def _numeric(table: Table) -> tuple[bool, ...]:
    """Return for every column whether all of its cells are numbers, dashes or empty, and some are numbers."""
    cells = [[row[i] for row in table.rows] for i in range(len(table.columns))]
    return tuple(
        all(not one or one[:1] in "+-−0123456789" for one in column) and any(one not in ("", "-") for one in column)
        for column in cells
    )


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
