"""``snnq bench``: the project's own speed, as ratios measured in one run on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from snnq.cli.options import Device, Heads, ImageSize, Json, Pooling, Steps

app = typer.Typer(no_args_is_help=True, help="Measure snnq's own speed on this machine, as ratios.")


@app.callback()
def bench() -> None:
    """Measure snnq's own speed on this machine, as ratios."""


@app.command()
def search(
    checkpoint: Annotated[str, typer.Argument(metavar="[CKPT]", help="A float checkpoint, or a built-in one.")] = (
        "digits"
    ),
    batch_size: Annotated[int, typer.Option(min=2, help="Samples a step; small ones time overheads.")] = 64,
    repeats: Annotated[int, typer.Option(min=3, help="Paired repeats.")] = 15,
    device: Device = "auto",
    steps: Steps = None,
    heads: Heads = None,
    image_size: ImageSize = None,
    pooling: Pooling = None,
    json: Json = False,
) -> None:
    """Time a search step against a float training step and against the K-branch form."""
    from snnq import console
    from snnq.bench.search import bench_search
    from snnq.checkpoints.sizes import given_sizes

    with console.progress_view() as progress:
        found = bench_search(
            checkpoint,
            batch_size=batch_size,
            repeats=repeats,
            device=device,
            progress=progress,
            **given_sizes(steps=steps, heads=heads, image_size=image_size, pooling=pooling),
        )
    if json:
        console.emit_json(found)
        return
    times = found["median_ms"]
    console.table("Medians", ("step", "ms"), [(name, f"{value:.1f}") for name, value in times.items()])
    ratios = [(name, f"{found[name]:.2f}") for name in found if name.endswith(("_over_float", "_over_composite"))]
    console.table("Ratios (medians of paired repeats)", ("ratio", "times"), ratios)
    facts = found["machine"]
    console.note(f"{facts['processor']}, {facts['threads']} threads, torch {facts['torch']}")
