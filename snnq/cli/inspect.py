"""``snnq inspect``: what a float checkpoint is."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from snnq.cli.options import Group, Heads, ImageSize, Json, Model, ModelArg, Pooling, Steps
from snnq.cli.showing import Format, FormatOption, Page, show_document


def inspect(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A float checkpoint, or 'digits'.")],
    steps: Steps = None,
    heads: Heads = None,
    image_size: ImageSize = None,
    pooling: Pooling = None,
    model: Model = None,
    model_arg: ModelArg = None,
    group: Group = None,
    json: Json = False,
    format: FormatOption = Format.table,
    cost_table: Annotated[str | None, typer.Option(help="Cost table: a name or a path.")] = None,
    out: Page = None,
) -> None:
    """Recognise a checkpoint's architecture and upstream layout; show where its bits and picojoules are.

    Nothing is trained; it takes seconds.
    """
    from snnq import console
    from snnq.checkpoints import inspecting
    from snnq.checkpoints.sizes import given_sizes
    from snnq.cost.table import read_table
    from snnq.reporting.inspected import inspection_document

    given = given_sizes(
        steps=steps, heads=heads, image_size=image_size, pooling=pooling, model=model, model_arg=model_arg, group=group
    )
    found = inspecting.inspect(checkpoint, **given)
    shown = inspection_document(found, read_table(cost_table) if cost_table else None)
    show_document(shown, Format.json if json else format, out)
    asked = [("--steps", steps), ("--heads", heads), ("--image-size", image_size), ("--pooling", pooling)]
    asked += [("--model", model), *(("--model-arg", one) for one in model_arg or ())]
    asked += [("--group", one) for one in group or ()]
    options = [f" {name} {shlex.quote(str(value))}" for name, value in asked if value is not None]
    data = "" if found.checkpoint.data else " --data SPEC"
    console.next_step(f"snnq search {shlex.quote(checkpoint)}{data}{''.join(options)}")
