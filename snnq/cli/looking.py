"""What a checkpoint, a packed folder and a machine are: inspect, eval, verify, export and doctor."""

from __future__ import annotations

import shlex
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.building import typed
from snnq.cli.showing import FormatOption, OutputFormat, Page, show_document
from snnq.commands import looking as commands
from snnq.commands.words import Json, ModelSizes, Words

if TYPE_CHECKING:
    from snnq.assessing.classify import Classification
    from snnq.assessing.eval import Evaluation
    from snnq.assessing.exit_records import Exits
    from snnq.assessing.verify import Verified
    from snnq.checkpoints.inspecting import Inspection
    from snnq.exporting.targets import Exported


def _sizes(words: Words) -> Words:
    return {one.name: words[one.name] for one in fields(ModelSizes)}


def _run_inspect(format: OutputFormat, cost_table: str | None, out: Path | None, **words: object) -> Inspection:
    return commands.inspect(**words)


def _show_inspection(found: Inspection, json: bool, words: Words) -> None:
    from snnq.checkpoints.sizes import given_sizes, typed_again
    from snnq.cost.table import read_table
    from snnq.reporting.inspected import inspection_document

    table = words["cost_table"]
    shown = inspection_document(found, read_table(table) if table else None)
    show_document(shown, OutputFormat.json if json else words["format"], words["out"])
    if found.rates is not None:
        console.note(
            f"Rate card: {words['rates']}, {found.rates.numbers} firing rates of {len(found.rates.neurons)} groups of "
            f"neurons on {found.rates.samples} training samples."
        )
    data = "" if found.checkpoint.data else " --data SPEC"
    given = typed_again(given_sizes(**_sizes(words)))
    again = "".join(f" {shlex.quote(word)}" for word in given)
    console.next_step(f"snnq search {shlex.quote(words['checkpoint'])}{data}{again}")


inspect = typed(
    commands.inspect,
    _show_inspection,
    run=_run_inspect,
    more={
        "format": (FormatOption, OutputFormat.table),
        "cost_table": (Annotated[str | None, typer.Option(help="Cost table: a name or a path.")], None),
        "out": (Page, None),
    },
)


_Input = Annotated[
    Path | None,
    typer.Option(
        help="One event file (.aedat4 .aedat .dat .raw .bin .hdf5 .npz .npy), or .npz of frames: its class scores."
    ),
]


def _run_eval(input: Path | None, **words: object) -> Evaluation | Classification:
    from snnq.base.errors import UsageError

    if input is None:
        return commands.eval(**words)
    if words["data"] is not None:
        raise UsageError("--input and --data: give one of them")
    if words["exit_entropy"] is not None:
        raise UsageError("--input and --exit-entropy: give one of them")
    return commands.classify(words["path"], input, engine=words["engine"], adapter=words["adapter"], **_sizes(words))


def _show_result(found: Evaluation | Classification, json: bool, words: Words) -> None:
    from snnq.assessing.classify import Classification

    if isinstance(found, Classification):
        _show_classes(found, json)
    else:
        _show_evaluation(found, json)


def _show_evaluation(found: Evaluation, json: bool) -> None:
    from snnq.packed.sizes import bits_words

    if json:
        console.emit_json(asdict(found) | {"samples_per_second": found.samples_per_second})
        return
    kind = f"{found.kind}, {found.engine}, {found.arithmetic}" if found.kind == "packed" else found.kind
    kind += ", adapted" if found.adapter else ""
    top5 = () if found.top5 is None else (f"{found.top5:.2%}",)
    right = (f"{found.accuracy:.2%}", *top5, f"{found.loss:.4f}")
    rows = [(kind, found.data, found.split, found.samples, *right)]
    columns = ("accuracy", *(("top 5",) if top5 else ()), "cross-entropy")
    title = "Accuracy" if found.videos is None else "Accuracy per clip"
    console.table(title, ("model", "data", "split", "samples", *columns), rows)
    if found.video_accuracy is not None:
        console.note(
            f"Per video: {found.video_accuracy:.2%} of {found.videos}, by the mean of its clips' probabilities."
        )
    if found.exits is not None:
        _show_exits(found.exits)
    if found.images is not None:
        console.note(f"Images: {found.images}.")
    console.note(f"{found.samples_per_second:,.1f} samples a second, {found.seconds:,.1f} s in all.")
    if found.avg_bits is not None and found.file_avg_bits is not None:
        console.note(bits_words(found.avg_bits, found.file_avg_bits))


def _show_exits(found: Exits) -> None:
    from snnq.reporting.exit_tables import notes, tables

    for one in tables(found):
        console.table(one.title, one.columns, one.rows)
    for line in notes(found):
        console.note(line)


def _show_classes(found: Classification, json: bool) -> None:
    sizes = [f"{height}x{width}" for height, width in (found.sensor, found.image_size)]
    for note in found.notes:
        console.note(note)
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


evaluate = typed(commands.eval, _show_result, run=_run_eval, more={"input": (_Input, None)})


def _show_verified(verified: Verified, json: bool, words: Words) -> None:
    from snnq.packed import verification
    from snnq.packed.sizes import bits_words
    from snnq.packed.source import SENTENCES

    found, folder = verified.files, str(words["folder"])
    if json:
        console.emit_json(verified.to_dict())
    else:
        console.table("Layers", verification.LAYER_COLUMNS, found.layer_rows())
        console.table("model.safetensors", verification.SIZE_COLUMNS, found.sizes.rows())
    console.note(f"{folder} holds what its plan says: {len(found.layers)} layers, every code and hash is right.")
    console.note(bits_words(found.avg_bits, found.file_avg_bits))
    if found.unprotected:
        console.note(f"This folder was made by an early version: no hash protects {', '.join(found.unprotected)}.")
    console.note(SENTENCES[found.source])
    if verified.reason:
        console.note(f"{verified.reason[0].upper()}{verified.reason[1:]}.")
    if verified.engines:
        engines = verified.engines
        what = "every spike" if engines.neurons else "the logits"
        console.note(
            f"torch and the integer engine agree on {what} of {engines.samples} random samples of "
            f"{engines.steps} time steps: {engines.neurons} layers of neurons, {engines.spikes:,} spikes."
        )
    if one := verified.adapter:
        agreed = f"; both engines agree with it on {one.samples} random samples" if one.samples else ""
        console.note(
            f"{one.path} is whole and this folder's: {one.method}, {one.classes} classes, {one.bytes:,} bytes{agreed}."
        )
    console.next_step("snnq report" if folder == "packed" else f"snnq report {shlex.quote(folder)}")


verify = typed(commands.verify, _show_verified)


def _show_export(found: Exported, json: bool, words: Words) -> None:
    from snnq.exporting.targets import LAYER_COLUMNS

    if json:
        console.emit_json(found.to_dict())
    else:
        console.table(found.out, LAYER_COLUMNS, found.layer_rows())
    for line in found.notes:
        console.note(line)
    for line in found.unsaid:
        console.note(f"Not in it: {line}")
    console.note(f"Exported: {found.out} ({sum(found.files.values()):,} bytes)")
    console.next_step(f"snnq report {shlex.quote(str(words['folder']))}")


export = typed(commands.export, _show_export)


def doctor(json: Json = False) -> None:
    """Show versions, devices and folders, and run one small model forwards and backwards."""
    from snnq.assessing.doctor import advice, diagnose

    found = diagnose()
    if json:
        console.emit_json(found)
    else:
        console.table("This machine", ("what", "found"), list(found.items()))
        for sentence in advice(found):
            console.note(sentence)
        console.next_step("snnq demo")
