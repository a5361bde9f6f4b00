"""``snnq adapt``: learn other classes beside a packed folder, evaluate what was learned, list it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

from snnq import console
from snnq.cli.building import GroupedCommand, typed
from snnq.commands import adapting as commands
from snnq.commands.words import Words

if TYPE_CHECKING:
    from snnq.adapting.evaluating import AdaptEvaluation
    from snnq.adapting.listing import Listing
    from snnq.adapting.run import Fitted

app = typer.Typer(no_args_is_help=True, help="Let a packed folder learn other classes: a side file, codes stay frozen.")


def _show_fitted(found: Fitted, json: bool, words: Words) -> None:
    from snnq.reporting.adapted import fitted_notes, fitted_tables

    if words["known"] and not words["force"]:
        console.note(f"{words['out']} is already the result of this very run; nothing was done.")
    if json:
        console.emit_json(found.to_dict())
    else:
        for one in fitted_tables(found.facts, found.macs):
            console.table(one.title, one.columns, one.rows)
    for line in fitted_notes(found.facts, found.adapter_bytes, found.model_bytes):
        console.note(line)
    console.note(f"Wrote {found.out}.")
    folder, out = shlex.quote(str(words["folder"])), shlex.quote(found.out)
    console.next_step(f"snnq eval {folder} --adapter {out}")


def _show_evaluation(found: AdaptEvaluation, json: bool, words: Words) -> None:
    from snnq.reporting.adapted import evaluation_notes, evaluation_tables

    if json:
        console.emit_json(found.to_dict())
    else:
        for one in evaluation_tables(found.adapters, found.summary):
            console.table(one.title, one.columns, one.rows)
    for line in evaluation_notes(found.adapters):
        console.note(line)
    first = shlex.quote(found.adapters[0].path)
    console.next_step(f"snnq verify {shlex.quote(found.folder)} --adapter {first}")


def _show_listing(found: Listing, json: bool, words: Words) -> None:
    from snnq.adapting.listing import COLUMNS

    if json:
        console.emit_json(found.to_dict())
    elif found.adapters:
        console.table("Adapters", COLUMNS, found.rows())
    if not found.adapters:
        console.note(f"No adapter lies in {words['place']}.")
        console.next_step("snnq adapt fit")


app.command("fit", cls=GroupedCommand)(typed(commands.adapt_fit, _show_fitted))
app.command("eval", cls=GroupedCommand)(typed(commands.adapt_eval, _show_evaluation))
app.command("list", cls=GroupedCommand)(typed(commands.adapt_list, _show_listing))
