"""``snnq search``: find a number format for every layer."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnq.cli.options import Data, Device, Devices, Force, Json, Nodes, Precision, Run, Strategy, Threads, takes_sizes
from snnq.cli.showing import show_strip

if TYPE_CHECKING:
    from snnq.plan import Plan


@takes_sizes
def search(
    checkpoint: Annotated[str, typer.Argument(metavar="[CKPT]", help="A float checkpoint, or a built-in one.")] = (
        "digits"
    ),
    data: Data = None,
    method: Annotated[
        str, typer.Option(help="differentiable, paper (its plain form) or sensitivity (no training).")
    ] = ("differentiable"),
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Limits: avg-bits=2.2, storage=6.6%, storage-kib=40, energy=10%, …; replaces the trade-off."),
    ] = None,
    trade_off: Annotated[
        list[str] | None,
        typer.Option(help="λ: how much energy weighs against accuracy (default 0.5), or PATTERN=λ for some layers."),
    ] = None,
    space: Annotated[
        list[str] | None, typer.Option(help="Candidate schemes, separated by commas, or PATTERN=schemes.")
    ] = None,
    lock: Annotated[list[str] | None, typer.Option(help="PATTERN=SCHEME, such as head=uniform-4.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Patterns of layers that stay in float32.")] = None,
    tie: Annotated[list[str] | None, typer.Option(help="Layers that take one scheme, such as q,k,v.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    reconstruct: Annotated[
        int | None,
        typer.Option(
            help="With --method sensitivity: passes that fit a layer's levels to its outputs before it is scored."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same plan.")] = 0,
    cost_table: Annotated[str, typer.Option(help="Cost table: a name or a path.")] = "horowitz-45nm",
    out: Annotated[Path, typer.Option(help="Where to write the plan.")] = Path("plan.json"),
    run: Run = None,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    strategy: Strategy = "auto",
    precision: Precision = "32-true",
    threads: Threads = None,
    json: Json = False,
    force: Force = False,
    **given: Any,
) -> None:
    """Search a number format for every layer of a float checkpoint; write plan.json.

    Without an argument it searches the built-in digits checkpoint on the built-in digits data.
    """
    from snnq import console
    from snnq.models.registry import architecture
    from snnq.searching.run import search as run_search
    from snnq.searching.settings import parse_settings
    from snnq.training.devices import Compute

    settings = parse_settings(
        budget=budget or (),
        trade_off=trade_off or (),
        space=space or (),
        lock=lock or (),
        exclude=exclude or (),
        tie=tie or (),
        method=method,
        epochs=epochs,
        batch_size=batch_size,
        reconstruct=reconstruct,
        seed=seed,
    )
    known = out.exists()
    with console.progress_view() as progress:
        plan = run_search(
            checkpoint,
            data=data,
            out=out,
            settings=settings,
            cost_table=cost_table,
            run=run,
            compute=Compute(device, devices, nodes, strategy, precision, threads),
            force=force,
            progress=progress,
            **given,
        )
    if known and not force:
        console.note(f"{out} is already the result of this very search; nothing was done.")
    _show(plan, json)
    console.note(f"Packed, it will run {architecture(plan.model.architecture).wiring(plan.model.config).where}.")
    own = f" --model {shlex.quote(given['model'])}" if "model" in given else ""
    best = _best(plan, out)
    console.next_step(f"snnq finalize --plan {shlex.quote(str(best))}{own}")


def _best(plan: Plan, out: Path) -> Path:
    """Return the plan to go on with: the search's own, or the simple one that wins, which lies beside it."""
    from snnq import console
    from snnq.plan.verdict import winner
    from snnq.searching.run import winner_path

    won = winner(plan)
    beside = winner_path(out, won.scheme) if won else out
    if not won or not beside.exists():
        return out
    console.note(f"Wrote the {won.scheme} plan, which wins, to {beside}.")
    return beside


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
