"""The commands that make something of a checkpoint: search, finalize, ptq, and compress, which is all at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.settings import BLOCKWISE, FinalizeWords, PtqWords, SearchWords, given, of_run
from snnq.commands.words import (
    Checkpoint,
    CostTable,
    Data,
    Force,
    Machines,
    Measure,
    ModelSizes,
    OneDevice,
    OwnModel,
    Run,
    StorageWord,
    Typed,
    Weights,
    Words,
    register,
)

if TYPE_CHECKING:
    from snnq.packing.finish import Finalized
    from snnq.plan import Plan

_TABLE = "horowitz-45nm"
_PlanFile = Annotated[str | Path, typer.Argument(metavar="[PLAN]", help="The plan."), Typed(Path)]
_PlansCheckpoint = Annotated[
    str | Path | None,
    typer.Argument(metavar="[CKPT]", help="Float checkpoint; by default the plan's, or 'digits'."),
    Typed(str | None),
]
_Start = Annotated[
    Path | None, typer.Option(help="Begin with the codes of this packed folder, such as snnq ptq makes.")
]
_PtqMethod = Annotated[
    str,
    typer.Option(help="rtn, clip, awq (grids), quantease (by layer), adaround, tesseraq (by block), kept (as it is)."),
]
_Packed = Annotated[Path, typer.Option(help="Packed folder to write.")]


@command
def search(
    checkpoint: Checkpoint = "digits",
    *,
    data: Data = None,
    asked: SearchWords,
    cost_table: CostTable = _TABLE,
    out: Annotated[Path, typer.Option(help="Where to write the plan.")] = Path("plan.json"),
    run: Run = None,
    compute: Machines,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Plan":
    """Search a number format for every layer of a float checkpoint; write plan.json.

    Without an argument it searches the built-in digits checkpoint on the built-in digits data.
    """
    from snnq.searching.run import search as run_search

    unless = ("trade_off",) if asked.budget else ()
    same = {"data": data, "out": out, "run": run, "force": force, "progress": progress}
    common = of_run(asked.settings(), words, compute, unless, **same)
    return run_search(checkpoint, cost_table=cost_table, **common, **sizes.given())


@command
def finalize(
    plan: _PlanFile = Path("plan.json"),
    *,
    checkpoint: Annotated[str | None, typer.Option(help="Float checkpoint, if the plan names none.")] = None,
    data: Data = None,
    weights: Weights = None,
    model: OwnModel = None,
    start: _Start = None,
    asked: FinalizeWords,
    storage: StorageWord = "coded",
    measure: Measure = 64,
    out: _Packed = Path("packed"),
    run: Run = None,
    compute: Machines,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Finalized":
    """Finetune with the plan fixed, then write and verify a packed folder.

    A plan for a model of your own is taken only with the --model it names.
    """
    from snnq.finalizing.run import finalize as run_finalize

    register(model)
    common = of_run(asked.settings(), words, compute, data=data, out=out, run=run, force=force, progress=progress)
    return run_finalize(
        plan, checkpoint=checkpoint, weights=weights, start=start, storage=storage, measure=measure, **common
    )


@command
def ptq(
    checkpoint: _PlansCheckpoint = None,
    *,
    plan: Annotated[Path | None, typer.Option(help="A plan; or give --scheme.")] = None,
    scheme: Annotated[str | None, typer.Option(help="One scheme for every layer, such as uniform-2.")] = None,
    method: _PtqMethod = "quantease",
    data: Data = None,
    asked: PtqWords,
    storage: StorageWord = "coded",
    cost_table: Annotated[str, typer.Option(help="Cost table of a --scheme's plan: a name or a path.")] = _TABLE,
    measure: Measure = 64,
    out: _Packed = Path("packed"),
    run: Run = None,
    compute: OneDevice,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
    words: Words,
) -> "Finalized":
    """Quantise a float checkpoint from a few hundred unlabelled samples; write and verify a packed folder."""
    from snnq.reconstructing.run import ptq as run_ptq

    settings = asked.settings(method)
    unless = () if settings.reconstructs else BLOCKWISE
    same = {"data": data, "out": out, "run": run, "force": force, "progress": progress, "measure": measure}
    with _steps_of_the_model():
        common = of_run(settings, words, compute, unless, plan=plan, scheme=scheme, storage=storage, **same)
        return run_ptq(checkpoint, cost_table=cost_table, **common, **sizes.given())


@contextmanager
def _steps_of_the_model() -> Iterator[None]:
    """Say of a checkpoint's wrong ``--steps`` that an optimizer's are called otherwise."""
    from snnq.base.errors import CheckpointError

    try:
        yield
    except CheckpointError as problem:
        if "--steps " not in problem.message:
            raise
        hint = "--steps are the model's time steps; an optimizer's steps in a round are --steps-per-round"
        raise CheckpointError(problem.message, hint) from None


@command
def compress(
    checkpoint: Checkpoint = "digits",
    *,
    bits: Annotated[float, typer.Option(help="At most so many bits a weight, on average.")] = 2.2,
    data: Data = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split, of each of both steps.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same packed bytes.")] = 0,
    out: Annotated[Path, typer.Option(help="Packed folder to write; the plan lies beside it.")] = Path("packed"),
    compute: Machines,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
) -> "Finalized":
    """Compress a float checkpoint: search a plan of so many bits a weight, finetune under it, pack and verify.

    It is snnq search and snnq finalize in one; a simple plan that wins the search is the one that is packed.
    """
    from snnq.finalizing.run import finalize as run_finalize
    from snnq.finalizing.settings import FinalizeSettings
    from snnq.searching.run import better_plan
    from snnq.searching.run import search as run_search
    from snnq.searching.settings import parse_settings
    from snnq.training.run_folder import beside

    place = beside(Path(out), "plan.json")
    searching = parse_settings(budget=(f"avg-bits={bits!r}",), epochs=epochs, seed=seed)
    common = {"data": data, "compute": compute.compute(), "force": force, "progress": progress}
    plan = run_search(checkpoint, out=place, settings=searching, **common, **sizes.given())
    finetuning = FinalizeSettings(seed=seed, **given({"epochs": epochs}))
    return run_finalize(better_plan(plan, place), out=out, settings=finetuning, **common)
