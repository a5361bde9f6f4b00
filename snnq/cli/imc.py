"""``snnq imc``: a model on analog arrays."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.building import GroupedCommand, typed
from snnq.cli.showing import FormatOption, OutputFormat, Page, show_document
from snnq.commands import imc as commands
from snnq.commands.words import Words

if TYPE_CHECKING:
    from snnq.assessing.imc import ImcMap, ImcReport
    from snnq.assessing.imc_records import ImcEval

app = typer.Typer(
    no_args_is_help=True, help="A model on analog arrays: how it lies there, what it costs and does there."
)

_Toml = Annotated[bool, typer.Option("--toml", help="Print the target's file, to edit and pass by its path.")]
_MORE = {"toml": (_Toml, False), "format": (FormatOption, OutputFormat.table), "out": (Page, None)}


def _map(format: OutputFormat, toml: bool, out: Path | None, **words: object) -> ImcMap | str:
    return _file(words) if toml else commands.imc_map(**words)


def _report(format: OutputFormat, toml: bool, out: Path | None, **words: object) -> ImcReport | str:
    return _file(words) if toml else commands.imc_report(**words)


def _file(words: Words) -> str:
    from snnq.base.files import read_text
    from snnq.hardware.crossbars.target import read_target, target_file

    read_target(words["target"])
    return read_text(target_file(words["target"])).rstrip("\n")


def _show(found: ImcMap | ImcReport | str, json: bool, words: Words) -> None:
    from snnq.reporting.array_tables import array_document

    if isinstance(found, str):
        console.document(found)
        return
    show_document(array_document(found), OutputFormat.json if json else words["format"], words["out"])
    other = "map" if hasattr(found, "over_steps") else "report"
    console.next_step(f"snnq imc {other} {shlex.quote(found.path)} --target {shlex.quote(str(words['target']))}")


def _show_eval(found: ImcEval, json: bool, words: Words) -> None:
    from snnq.reporting.array_noise import noise_document

    show_document(noise_document(found), OutputFormat.json if json else OutputFormat.table)
    if found.simulated:
        console.note(f"The data ({found.data}) are events simulated from images, not recordings.")
    if words["out"] is not None:
        console.note(f"Wrote {words['out']}.")
    console.next_step(f"snnq imc report {shlex.quote(found.folder)} --target {shlex.quote(str(words['target']))}")


app.command("map", cls=GroupedCommand)(typed(commands.imc_map, _show, run=_map, more=_MORE))
app.command("report", cls=GroupedCommand)(typed(commands.imc_report, _show, run=_report, more=_MORE))
app.command("eval", cls=GroupedCommand)(typed(commands.imc_eval, _show_eval))
