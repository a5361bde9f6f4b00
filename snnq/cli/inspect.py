"""``snnq inspect``: what a float checkpoint is."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

from snnq.cli.options import Json, takes_sizes
from snnq.cli.showing import Format, FormatOption, Page, show_document


@takes_sizes
def inspect(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A float checkpoint, or 'digits'.")],
    json: Json = False,
    format: FormatOption = Format.table,
    cost_table: Annotated[str | None, typer.Option(help="Cost table: a name or a path.")] = None,
    out: Page = None,
    **given: Any,
) -> None:
    """Recognise a checkpoint's architecture and upstream layout; show where its bits and picojoules are.

    Nothing is trained; it takes seconds.
    """
    from snnq import console
    from snnq.checkpoints import inspecting
    from snnq.checkpoints.sizes import typed_again
    from snnq.cost.table import read_table
    from snnq.reporting.inspected import inspection_document

    found = inspecting.inspect(checkpoint, **given)
    shown = inspection_document(found, read_table(cost_table) if cost_table else None)
    show_document(shown, Format.json if json else format, out)
    data = "" if found.checkpoint.data else " --data SPEC"
    words = "".join(f" {shlex.quote(word)}" for word in typed_again(given))
    console.next_step(f"snnq search {shlex.quote(checkpoint)}{data}{words}")
