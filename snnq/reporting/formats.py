"""A report as text: CSV and markdown. The HTML page is in ``page``."""

from __future__ import annotations

import csv
import io
import re

from snnq.reporting.records import Report
from snnq.reporting.tables import Table, detail_tables, main_tables
from snnq.reporting.text import visible

# What markdown or the HTML inside it would take for more than text.
_MARKDOWN = str.maketrans({c: f"\\{c}" for c in "\\|`*_[]#~"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"})


def to_csv(report: Report) -> str:
    """Return every cell of every table as one line ``table,row,column,value``: one rectangular file for all of them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("table", "row", "column", "value"))
    for table in (*main_tables(report), *detail_tables(report)):
        for row in table.rows:
            writer.writerows(
                tuple(map(visible, (table.title, row[0], column, _bare(cell))))
                for column, cell in zip(table.columns[1:], row[1:], strict=True)
            )
    return out.getvalue().rstrip("\n")


def _bare(cell: str) -> str:
    """Return a number without its thousands separators, anything else as it is."""
    return cell.replace(",", "") if re.fullmatch(r"-?[\d,]+(\.\d+)?", cell) else cell


def to_markdown(report: Report) -> str:
    """Return every sentence and table as GitHub markdown."""
    parts = ["# What snnq made of this model", _plain(report.verdict), _plain(report.energy_model)]
    parts.append(_plain(report.event_energy.sentence))
    parts.append("\n".join(f"- {_plain(note)}" for note in report.notes))
    parts += [_markdown(table) for table in main_tables(report)]
    parts.append(_plain(report.comparison))
    parts.append(_plain(report.search.sentence))
    parts += [_markdown(table) for table in detail_tables(report)]
    parts.append("## How to check it and make it again")
    parts.append("\n".join(["```sh", *map(visible, report.commands), "```"]))
    return "\n\n".join(parts)


def _plain(text: str) -> str:
    return visible(text).translate(_MARKDOWN)


def _markdown(table: Table) -> str:
    rows = [table.columns, *table.rows]
    lines = [f"| {' | '.join(map(_plain, row))} |" for row in rows]
    lines.insert(1, "|" + " --- |" * len(table.columns))
    return "\n".join([f"## {_plain(table.title)}", "", *lines])
