"""``snnq finalize``: finetune under a plan, pack and verify."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from snnq.cli.options import (
    Data,
    Device,
    Devices,
    Force,
    Json,
    Model,
    Nodes,
    Precision,
    Run,
    Strategy,
    Threads,
    Weights,
)


def finalize(
    plan_file: Annotated[
        Path | None, typer.Argument(metavar="[PLAN]", help="The plan, likewise.", show_default=False)
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="The plan; plan.json by default.", show_default=False)] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Float checkpoint, if the plan names none.")] = None,
    data: Data = None,
    weights: Weights = None,
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
    seed: Annotated[int, typer.Option(help="The same seed gives the same packed bytes.")] = 0,
    out: Annotated[Path, typer.Option(help="Packed folder to write.")] = Path("packed"),
    model: Model = None,
    run: Run = None,
    device: Device = "auto",
    devices: Devices = 1,
    nodes: Nodes = 1,
    strategy: Strategy = "auto",
    precision: Precision = "32-true",
    threads: Threads = None,
    measure: Annotated[
        int, typer.Option(min=0, help="Validation samples to measure firing rates on, in the end; 0: none.")
    ] = 64,
    json: Json = False,
    force: Force = False,
) -> None:
    """Finetune with the plan fixed, then write and verify a packed folder.

    A plan for a model of your own is taken only with the --model it names.
    """
    from snnq import console
    from snnq.base.errors import UsageError
    from snnq.finalizing.run import finalize as run_finalize
    from snnq.finalizing.settings import FinalizeSettings
    from snnq.packed.sizes import bits_words, folder_bits
    from snnq.reporting.comparisons import tested_sentence
    from snnq.training.devices import Compute

    if plan_file is not None and plan is not None:
        raise UsageError(f"two plans are named: {plan_file} and --plan {plan}", "give one of them")
    plan = plan or plan_file or Path("plan.json")
    asked = {"epochs": epochs, "batch_size": batch_size, "distillation": distillation}
    settings = FinalizeSettings(
        seed=seed, augment=augment, **{key: value for key, value in asked.items() if value is not None}
    )
    known = out.exists()
    with console.progress_view() as progress:
        done = run_finalize(
            plan,
            checkpoint=checkpoint,
            data=data,
            weights=weights,
            start=start,
            out=out,
            settings=settings,
            run=run,
            compute=Compute(device, devices, nodes, strategy, precision, threads),
            measure=measure,
            force=force,
            progress=progress,
        )
    if known and not force:
        console.note(f"{out} is already the result of this very run; nothing was done.")
    bits = dict(zip(("avg_bits", "file_avg_bits"), folder_bits(done.folder), strict=True))
    accuracy = done.results.accuracy
    if json:
        console.emit_json(
            {
                "folder": str(done.folder),
                "accuracy": accuracy.summary(),
                **bits,
                "finalize": done.results.made(),
            }
        )
    else:
        rows = [
            (name, f"{one.validation:.2%}", f"{one.test:.2%}")
            for name, one in (("float", accuracy.float_model), ("plan", accuracy.plan))
        ]
        samples = [f"validation ({accuracy.validation_samples} samples)", f"test ({accuracy.test_samples} samples)"]
        console.table("Accuracy", ("model", *samples), rows)
        console.note(f"Packed and verified: {done.folder}")
        console.note(bits_words(*bits.values()))
        console.note(tested_sentence(done.results))
    console.next_step("snnq report" if str(out) == "packed" else f"snnq report {shlex.quote(str(out))}")
