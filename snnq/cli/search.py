"""``snnq search``: find a number format for every layer."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnq.cli.building import typed
from snnq.cli.showing import show_strip
from snnq.commands.compressing import search as run_search

if TYPE_CHECKING:
    from snnq.plan import Plan


def _shown(plan: Plan, json: bool, words: dict[str, Any]) -> None:
    from snnq import console
    from snnq.models.registry import architecture
    from snnq.searching.run import better_plan

    out: Path = words["out"]
    if words["known"] and not words["force"]:
        console.note(f"{out} is already the result of this very search; nothing was done.")
    _show(plan, json)
    console.note(f"Packed, it will run {architecture(plan.model.architecture).wiring(plan.model.config).where}.")
    own = f" --model {shlex.quote(words['model'])}" if words["model"] else ""
    best = better_plan(plan, out)
    if best != out:
        console.note(f"Wrote the {best.suffixes[-2].lstrip('.')} plan, which wins, to {best}.")
    console.next_step(f"snnq finalize --plan {shlex.quote(str(best))}{own}")


def _show(plan: Plan, json: bool) -> None:
    from snnq import console
    from snnq.plan import views
    from snnq.plan.verdict import verdict

    if json:
        console.emit_json(plan.to_dict())
        return
    show_strip(plan.schemes().items())
    console.table("The plan", *views.layer_table(plan))
    console.table("Totals", *views.total_table(plan))
    console.table(views.baseline_title(plan), *views.baseline_table(plan))
    if said := verdict(plan):
        console.say(said)


search = typed(run_search, _shown)
