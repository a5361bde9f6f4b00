"""How commands show what they found: the formats, a document in any of them, and a plan as blocks on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console

if TYPE_CHECKING:
    from snnq.plan import Plan
    from snnq.reporting.formats import Document


class OutputFormat(StrEnum):
    """What goes to stdout."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    html = "html"


FormatOption = Annotated[OutputFormat, typer.Option("--format", help="What to print.")]
Page = Annotated[Path | None, typer.Option("--out", help="Write an HTML page here, too.")]


def show_document(found: Document, format: OutputFormat, out: Path | None = None) -> None:
    """Print a document to stdout in a format, and write its page to ``out``; remarks go to stderr."""
    from snnq.reporting.formats import document_html, document_markdown
    from snnq.reporting.page import write_page

    show_in(
        format,
        found.data,
        tables=lambda: _show_tables(found),
        markdown=lambda: document_markdown(found),
        html=lambda: document_html(found),
    )
    if out is not None:
        write_page(document_html(found), out)
        console.note(f"Page: {out}")


def _show_tables(found: Document) -> None:
    console.say(found.verdict)
    console.out("")
    for one in found.tables:
        if not one.long:
            console.table(one.title, one.columns, one.rows, one.marked)
    for line in found.notes:
        console.note(line)


def show_in(
    format: OutputFormat,
    data: Mapping[str, object],
    *,
    tables: Callable[[], None],
    markdown: Callable[[], str],
    html: Callable[[], str],
) -> None:
    """Print to stdout in a format: plain data as JSON or CSV, or what one of the three others makes of it."""
    from snnq.reporting.formats import csv_text

    if format is OutputFormat.json:
        console.emit_json(data)
    elif format is OutputFormat.csv:
        console.document(csv_text(data))
    elif format is OutputFormat.markdown:
        console.document(markdown())
    elif format is OutputFormat.html:
        console.document(html())
    else:
        tables()


def show_plan(plan: Plan) -> None:
    """Print a plan that was just made: its layers as blocks, and the tables of its layers and totals."""
    from snnq.plan import views

    show_strip(plan.schemes().items())
    for title, columns, rows in views.layer_tables(plan):
        console.table(title, columns, rows)
    console.table("Totals", *views.total_table(plan))


def show_strip(layers: Iterable[tuple[str, str]]) -> None:
    """Print every layer (its name, its scheme) as a block, those of one module in a row."""
    from snnq.reporting.figures.palette import hex_colour, letters, scheme_colour, short_name
    from snnq.reporting.figures.strip import module_of

    layers, rows = list(layers), []
    for module, members in groupby(layers, key=lambda one: module_of(one[0])):
        blocks = [
            (name[len(module) :].lstrip("."), short_name(scheme), hex_colour(scheme_colour(scheme)))
            for name, scheme in members
        ]
        rows.append((module or "(top)", blocks))
    console.blocks(f"Layers: {letters(scheme for _, scheme in layers)}, and bits per weight", rows)
