"""What a packed folder takes on a simulated machine: accel."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.building import typed
from snnq.cli.showing import FormatOption, OutputFormat, Page, show_document
from snnq.commands.simulating import accel as run_accel
from snnq.commands.words import Words

if TYPE_CHECKING:
    from snnq.hardware.records import Accelerated


def _run(format: OutputFormat, toml: bool, out: Path | None, **words: object) -> Accelerated | str:
    if not toml:
        return run_accel(**words)
    from snnq.assessing.accel import read_machines
    from snnq.base.files import read_text
    from snnq.hardware.machine import machine_file

    return "\n".join(read_text(machine_file(name)).rstrip("\n") for name in read_machines(str(words["target"])))


def _show(found: Accelerated | str, json: bool, words: Words) -> None:
    from snnq.reporting.accelerated import accel_document

    if isinstance(found, str):
        console.document(found)
        return
    show_document(accel_document(found), OutputFormat.json if json else words["format"], words["out"])
    if found.left_out is not None:
        console.note(f"Network for Prosperity: {words['prosperity']}.json and .pkl")
    for name in found.left_out or ():
        console.note(f"Not in it: {name}, because there a convolution is square, in one group and without dilation")
    if found.simulated:
        console.note(f"The data ({found.data}) are events simulated from images, not recordings.")
    console.next_step(f"snnq report {shlex.quote(found.folder)} --accel {shlex.quote(words['target'])}")


accel = typed(
    run_accel,
    _show,
    run=_run,
    more={
        "toml": (
            Annotated[bool, typer.Option("--toml", help="Print the machine's file, to edit and pass by its path.")],
            False,
        ),
        "format": (FormatOption, OutputFormat.table),
        "out": (Page, None),
    },
)
