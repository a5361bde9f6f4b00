"""``snnq report``: a packed folder on the terminal and as one HTML page."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.cli.options import Model, WeightReuse

if TYPE_CHECKING:
    from snnq.reporting.records import Report


class Format(StrEnum):
    """What goes to stdout."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    html = "html"


def report(
    folder: Annotated[Path, typer.Argument(help="A packed folder.")] = Path("packed"),
    format: Annotated[Format, typer.Option(help="What to print.")] = Format.table,
    cost_table: Annotated[str | None, typer.Option(help="Cost table: a name or a path; the plan's by default.")] = None,
    weight_reuse: WeightReuse = "inference",
    measure: Annotated[
        int | None, typer.Option(min=1, help="Measure firing rates anew, on so many validation samples.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Data spec to measure on; the plan's by default.")] = None,
    model: Model = None,
    out: Annotated[Path | None, typer.Option(help="The HTML page; FOLDER/report.html by default.")] = None,
) -> None:
    """Report accuracy, storage and energy of a packed folder; write its HTML page anew.

    The folder is verified first. The page is made from the folder alone, so it is replaced without asking; with
    --measure the event model's energies in it are of the samples that were run just now.
    """
    from snnq import console
    from snnq.reporting.run import report as run_report

    with console.progress_view() as progress:
        found = run_report(
            folder, cost_table=cost_table, weight_reuse=weight_reuse, measure=measure, data=data, progress=progress
        )
    page = write_page(found, out)
    show(found, format)
    console.note(f"Page: {page}")
    console.next_step(f"snnq verify {shlex.quote(str(folder))}")


def write_page(found: Report, out: Path | None = None) -> Path:
    """Write the report's page, in its folder unless said otherwise; return where it is."""
    from snnq.reporting.run import PAGE_FILE, write_html

    page = out or Path(found.folder) / PAGE_FILE
    write_html(found, page)
    return page


def show(found: Report, format: Format = Format.table) -> None:
    """Print a report to stdout; what a reader of the tables must know goes to stderr."""
    from snnq import console
    from snnq.reporting import formats

    if format is Format.table:
        _show_tables(found)
    elif format is Format.json:
        console.emit_json(found.to_dict())
    elif format is Format.csv:
        console.out(formats.to_csv(found))
    elif format is Format.markdown:
        console.out(formats.to_markdown(found))
    else:
        from snnq.reporting.page import html_page

        console.out(html_page(found))


def _show_tables(found: Report) -> None:
    from snnq import console
    from snnq.reporting.tables import main_tables

    for one in main_tables(found):
        console.table(one.title, one.columns, one.rows)
    for line in (
        found.energy_model,
        found.event_energy.sentence,
        *found.notes,
        found.search.sentence,
        found.comparison,
        found.verdict,
    ):
        console.note(line)
