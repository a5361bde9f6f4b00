"""A report, or a smaller document, as text: CSV with every number unrounded, markdown, and templates' pages.

CSV is one long table ``section,row,key,value`` for everything: section and key are those of the JSON (``glossary``),
row is the name, plan, layer or epoch that the number is of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snnq.reporting.figures.svg import HATCH
from snnq.reporting.records import Report
from snnq.reporting.table import Table, visible
from snnq.reporting.tables import detail_tables, main_tables

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("section", "row", "key", "value")
# What names a row of a section, where it has one of them.
_NAMES = ("name", "model", "plan", "layer", "epoch", "kind", "machine")
# What markdown or the HTML inside it would take for more than text.
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\|`*_[]#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def long_frame(data: Mapping[str, object]) -> pd.DataFrame:
    """Return plain data as a frame of ``COLUMNS``, one line a value; values are text, numbers unrounded.

    ``frame[frame.section == "layers"].pivot(index="row", columns="key", values="value")`` is one section as a table.
    """
    import pandas as pd

    lines = [(section, row, key, _cell(value)) for section, row, key, value in _lines(data)]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _lines(data: Mapping[str, object]) -> Iterator[tuple[str, str, str, object]]:
    """Yield (section, row, key, value) of everything; single values are in the section ``report``."""
    for section, content in data.items():
        if isinstance(content, Mapping) and content and all(isinstance(one, Mapping) for one in content.values()):
            for name, row in content.items():
                for key, value in _flat(row):
                    yield section, name, key, value
        elif isinstance(content, Mapping):
            yield from _parts(section, content)
        elif _is_rows(content):
            yield from _rows(section, content)
        else:
            for key, value in _flat({section: content}):
                yield "report", "", key, value


def _parts(section: str, content: Mapping[str, object]) -> Iterator[tuple[str, str, str, object]]:
    """Yield what a section says of itself, then the lists of rows in it, however deep: ``event_energy.plan.layers``."""
    deep = {key: value for key, value in content.items() if isinstance(value, Mapping) and _holds_rows(value)}
    lists = {key: value for key, value in content.items() if _is_rows(value)}
    for key, value in _flat({k: v for k, v in content.items() if k not in deep | lists}):
        yield section, "", key, value
    for key, rows in lists.items():
        yield from _rows(f"{section}.{key}", rows)
    for key, inner in deep.items():
        yield from _parts(f"{section}.{key}", inner)


def _holds_rows(content: Mapping[str, object]) -> bool:
    return any(_is_rows(one) or (isinstance(one, Mapping) and _holds_rows(one)) for one in content.values())


def _is_rows(value: object) -> TypeGuard[Sequence[Mapping[str, object]]]:
    return isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(one, Mapping) for one in value)


def _rows(section: str, rows: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, str, str, object]]:
    for place, row in enumerate(rows, start=1):
        name = next((key for key in _NAMES if key in row), None)
        label = str(row[name]) if name else str(place)
        for key, value in _flat({k: v for k, v in row.items() if k != name}):
            yield section, label, key, value


def _flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (key, value): keys of what is inside are joined with dots, lists of numbers are one value."""
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, Sequence) and not isinstance(value, str) and not _is_numbers(value):
        parts = ((str(i), one) for i, one in enumerate(value, start=1))
    else:
        yield path, value
        return
    for key, one in parts:
        yield from _flat(one, f"{path}.{key}" if path else key)


def _is_numbers(value: Sequence[object]) -> bool:
    return bool(value) and all(isinstance(one, int | float) for one in value)


def _cell(value: object) -> str:
    """Return a value as text: numbers unrounded, nothing for None, never what a spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, str):
        shown = visible(value)
        return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown
    if isinstance(value, Sequence):
        return " ".join(map(repr, value))
    return str(value).lower() if isinstance(value, bool) else repr(value)


def csv_text(data: Mapping[str, object]) -> str:
    """Return plain data as CSV text of ``COLUMNS``, without a line break at its end."""
    frame = long_frame(data)
    for column in COLUMNS[:3]:
        frame[column] = [_cell(one) for one in frame[column]]
    return frame.to_csv(index=False, lineterminator="\n").rstrip("\n")


def to_markdown(report: Report) -> str:
    """Return every sentence and table as GitHub markdown, to be pasted under a heading of a README."""
    parts = ["## Compressed with snnq", plain(report.verdict), plain(report.energy_model)]
    parts += [plain(report.event_energy.sentence), plain(report.dynamics)]
    parts.append("\n".join(f"- {plain(note)}" for note in report.notes))
    parts += [markdown_table(table) for table in main_tables(report)]
    parts += [plain(report.tested), plain(report.comparison)]
    parts.append(plain(report.search.sentence))
    parts += [markdown_table(table) for table in detail_tables(report)]
    parts.append("### Formulas")
    parts.append("\n".join(f"- {plain(line)}" for line in report.formulas))
    parts.append("### How to check it and make it again")
    parts.append("\n".join(["```sh", *map(visible, report.commands), "```"]))
    return "\n\n".join(parts)


def plain(text: str) -> str:
    """Return text that markdown shows as it is."""
    return visible(text).translate(_MARKDOWN)


def markdown_table(table: Table) -> str:
    """Return a table as GitHub markdown under its title; columns of numbers are aligned right."""
    rows = [table.columns, *table.rows]
    lines = [f"| {' | '.join(map(plain, row))} |" for row in rows]
    rules = ["---:" if _is_numeric([row[i] for row in table.rows]) else "---" for i in range(len(table.columns))]
    lines.insert(1, f"| {' | '.join(rules)} |")
    return "\n".join([f"### {plain(table.title)}", "", *lines])


def _is_numeric(cells: Sequence[str]) -> bool:
    return any(cells) and all(re.fullmatch(r"[-+]?[\d,]*(\.\d+)?( %| points)?", cell) for cell in cells)


def render(template: str, **values: object) -> str:
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


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption; ``svg`` comes from ``figures``, which escape all text in it."""

    caption: str
    svg: str
    small: bool = False


@dataclass(frozen=True)
class Document:
    """What is shown in any format. ``data`` becomes JSON and CSV.

    The first ``lead`` tables stand above the figures of the page, the others below them; ``panels`` is the title over
    the small figures.
    """

    title: str
    verdict: str
    notes: tuple[str, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    data: Mapping[str, object]
    lead: int = 0
    panels: str = ""


def document_markdown(document: Document) -> str:
    """Return the document as GitHub markdown, to be pasted under a heading of a README."""
    parts = [f"## {plain(document.title)}", plain(document.verdict)]
    parts += ["\n".join(f"- {plain(note)}" for note in document.notes)] if document.notes else []
    return "\n\n".join([*parts, *map(markdown_table, document.tables)])


def document_html(document: Document) -> str:
    """Return the document as a self-contained HTML page; whatever comes from files is escaped."""
    return render(
        "document.html.j2",
        document=document,
        figures=[one for one in document.figures if not one.small],
        panels=[one for one in document.figures if one.small],
        tables=document.tables,
    )
