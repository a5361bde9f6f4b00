"""``snnq inspect``: what a float checkpoint is."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnq.cli.building import typed
from snnq.cli.showing import Format, FormatOption, Page, show_document
from snnq.commands.looking import inspect as run_inspect
from snnq.commands.words import SIZES

if TYPE_CHECKING:
    from snnq.checkpoints.inspecting import Inspection


def _run(format: Format, cost_table: str | None, out: Any, **words: Any) -> Inspection:
    return run_inspect(**words)


def _shown(found: Inspection, json: bool, words: dict[str, Any]) -> None:
    from snnq import console
    from snnq.checkpoints.sizes import given_sizes, typed_again
    from snnq.cost.table import read_table
    from snnq.reporting.inspected import inspection_document

    table = words["cost_table"]
    shown = inspection_document(found, read_table(table) if table else None)
    show_document(shown, Format.json if json else words["format"], words["out"])
    data = "" if found.checkpoint.data else " --data SPEC"
    given = typed_again(given_sizes(**{name: words[name] for name in SIZES}))
    again = "".join(f" {shlex.quote(word)}" for word in given)
    console.next_step(f"snnq search {shlex.quote(words['checkpoint'])}{data}{again}")


inspect = typed(
    run_inspect,
    _shown,
    run=_run,
    more={
        "format": (FormatOption, Format.table),
        "cost_table": (Annotated[str | None, typer.Option(help="Cost table: a name or a path.")], None),
        "out": (Page, None),
    },
)
