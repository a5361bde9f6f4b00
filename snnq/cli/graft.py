"""``snnq graft``: another attention on a float checkpoint's weights."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from snnq.cli.building import typed
from snnq.commands.looking import graft as run_graft

if TYPE_CHECKING:
    from snnq.checkpoints.grafting import Grafted


def _shown(found: Grafted, json: bool, words: dict[str, Any]) -> None:
    from snnq import console

    if json:
        console.emit_json(asdict(found))
    else:
        rows = [(found.architecture, found.chunk, f"{found.attention_scale:g}", found.out)]
        console.table("Grafted", ("architecture", "chunk", "scale c", "checkpoint"), rows)
    console.next_step(f"snnq search {shlex.quote(str(words['out']))} --data SPEC")


graft = typed(run_graft, _shown)
