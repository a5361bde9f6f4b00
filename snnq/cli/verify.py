"""``snnq verify``: does a packed folder hold what its plan says?"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from snnq.cli.building import typed
from snnq.commands.looking import verify as run_verify

if TYPE_CHECKING:
    from snnq.assessing.verify import Verified


def _shown(verified: Verified, json: bool, words: dict[str, Any]) -> None:
    from snnq import console
    from snnq.packed import verification
    from snnq.packed.sizes import bits_words
    from snnq.packed.source import SENTENCES

    found, folder = verified.files, str(words["folder"])
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
    console.next_step("snnq report" if folder == "packed" else f"snnq report {shlex.quote(folder)}")


verify = typed(run_verify, _shown)
