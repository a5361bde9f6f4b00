"""The commands that make something of a checkpoint: search, finalize, ptq, and compress, which is all at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command, one_list, plain, texts
from snnq.commands.words import (
    Budget,
    Checkpoint,
    CostTable,
    Data,
    Exclude,
    FileBudget,
    Force,
    Lock,
    Measure,
    OwnModel,
    Run,
    Space,
    Tie,
    TradeOff,
    Typed,
    Weights,
)

if TYPE_CHECKING:
    from snnq.packing.finish import Finalized
    from snnq.plan import Plan
    from snnq.training.devices import Compute

_TABLE = "horowitz-45nm"


@command
def search(
    checkpoint: Checkpoint = "digits",
    *,
    data: Data = None,
    method: Annotated[
        str, typer.Option(help="differentiable, paper (its plain form) or sensitivity (no training).")
    ] = "differentiable",
    budget: Budget = None,
    trade_off: TradeOff = None,
    space: Space = None,
    lock: Lock = None,
    exclude: Exclude = None,
    tie: Tie = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    reconstruct: Annotated[
        int | None,
        typer.Option(
            help="With --method sensitivity: passes that fit a layer's levels to its outputs before it is scored."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same plan.")] = 0,
    cost_table: CostTable = _TABLE,
    out: Annotated[Path, typer.Option(help="Where to write the plan.")] = Path("plan.json"),
    run: Run = None,
    compute: "Compute",
    sizes: dict[str, Any],
    force: Force = False,
    progress: Progress = shown,
    words: dict[str, Any],
) -> "Plan":
    """Search a number format for every layer of a float checkpoint; write plan.json.

    Without an argument it searches the built-in digits checkpoint on the built-in digits data.
    """
    from snnq.searching.run import search as run_search
    from snnq.searching.settings import parse_settings

    settings = parse_settings(
        budget=texts(budget, dashes=True),
        trade_off=texts(trade_off),
        space=one_list(space),
        lock=texts(lock),
        exclude=texts(exclude),
        tie=texts(tie),
        method=method,
        epochs=epochs,
        batch_size=batch_size,
        reconstruct=reconstruct,
        seed=seed,
    )
    return run_search(
        checkpoint,
        data=data,
        out=out,
        settings=settings,
        cost_table=cost_table,
        run=run,
        compute=compute,
        force=force,
        progress=progress,
        words=_resolved(words, settings, unless=("trade_off",) if budget else ()),
        **sizes,
    )


@command
def finalize(
    plan: Annotated[str | Path, typer.Argument(metavar="[PLAN]", help="The plan."), Typed(Path)] = Path("plan.json"),
    *,
    checkpoint: Annotated[str | None, typer.Option(help="Float checkpoint, if the plan names none.")] = None,
    data: Data = None,
    weights: Weights = None,
    model: OwnModel = None,
    start: Annotated[
        Path | None, typer.Option(help="Begin with the codes of this packed folder, such as snnq ptq makes.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step, in all processes together.")] = None,
    distillation: Annotated[
        float | None, typer.Option(help="Weight of the float teacher in the loss, 0 (off) to 1.")
    ] = None,
    augment: Annotated[
        str,
        typer.Option(help="Changes to the training frames, such as flip,snn-wide,mixup:alpha=0.5; none by default."),
    ] = "",
    rate: Annotated[
        float | None, typer.Option(help="Price of a coded bit a weight in the loss, such as 0.2; or give --budget.")
    ] = None,
    budget: FileBudget = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same packed bytes.")] = 0,
    measure: Measure = 64,
    out: Annotated[Path, typer.Option(help="Packed folder to write.")] = Path("packed"),
    run: Run = None,
    compute: "Compute",
    force: Force = False,
    progress: Progress = shown,
    words: dict[str, Any],
) -> "Finalized":
    """Finetune with the plan fixed, then write and verify a packed folder.

    A plan for a model of your own is taken only with the --model it names.
    """
    from snnq.finalizing.budget import parse_budget
    from snnq.finalizing.run import finalize as run_finalize
    from snnq.finalizing.settings import FinalizeSettings
    from snnq.models.registry import register_model

    if model is not None:
        register_model(model)
    asked = {"epochs": epochs, "batch_size": batch_size, "distillation": distillation, "rate": rate}
    limits = parse_budget(texts(budget, dashes=True))
    settings = FinalizeSettings(seed=seed, augment=augment, budget=limits, **_given(asked))
    return run_finalize(
        plan,
        checkpoint=checkpoint,
        data=data,
        weights=weights,
        start=start,
        out=out,
        settings=settings,
        run=run,
        compute=compute,
        measure=measure,
        force=force,
        progress=progress,
        words=_resolved(words, settings),
    )


@command
def ptq(
    checkpoint: Annotated[
        str | Path | None,
        typer.Argument(metavar="[CKPT]", help="Float checkpoint; by default the plan's, or 'digits'."),
        Typed(str | None),
    ] = None,
    *,
    plan: Annotated[Path | None, typer.Option(help="A plan; or give --scheme.")] = None,
    scheme: Annotated[str | None, typer.Option(help="One scheme for every layer, such as uniform-2.")] = None,
    method: Annotated[
        str,
        typer.Option(help="rtn, clip, awq (grids), quantease (rounding by layer), adaround, tesseraq (by block)."),
    ] = "quantease",
    data: Data = None,
    samples: Annotated[int | None, typer.Option(help="How many training samples; their labels are not used.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of progressive rounding, 10 or 20; tesseraq.")] = None,
    steps_per_round: Annotated[int | None, typer.Option(help="Optimizer steps a round; adaround, tesseraq.")] = None,
    start: Annotated[str | None, typer.Option(help="Grids that rounding starts from: rtn, clip or awq.")] = None,
    target: Annotated[
        str | None, typer.Option(help="What a block must reproduce: output, current (before its neurons) or both.")
    ] = None,
    norms: Annotated[
        str | None,
        typer.Option(
            help="A block's folded norms: kept, matched to the float model's moments, or that at every step (live)."
        ),
    ] = None,
    batchnorm: Annotated[
        str | None, typer.Option(help="Estimate BN statistics anew: on, off, or auto (if the logits come nearer).")
    ] = None,
    memory_mib: Annotated[int | None, typer.Option(help="For cached activations; the rest is recomputed.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the samples; the same seed gives the same packed bytes.")] = 0,
    cost_table: Annotated[str, typer.Option(help="Cost table of a --scheme's plan: a name or a path.")] = _TABLE,
    measure: Measure = 64,
    out: Annotated[Path, typer.Option(help="Packed folder to write.")] = Path("packed"),
    run: Run = None,
    one_device: "Compute",
    sizes: dict[str, Any],
    force: Force = False,
    progress: Progress = shown,
    words: dict[str, Any],
) -> "Finalized":
    """Quantise a float checkpoint from a few hundred unlabelled samples; write and verify a packed folder."""
    from snnq.base.errors import CheckpointError, UsageError
    from snnq.reconstructing.run import ptq as run_ptq
    from snnq.reconstructing.settings import RECONSTRUCTING, PtqSettings

    asked = {
        "samples": samples,
        "batch_size": batch_size,
        "rounds": rounds,
        "steps": steps_per_round,
        "start": start,
        "target": target,
        "norms": norms,
        "batchnorm": batchnorm,
        "memory_mib": memory_mib,
    }
    blockwise = {"rounds": rounds, "steps_per_round": steps_per_round, "target": target}
    if method not in RECONSTRUCTING and (named := next((name for name, one in blockwise.items() if one), None)):
        option = f"--{named.replace('_', '-')}"
        raise UsageError(f"{option} belongs to reconstruction block by block", "add --method tesseraq")
    settings = PtqSettings(method=method, seed=seed, **_given(asked))
    try:
        return run_ptq(
            checkpoint,
            plan=plan,
            scheme=scheme,
            data=data,
            out=out,
            settings=settings,
            cost_table=cost_table,
            run=run,
            compute=one_device,
            measure=measure,
            force=force,
            progress=progress,
            words=_resolved(words, settings, unless=() if method in RECONSTRUCTING else tuple(blockwise)),
            **sizes,
        )
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
    compute: "Compute",
    sizes: dict[str, Any],
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

    place = Path(out).with_name(f"{Path(out).name}.plan.json")
    searching = parse_settings(budget=(f"avg-bits={bits!r}",), epochs=epochs, seed=seed)
    common = {"data": data, "compute": compute, "force": force, "progress": progress}
    plan = run_search(checkpoint, out=place, settings=searching, **common, **sizes)
    finetuning = FinalizeSettings(seed=seed, **_given({"epochs": epochs}))
    return run_finalize(better_plan(plan, place), out=out, settings=finetuning, **common)


def _given(words: dict[str, Any]) -> dict[str, Any]:
    """Return the words that were given: those left out take the settings' own defaults."""
    return {name: value for name, value in words.items() if value is not None}


def _resolved(words: dict[str, Any], settings: Any, unless: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a run's words with the defaults that ``settings`` filled in, but for those that may not be typed."""
    missing: set[str] = {word for word, value in words["words"].items() if value is None} - {"steps", *unless}
    found = {word: getattr(settings, "steps" if word == "steps_per_round" else word, None) for word in missing}
    return words | {"words": words["words"] | {word: plain(one) for word, one in found.items()}}
