"""``snnq verify``: does a packed folder hold what its plan says?"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from snnq.cli.options import Json, Model


def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A packed folder.")] = Path("packed"),
    run: Annotated[bool, typer.Option("--run/--files-only", help="Run a batch through both engines, too.")] = True,
    model: Model = None,
    json: Json = False,
) -> None:
    """Check a packed folder: bits on disk are the plan's, every code decodes, hashes match, both engines agree."""
    from snnq import console
    from snnq.assessing.verify import verify as verify_folder
    from snnq.packed import verification
    from snnq.packed.sizes import bits_words
    from snnq.packed.source import SENTENCES

    verified = verify_folder(folder, run=run)
    found = verified.files
    if json:
        console.emit_json(verified.to_dict())
    else:
        console.table("Layers", verification.LAYER_COLUMNS, found.layer_rows())
        console.table("model.safetensors", verification.SIZE_COLUMNS, found.sizes.rows())
    console.note(f"{folder} holds what its plan says: {len(found.layers)} layers, every code and hash is right.")
    console.note(bits_words(found.avg_bits, found.file_avg_bits))
    if found.unprotected:
        console.note(f"This folder was made by an early version: no hash protects {', '.join(found.unprotected)}.")
    console.note(SENTENCES[found.source])
    if verified.reason:
        console.note(f"{verified.reason[0].upper()}{verified.reason[1:]}.")
    if verified.engines:
        engines = verified.engines
        console.note(
            f"torch and the integer engine agree on every spike of {engines.samples} random samples of "
            f"{engines.steps} time steps: {engines.neurons} layers of neurons, {engines.spikes:,} spikes."
        )
    console.next_step("snnq report" if str(folder) == "packed" else f"snnq report {shlex.quote(str(folder))}")
