"""``snnq export``: a packed folder in another format."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from snnq.cli.options import Force, Json, Model
from snnq.exporting.targets import TARGETS

_TARGETS = "; ".join(f"{name} ({target.what})" for name, target in TARGETS.items())


def export(
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help=_TARGETS + ".")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A packed folder.")] = Path("packed"),
    out: Annotated[Path | None, typer.Option(help="The new file or folder; beside FOLDER by default.")] = None,
    model: Model = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Export a packed folder to another format.

    The folder is verified first; what is written is read back by the format's own library before it is kept.
    """
    from snnq import console
    from snnq.exporting.records import LAYER_COLUMNS
    from snnq.exporting.run import export as run_export

    found = run_export(folder, to, out, force)
    if json:
        console.emit_json(found.to_dict())
    else:
        console.table(found.out, LAYER_COLUMNS, found.layer_rows())
    for line in found.notes:
        console.note(line)
    for line in found.unsaid:
        console.note(f"Not in it: {line}")
    console.note(f"Exported: {found.out} ({sum(found.files.values()):,} bytes)")
    console.next_step(f"snnq report {shlex.quote(str(folder))}")
