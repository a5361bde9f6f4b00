"""The ``snnq`` command line: its sub-commands, in groups."""

from __future__ import annotations

from typing import Annotated

import typer

from snnq import console
from snnq.base.version import __version__
from snnq.cli import adapting, bench, cost, data, imc, plan, reusing
from snnq.cli.building import GroupedCommand
from snnq.cli.calibrating import calibrate
from snnq.cli.compressing import compress, demo, finalize, ptq, search
from snnq.cli.editing import decompose, graft, quantise_activations
from snnq.cli.looking import doctor, evaluate, export, inspect, verify
from snnq.cli.pruning import mask_silent, profile, prune
from snnq.cli.report import report
from snnq.cli.simulating import accel

app = typer.Typer(
    name="snnq",
    help="Compress pretrained spiking transformers: a number format of its own for every layer.\n\n"
    "Start with: snnq search, then snnq finalize --plan plan.json, then snnq report.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        console.out(f"snnq {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Take the options that come before a command."""


for _command in (
    *(compress, inspect, graft, decompose, prune, calibrate, search, finalize, ptq),
    *(report, verify, profile, accel, export, demo, doctor),
):
    app.command(cls=GroupedCommand)(_command)
app.command("quantise-activations", cls=GroupedCommand)(quantise_activations)
app.command("mask-silent", cls=GroupedCommand)(mask_silent)
app.command("eval", cls=GroupedCommand)(evaluate)
for _name, _group in (
    ("adapt", adapting.app),
    ("plan", plan.app),
    ("data", data.app),
    ("cost", cost.app),
    ("imc", imc.app),
    ("reuse", reusing.app),
    ("bench", bench.app),
):
    app.add_typer(_group, name=_name)
