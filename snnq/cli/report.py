"""``snnq report``: a packed folder on the terminal and as one HTML page, or several plans side by side."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.showing import FormatOption, OutputFormat, show_document, show_in, show_strip
from snnq.commands.words import AdapterFile, Data, Device, ExitLoss, Json, Model, Threads, WeightReuse

if TYPE_CHECKING:
    from snnq.reporting.records import Report
    from snnq.training.devices import Compute

_Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FOLDER | A B ...]", help="A packed folder (packed), or plans and folders to compare."),
]
_Measure = Annotated[int | None, typer.Option(min=1, help="Measure firing rates anew, on so many validation samples.")]
_Accel = Annotated[
    str | None,
    typer.Option(
        metavar="MACHINE", help="Simulate it on accelerators, too: loas, sparten, gospa, gamma or a .toml, with commas."
    ),
]
_ExitEntropy = Annotated[
    str | None,
    typer.Option(metavar="0…1|auto", help="Run dynamic time steps on the test split, too, as snnq eval does."),
]
_Imc = Annotated[
    str | None, typer.Option(metavar="TARGET", help="On analog arrays, too: spikesim-65nm, trex-32nm or a .toml.")
]
_Page = Annotated[Path | None, typer.Option(help="The HTML page; FOLDER/report.html by default, none of a comparison.")]


def report(
    paths: _Paths = None,
    format: FormatOption = OutputFormat.table,
    json: Json = False,
    cost_table: Annotated[str | None, typer.Option(help="Cost table: a name or a path; the plan's by default.")] = None,
    weight_reuse: WeightReuse = None,
    measure: _Measure = None,
    accel: _Accel = None,
    exit_entropy: _ExitEntropy = None,
    exit_loss: ExitLoss = 0.5,
    imc: _Imc = None,
    adapter: AdapterFile = None,
    data: Data = None,
    device: Device = "auto",
    threads: Threads = None,
    model: Model = None,
    out: _Page = None,
) -> None:
    """Report accuracy, storage and energy of a packed folder; write its HTML page anew.

    The folder is verified first. The page is made from the folder alone, so it is replaced without asking; with
    --measure the event model's energies in it are of the samples that were run just now. Several plans (plan.json)
    and packed folders are shown side by side instead, their differences marked.
    """
    given, format = paths or [Path("packed")], OutputFormat.json if json else format
    if len(given) > 1:
        _compare(given, format, cost_table, out)
        return
    from snnq.reporting.run import report as run_report

    _refuse_plan(given[0])
    with console.progress_view() as progress:
        found = run_report(
            given[0],
            cost_table=cost_table,
            weight_reuse=weight_reuse,
            measure=measure,
            accel=accel,
            exit_entropy=exit_entropy,
            exit_loss=exit_loss,
            imc=imc,
            adapter=adapter,
            data=data,
            compute=_compute(device, threads) if measure or accel or exit_entropy else "auto",
            progress=progress,
        )
    show_with_page(found, out, format)
    console.next_step(f"snnq verify {shlex.quote(str(given[0]))}")


def _compute(device: str, threads: int | None) -> Compute:
    from snnq.training.devices import Compute

    return Compute(device, threads=threads)


def _refuse_plan(path: Path) -> None:
    from snnq.base.errors import UsageError
    from snnq.base.kinds import takers

    if path.is_file():
        raise UsageError(
            f"{path} is a file; a report is made of a packed folder, or of several plans and folders", takers(path)
        )


def _compare(paths: list[Path], format: OutputFormat, cost_table: str | None, out: Path | None) -> None:
    from snnq.reporting.compare import compare
    from snnq.reporting.comparing import comparison_document

    show_document(comparison_document(compare(paths, cost_table=cost_table)), format, out)
    console.next_step(f"snnq plan diff {shlex.join(map(str, paths[:2]))}")


def show_with_page(found: Report, out: Path | None = None, format: OutputFormat = OutputFormat.table) -> None:
    """Write the report's page, in its folder unless said otherwise, and print the report to stdout.

    What a reader of the tables must know goes to stderr.
    """
    from snnq.packed.config import PAGE_FILE
    from snnq.reporting.formats import to_markdown
    from snnq.reporting.page import html_page, write_html

    page = out or Path(found.folder) / PAGE_FILE
    write_html(found, page)
    show_in(
        format,
        found.to_dict(),
        tables=lambda: _show_tables(found),
        markdown=lambda: to_markdown(found),
        html=lambda: html_page(found),
    )
    console.note(f"Page: {page}")


def _simulated(found: Report) -> tuple[str, ...]:
    """Return what is said of the machines that were simulated."""
    from snnq.reporting.machine_tables import notes, verdict

    return (verdict(found.simulation), *notes(found.simulation)) if found.simulation else ()


def _exited(found: Report) -> tuple[str, ...]:
    """Return what is said of dynamic time steps, if they were run."""
    from snnq.reporting.exit_tables import notes

    return notes(found.exits) if found.exits else ()


def _adapted(found: Report) -> tuple[str, ...]:
    """Return what is said of the adapter."""
    from snnq.reporting.adapted import report_notes

    return report_notes(found.adapter) if found.adapter else ()


def _show_tables(found: Report) -> None:
    from snnq.reporting.tables import main_tables

    console.say(found.verdict)
    console.out("")
    show_strip((layer.name, layer.scheme) for layer in found.layers)
    for one in main_tables(found):
        if not one.long:  # the strip stands for the layers
            console.table(one.title, one.columns, one.rows)
    sentences = (found.energy_model, found.event_energy.sentence, found.dynamics, *found.notes, found.search.sentence)
    arrays = (found.arrays.sentence, *found.arrays.notes) if found.arrays else ()
    asked = (*_simulated(found), *arrays, *_exited(found), *_adapted(found))
    for line in (*sentences, found.tested, found.comparison, *asked):
        console.note(line)
    console.note("More tables: --format markdown; unrounded: --format json or csv; pictures: the page.")
