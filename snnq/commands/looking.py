"""The commands that look at checkpoints, plans and packed folders, and those that write them in another form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq.base.progress import Progress, shown
from snnq.commands.calling import command
from snnq.commands.words import (
    AdapterFile,
    Data,
    Engine,
    ExitEntropy,
    ExitLoss,
    FileSizes,
    Folder,
    Force,
    GivenCheckpoint,
    ModelSizes,
    OneDevice,
    OtherTable,
    OwnModel,
    Split,
    Typed,
    WeightReuse,
    register,
)
from snnq.exporting.targets import TARGETS

if TYPE_CHECKING:
    from snnq.assessing.classify import Classification
    from snnq.assessing.eval import Evaluation
    from snnq.assessing.measure import Measurement
    from snnq.assessing.verify import Verified
    from snnq.bench.timing import Findings
    from snnq.checkpoints.inspecting import Inspection
    from snnq.data import Prepared
    from snnq.exporting.targets import Exported
    from snnq.reporting.compare import Comparison
    from snnq.reporting.records import Report

_TARGETS = "; ".join(f"{name} ({target.what})" for name, target in TARGETS.items())


@command
def inspect(
    checkpoint: GivenCheckpoint,
    *,
    graph: Annotated[
        bool, typer.Option("--graph", help="Its operations and streams, too, checked against the model.")
    ] = False,
    rates: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measure firing rates on training samples; write a card of them here."),
    ] = None,
    data: Data = None,
    sizes: ModelSizes,
    force: Force = False,
    progress: Progress = shown,
) -> "Inspection":
    """Recognise a checkpoint's architecture and upstream layout; show where its bits and picojoules are.

    Nothing is trained; it takes seconds.
    """
    from dataclasses import replace

    from snnq.base.errors import UsageError
    from snnq.checkpoints.inspecting import inspect as run_inspect

    if data is not None and rates is None:
        raise UsageError("--data: nothing is measured on them", "to measure firing rates: --rates FILE")
    found = run_inspect(checkpoint, graph=graph, **sizes.given())
    if rates is None:
        return found
    from snnq.assessing.rates import write_card

    return replace(found, rates=write_card(found.checkpoint, data, rates, force, progress))


@command
def eval(
    path: Annotated[
        str | Path, typer.Argument(help="A float checkpoint, a built-in one, or a packed folder."), Typed(str)
    ],
    *,
    data: Data = None,
    split: Split = "test",
    engine: Engine = "torch",
    exit_entropy: ExitEntropy = None,
    exit_loss: ExitLoss = 0.5,
    exit_samples: Annotated[
        int, typer.Option(min=0, help="Samples whose energy and latency with exits are measured; 0: none.")
    ] = 64,
    cost_table: OtherTable = None,
    weight_reuse: WeightReuse = None,
    adapter: AdapterFile = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 32,
    compute: OneDevice,
    sizes: ModelSizes,
    progress: Progress = shown,
) -> "Evaluation":
    """Measure accuracy on a split of the data."""
    from snnq.assessing.eval import eval as run_eval

    return run_eval(
        path,
        data=data,
        split=split,
        batch_size=batch_size,
        engine=engine,
        exit_entropy=exit_entropy,
        exit_loss=exit_loss,
        exit_samples=exit_samples,
        cost_table=cost_table,
        weight_reuse=weight_reuse,
        adapter=adapter,
        compute=compute.compute(),
        progress=progress,
        **sizes.given(),
    )


@command
def classify(
    path: str | Path, input: str | Path, *, engine: Engine = "torch", adapter: AdapterFile = None, sizes: ModelSizes
) -> "Classification":
    """Classify one recording: an event file, or an .npz of frames (``snnq eval PATH --input FILE``)."""
    from snnq.assessing.classify import classify as run_classify

    return run_classify(path, input, engine=engine, adapter=adapter, **sizes.given())


@command
def measure(
    path: Annotated[
        str | Path,
        typer.Argument(metavar="PATH", help="A packed folder, a plan.json or a float checkpoint."),
        Typed(str),
    ],
    *,
    data: Data = None,
    split: Split = "validation",
    samples: Annotated[int, typer.Option(min=1, help="Samples to run, spread evenly over the split.")] = 64,
    cost_table: OtherTable = None,
    weight_reuse: WeightReuse = None,
    compute: OneDevice,
    sizes: ModelSizes,
    progress: Progress = shown,
) -> "Measurement":
    """Run a model on real inputs; show firing rates, synaptic operations and energy by the event model."""
    from snnq.assessing.measure import measure as run_measure

    return run_measure(
        path,
        data=data,
        split=split,
        samples=samples,
        cost_table=cost_table,
        weight_reuse=weight_reuse,
        compute=compute.compute(),
        progress=progress,
        **sizes.given(),
    )


@command
def report(
    folder: str | Path = Path("packed"),
    *,
    cost_table: str | None = None,
    weight_reuse: WeightReuse = None,
    measure: int | None = None,
    accel: str | Path | Sequence[str | Path] | None = None,
    exit_entropy: ExitEntropy = None,
    exit_loss: ExitLoss = 0.5,
    imc: str | Path | None = None,
    adapter: AdapterFile = None,
    data: Data = None,
    compute: OneDevice,
    model: OwnModel = None,
    progress: Progress = shown,
) -> "Report":
    """Return everything that is known about a packed folder, which is verified first.

    ``measure``: firing rates are measured anew, on so many validation samples; ``accel``: machines to simulate, too;
    ``exit_entropy``: dynamic time steps to run, too; ``imc``: a target of analog arrays;
    ``adapter``: a side file of the folder, whose classes are reported beside its own.
    """
    from snnq.reporting.run import report as run_report

    register(model)
    return run_report(
        folder,
        cost_table=cost_table,
        weight_reuse=weight_reuse,
        measure=measure,
        accel=accel,
        exit_entropy=exit_entropy,
        exit_loss=exit_loss,
        imc=imc,
        adapter=adapter,
        data=data,
        compute=compute.compute(),
        progress=progress,
    )


@command
def compare(paths: list[str | Path], *, cost_table: str | None = None, model: OwnModel = None) -> "Comparison":
    """Put plans and packed folders side by side (``snnq report A B …``, ``snnq plan diff A B``)."""
    from snnq.reporting.compare import compare as run_compare

    register(model)
    return run_compare([Path(path) for path in paths], cost_table=cost_table)


@command
def verify(
    folder: Folder = Path("packed"),
    *,
    run: Annotated[bool, typer.Option("--run/--files-only", help="Run a batch through both engines, too.")] = True,
    adapter: AdapterFile = None,
    model: OwnModel = None,
) -> "Verified":
    """Check a packed folder: bits on disk are the plan's, every code decodes, hashes match, both engines agree."""
    from snnq.assessing.verify import verify as run_verify

    register(model)
    return run_verify(folder, run=run, adapter=adapter)


