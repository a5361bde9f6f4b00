"""``snnq reuse``: attention that reuses the attention before it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

from snnq import console
from snnq.cli.building import GroupedCommand, typed
from snnq.cli.pruning import show_accuracies
from snnq.commands import reusing as commands
from snnq.commands.words import Words
from snnq.reusing.tables import candidate_table, factors, sweep_table, written_table

if TYPE_CHECKING:
    from snnq.reusing.records import ReusePlan
    from snnq.reusing.run import Reused

app = typer.Typer(
    no_args_is_help=True, help="Attention that reuses the spikes of the attention before it, planned for a delay."
)


def _show_plan(found: ReusePlan, json: bool, words: Words) -> None:
    checkpoint = shlex.quote(found.checkpoint)
    if json:
        console.emit_json(found.to_dict())
    else:
        for title, columns, rows in (sweep_table(found), candidate_table(found), written_table(found)):
            if rows:
                console.table(title, columns, rows)
    console.note(f"{found.reusing} of {len(found.attentions)} blocks reuse.")
    if found.target.kind != "arrays":
        console.note("Estimated on the model before it is trained: training changes which neurons fire.")
    if len(found.candidates) == 1:
        console.note("There is one pattern alone: nothing is left to choose.")
    console.note(f"Wrote {words['out']}.")
    if found.candidates:
        console.next_step(f"snnq reuse train {checkpoint} --plan {shlex.quote(str(words['out']))}")


def _show_trained(found: Reused, json: bool, words: Words) -> None:
    if words["known"] and not words["force"]:
        console.note(f"{words['out']} is already the result of this very run; nothing was done.")
    if json:
        console.emit_json(found.to_dict())
    else:
        rows = [
            (one.pattern, f"{one.validation:.2%}", f"{one.validation_loss:.4f}", str(one.best_epoch))
            for one in found.tried
        ]
        if rows:
            console.table("Patterns, each trained on a share of the data", ("pattern", "val.", "loss", "epoch"), rows)
        show_accuracies(found.before, found.after)
    console.note(f"{found.pattern}: {len(found.attentions)} attentions reuse. {factors(found.costs, found.whole)}")
    console.note(f"Wrote {found.out}.")
    console.next_step(f"snnq search {shlex.quote(found.out)}")


app.command("plan", cls=GroupedCommand)(typed(commands.reuse_plan, _show_plan))
app.command("train", cls=GroupedCommand)(typed(commands.reuse_train, _show_trained))
