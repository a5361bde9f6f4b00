"""``snnq eval``: accuracy of a float checkpoint or a packed folder."""

from __future__ import annotations

from typing import Annotated

import typer

from snnq.cli.options import Group, Heads, ImageSize, Json, Model, ModelArg, Pooling, Steps


def evaluate(
    path: Annotated[str, typer.Argument(help="A float checkpoint, a built-in one, or a packed folder.")],
    data: Annotated[str | None, typer.Option(help="Data spec; by default what the model names.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    engine: Annotated[str, typer.Option(help="What runs a packed folder: torch or integer.")] = "torch",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 32,
    steps: Steps = None,
    heads: Heads = None,
    image_size: ImageSize = None,
    pooling: Pooling = None,
    model: Model = None,
    model_arg: ModelArg = None,
    group: Group = None,
    json: Json = False,
) -> None:
    """Measure accuracy on a split of the data."""
    from dataclasses import asdict

    from snnq import console
    from snnq.checkpoints.sizes import given_sizes
    from snnq.evaluating import eval as run_eval

    with console.progress_view() as progress:
        found = run_eval(
            path,
            data=data,
            split=split,
            batch_size=batch_size,
            engine=engine,
            progress=progress,
            **given_sizes(
                steps=steps,
                heads=heads,
                image_size=image_size,
                pooling=pooling,
                model=model,
                model_arg=model_arg,
                group=group,
            ),
        )
    if json:
        console.emit_json(asdict(found))
    else:
        kind = f"{found.kind}, {engine}" if found.kind == "packed" else found.kind
        rows = [(kind, found.data, split, found.samples, f"{found.accuracy:.2%}", f"{found.loss:.4f}")]
        console.table("Accuracy", ("model", "data", "split", "samples", "accuracy", "cross-entropy"), rows)