@command
def export(
    folder: Folder = Path("packed"),
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help=_TARGETS + ".")] = "",
    *,
    out: Annotated[Path | None, typer.Option(help="The new file or folder; beside FOLDER by default.")] = None,
    model: OwnModel = None,
    force: Force = False,
) -> "Exported":
    """Export a packed folder to another format.

    The folder is verified first; what is written is read back by the format's own library before it is kept.
    """
    from snnq.exporting.run import export as run_export

    register(model)
    return run_export(folder, to, out, force)


@command
def prepare(
    spec: str,
    *,
    steps: int | None = None,
    image_size: str | int | Sequence[int] | None = None,
    workers: int = 1,
    skip_corrupt: bool = False,
    progress: Progress = shown,
) -> "Prepared":
    """Make a data set's frames now, so that the run that needs them starts at once (``snnq data prepare``)."""
    from snnq.checkpoints.sizes import given_sizes
    from snnq.data import prepare as run_prepare

    size = given_sizes(image_size=image_size)["image_size"]
    return run_prepare(
        spec, steps=steps, image_size=size, workers=workers, skip_corrupt=skip_corrupt, progress=progress
    )


@command
def doctor() -> Mapping[str, str]:
    """Show versions, devices and folders, and run one small model forwards and backwards."""
    from snnq.assessing.doctor import diagnose

    return diagnose()


@command
def bench_search(
    checkpoint: Annotated[
        str | Path, typer.Argument(metavar="[CKPT]", help="A float checkpoint, or a built-in one."), Typed(str)
    ] = "digits",
    *,
    batch_size: Annotated[int, typer.Option(min=2, help="Samples a step; small ones time overheads.")] = 64,
    repeats: Annotated[int, typer.Option(min=3, help="Paired repeats.")] = 15,
    compute: OneDevice,
    sizes: FileSizes,
    progress: Progress = shown,
) -> "Findings":
    """Time a search step against a float training step and against the K-branch form."""
    from snnq.bench.search import bench_search as run_bench

    return run_bench(
        checkpoint,
        batch_size=batch_size,
        repeats=repeats,
        compute=compute.compute(),
        progress=progress,
        **sizes.given(),
    )
