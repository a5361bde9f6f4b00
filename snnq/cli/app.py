"""The ``snnq`` command line: its sub-commands, in groups."""

from __future__ import annotations

import os
from copy import copy
from typing import Annotated

import typer
from typer.main import get_command_name
from typer.models import CommandInfo, TyperInfo

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


def app_for(arguments: list[str]) -> typer.Typer:
    """Return ``app`` without the options of all commands but the one that the words name.

    Typer makes those of every command anew whenever it starts: a third of the time that ``snnq --help`` takes.
    """
    if "_SNNQ_COMPLETE" in os.environ:  # a shell asks what can be typed
        return app
    word, found = next((one for one in arguments if not one.startswith("-")), None), copy(app)
    found.registered_commands = [one if _word_of(one) == word else _bare(one) for one in app.registered_commands]
    found.registered_groups = [one if one.name == word else _empty(one) for one in app.registered_groups]
    return found


def _word_of(command: CommandInfo) -> str:
    assert command.callback is not None
    return command.name or get_command_name(command.callback.__name__)


def _bare(command: CommandInfo) -> CommandInfo:
    """Return a command that has a name and a help, and takes nothing."""

    def nothing() -> None: ...

    found, nothing.__doc__ = copy(command), command.callback and command.callback.__doc__
    found.name, found.callback = _word_of(command), nothing
    return found


def _empty(group: TyperInfo) -> TyperInfo:
    """Return a group that has a name and a help, and no commands."""
    assert group.typer_instance is not None
    found, found_app = copy(group), copy(group.typer_instance)
    found_app.registered_commands = []
    found.typer_instance = found_app
    return found
