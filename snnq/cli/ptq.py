"""``snnq ptq``: quantise without labels and without finetuning, pack and verify."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from snnq.cli.options import Data, Device, Force, Json, Run, Threads, takes_sizes


@takes_sizes
def ptq(
    checkpoint: Annotated[
        str | None, typer.Argument(metavar="[CKPT]", help="Float checkpoint; by default the plan's, or 'digits'.")
    ] = None,
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
    cost_table: Annotated[str, typer.Option(help="Cost table of a --scheme's plan: a name or a path.")] = (
        "horowitz-45nm"
    ),
    measure: Annotated[
        int, typer.Option(min=0, help="Validation samples to measure firing rates on, in the end; 0: none.")
    ] = 64,
    out: Annotated[Path, typer.Option(help="Packed folder to write.")] = Path("packed"),
    run: Run = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    force: Force = False,
    **given: Any,
) -> None:
    """Quantise a float checkpoint from a few hundred unlabelled samples; write and verify a packed folder."""
    from snnq import console
    from snnq.base.errors import CheckpointError, UsageError
    from snnq.packed.sizes import bits_words, folder_bits
    from snnq.reconstructing.run import ptq as run_ptq
    from snnq.reconstructing.settings import RECONSTRUCTING, PtqSettings
    from snnq.reporting.comparisons import tested_sentence
    from snnq.training.devices import Compute

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
    blockwise = {"--rounds": rounds, "--steps-per-round": steps_per_round, "--target": target}
    if method not in RECONSTRUCTING and (named := next((name for name, one in blockwise.items() if one), None)):
        raise UsageError(f"{named} belongs to reconstruction block by block", "add --method tesseraq")
    settings = PtqSettings(method=method, seed=seed, **{key: one for key, one in asked.items() if one is not None})  # pyright: ignore
    known, began = out.exists(), time.monotonic()
    try:
        with console.progress_view() as progress:
            done = run_ptq(
                checkpoint,
                plan=plan,
                scheme=scheme,
                data=data,
                out=out,
                settings=settings,
                cost_table=cost_table,
                run=run,
                compute=Compute(device, threads=threads),
                measure=measure,
                force=force,
                progress=progress,
                **given,
            )
    except CheckpointError as problem:
        if "--steps " not in problem.message:
            raise
        hint = "--steps are the model's time steps; an optimizer's steps in a round are --steps-per-round"
        raise CheckpointError(problem.message, hint) from None
    if known and not force:
        console.note(f"{out} is already the result of this very run; nothing was done.")
    bits = dict(zip(("avg_bits", "file_avg_bits"), folder_bits(done.folder), strict=True))
    accuracy, how = done.results.accuracy, done.results.made()
    if json:
        console.emit_json({"folder": str(done.folder), "accuracy": accuracy.summary(), **bits, "ptq": how})
    else:
        rows = [
            (name, f"{one.validation:.2%}", f"{one.test:.2%}")
            for name, one in (("float", accuracy.float_model), ("plan", accuracy.plan))
        ]
        splits = [f"validation ({accuracy.validation_samples} samples)", f"test ({accuracy.test_samples} samples)"]
        console.table("Blocks", ("block", "loss, rounded to nearest", "now"), [_row(one) for one in how["blocks"]])
        console.table("Accuracy", ("model", *splits), rows)
        console.note(f"Packed and verified in {time.monotonic() - began:.0f} s: {done.folder}")
        console.note(bits_words(*bits.values()))
        console.note(tested_sentence(done.results))
    console.next_step("snnq report" if str(out) == "packed" else f"snnq report {shlex.quote(str(out))}")


def _row(block: dict) -> tuple[str, str, str]:
    return block["block"], f"{block['loss_nearest']:.4f}", f"{block['loss']:.4f}"
