"""``snnq graft``: another attention on a float checkpoint's weights."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from snnq.cli.options import Force, Json, takes_sizes


@partial(takes_sizes, models=False)
def graft(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A float Spikformer or SDT checkpoint.")],
    chunk: Annotated[int, typer.Option(min=1, help="Consecutive time steps that attention mixes at once.")],
    out: Annotated[Path, typer.Option(help="The new checkpoint.")],
    attention: Annotated[str, typer.Option(help="statten: chunked spatial-temporal attention.")] = "statten",
    scale: Annotated[float | None, typer.Option(help="c of Q (KᵀV · c); a power of two by default.")] = None,
    force: Force = False,
    json: Json = False,
    **given: Any,
) -> None:
    """Put another attention on the same weights; finetune it shortly afterwards."""
    from snnq import console
    from snnq.checkpoints.grafting import graft as run_graft

    found = run_graft(
        checkpoint,
        attention=attention,
        chunk=chunk,
        scale=scale,
        out=out,
        force=force,
        **given,
    )
    if json:
        console.emit_json(asdict(found))
    else:
        rows = [(found.architecture, found.chunk, f"{found.attention_scale:g}", found.out)]
        console.table("Grafted", ("architecture", "chunk", "scale c", "checkpoint"), rows)
    console.next_step(f"snnq search {shlex.quote(str(out))} --data SPEC")
