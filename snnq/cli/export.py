"""``snnq export``: a packed folder in another format."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from snnq.cli.building import typed
from snnq.commands.looking import export as run_export

if TYPE_CHECKING:
    from snnq.exporting.targets import Exported


def _shown(found: Exported, json: bool, words: dict[str, Any]) -> None:
    from snnq import console
    from snnq.exporting.targets import LAYER_COLUMNS

    if json:
        console.emit_json(found.to_dict())
    else:
        console.table(found.out, LAYER_COLUMNS, found.layer_rows())
    for line in found.notes:
        console.note(line)
    for line in found.unsaid:
        console.note(f"Not in it: {line}")
    console.note(f"Exported: {found.out} ({sum(found.files.values()):,} bytes)")
    console.next_step(f"snnq report {shlex.quote(str(words['folder']))}")


export = typed(run_export, _shown)
