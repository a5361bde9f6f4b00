"""``snnq verify``: does a packed folder hold what its plan says?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from snnq.cli.options import Json


def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A packed folder.")] = Path("packed"),
    json: Json = False,
) -> None:
    """Check a packed folder: bits on disk are the plan's, every code decodes, hashes match."""
    from snnq import console
    from snnq.packed import verification

    found = verification.verify(folder)
    if json:
        console.emit_json(found.to_dict())
    else:
        console.table("Layers", verification.LAYER_COLUMNS, found.layer_rows())
        console.table("model.safetensors", verification.SIZE_COLUMNS, found.sizes.rows())
    console.note(f"{folder} holds what its plan says: {len(found.layers)} layers, every code and hash is right.")
    console.next_step("snnq report" if str(folder) == "packed" else f"snnq report {shlex.quote(str(folder))}")
