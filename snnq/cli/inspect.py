"""``snnq inspect``: what a float checkpoint is."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from snnq.cli.options import Group, Heads, ImageSize, Json, Model, ModelArg, Pooling, Steps


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
) -> None:
    """Recognise a checkpoint's architecture and upstream layout; show its layers. Nothing is trained."""
    from snnq import console
    from snnq.checkpoints import inspecting
    from snnq.checkpoints.sizes import given_sizes

    given = given_sizes(
        steps=steps, heads=heads, image_size=image_size, pooling=pooling, model=model, model_arg=model_arg, group=group
    )
    found = inspecting.inspect(checkpoint, **given)
    if json:
        console.emit_json(found.to_dict())
    else:
        console.table("Checkpoint", inspecting.FACT_COLUMNS, found.fact_rows())
        console.table("Layers", inspecting.LAYER_COLUMNS, found.layer_rows())
        console.table("Groups", inspecting.TOTAL_COLUMNS, found.total_rows())
    asked = [("--steps", steps), ("--heads", heads), ("--image-size", image_size), ("--pooling", pooling)]
    asked += [("--model", model), *(("--model-arg", one) for one in model_arg or ())]
    asked += [("--group", one) for one in group or ()]
    options = [f" {name} {shlex.quote(str(value))}" for name, value in asked if value is not None]
    data = "" if found.checkpoint.data else " --data SPEC"
    console.next_step(f"snnq search {shlex.quote(checkpoint)}{data}{''.join(options)}")
