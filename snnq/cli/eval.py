"""``snnq eval``: accuracy of a float checkpoint or a packed folder, or what it says of one event file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from snnq.cli.options import Data, Device, Json, Threads, takes_sizes


@takes_sizes
def evaluate(
    path: Annotated[str, typer.Argument(help="A float checkpoint, a built-in one, or a packed folder.")],
    data: Data = None,
    input: Annotated[
        Path | None,
        typer.Option(
            help="One event file (.aedat4 .aedat .dat .raw .bin .hdf5 .npz .npy), or .npz of frames: its class scores."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    engine: Annotated[str, typer.Option(help="What runs a packed folder: torch or integer.")] = "torch",
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 32,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    **given: Any,
) -> None:
    """Measure accuracy on a split of the data, or classify one recording."""
    from dataclasses import asdict

    from snnq import console

    if input is not None:
        _classify(path, input, data, engine, given, json)
        return
    from snnq.assessing.eval import eval as run_eval
    from snnq.packed.sizes import bits_words
    from snnq.training.devices import Compute

    with console.progress_view() as progress:
        found = run_eval(
            path,
            data=data,
            split=split,
            batch_size=batch_size,
            engine=engine,
            compute=Compute(device, threads=threads),
            progress=progress,
            **given,
        )
    if json:
        console.emit_json(asdict(found))
    else:
        kind = f"{found.kind}, {engine}, {found.arithmetic}" if found.kind == "packed" else found.kind
        rows = [(kind, found.data, split, found.samples, f"{found.accuracy:.2%}", f"{found.loss:.4f}")]
        console.table("Accuracy", ("model", "data", "split", "samples", "accuracy", "cross-entropy"), rows)
        if found.avg_bits is not None and found.file_avg_bits is not None:
            console.note(bits_words(found.avg_bits, found.file_avg_bits))


def _classify(path: str, input: Path, data: str | None, engine: str, given: dict[str, Any], json: bool) -> None:
    from dataclasses import asdict

    from snnq import console
    from snnq.assessing.classify import classify
    from snnq.base.errors import UsageError

    if data is not None:
        raise UsageError("--input and --data: give one of them")
    found = classify(path, input, engine=engine, **given)
    sizes = [f"{height}x{width}" for height, width in (found.sensor, found.image_size)]
    if not found.sensor_known:
        console.note(f"{found.input} does not say the sensor's size; its events reach over {sizes[0]}.")
    if found.resized:
        console.note(f"Resized from {sizes[0]} to the model's {sizes[1]} by the nearest pixel.")
    if json:
        console.emit_json(asdict(found))
        return
    rows = [(one.name, f"{one.probability:.4f}", f"{one.logit:.4f}") for one in found.scores]
    console.out(f"{found.input}: {found.scores[0].name}")
    console.table("", ("class", "probability", "logit"), rows)
    span = "" if found.span_us is None else f" in {found.span_us / 1000:,.1f} ms"
    cut = "" if found.by is None else f" by {found.by}"
    console.note(f"{found.events:,} events{span}, {found.steps} frames{cut}; {found.kind} model on {found.engine}")
