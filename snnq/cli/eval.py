"""``snnq eval``: accuracy of a float checkpoint or a packed folder, or what it says of one event file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snnq.cli.building import typed
from snnq.commands.looking import classify
from snnq.commands.looking import eval as run_eval
from snnq.commands.words import SIZES

if TYPE_CHECKING:
    from snnq.assessing.classify import Classification
    from snnq.assessing.eval import Evaluation

_Input = Annotated[
    Path | None,
    typer.Option(
        help="One event file (.aedat4 .aedat .dat .raw .bin .hdf5 .npz .npy), or .npz of frames: its class scores."
    ),
]


def _run(input: Path | None, **words: Any) -> Evaluation | Classification:
    from snnq.base.errors import UsageError

    if input is None:
        return run_eval(**words)
    if words["data"] is not None:
        raise UsageError("--input and --data: give one of them")
    return classify(words["path"], input, engine=words["engine"], **{name: words[name] for name in SIZES})


def _shown(found: Any, json: bool, words: dict[str, Any]) -> None:
    from snnq import console
    from snnq.packed.sizes import bits_words

    if words["input"] is not None:
        _show_classes(found, json)
        return
    if json:
        console.emit_json(asdict(found))
        return
    kind = f"{found.kind}, {found.engine}, {found.arithmetic}" if found.kind == "packed" else found.kind
    rows = [(kind, found.data, found.split, found.samples, f"{found.accuracy:.2%}", f"{found.loss:.4f}")]
    console.table("Accuracy", ("model", "data", "split", "samples", "accuracy", "cross-entropy"), rows)
    if found.avg_bits is not None and found.file_avg_bits is not None:
        console.note(bits_words(found.avg_bits, found.file_avg_bits))


def _show_classes(found: Classification, json: bool) -> None:
    from snnq import console

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


evaluate = typed(run_eval, _shown, run=_run, more={"input": (_Input, None)})
