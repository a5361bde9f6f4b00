"""``snnq data``: what data there is, and preparing it ahead of a run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.commands.words import Json

if TYPE_CHECKING:
    from snnq.data import Prepared

app = typer.Typer(help="List data sources; prepare a data set ahead of a run.", no_args_is_help=True)


@app.command("list")
def list_sources(json: Json = False) -> None:
    """Show every data source with its options, and what lies prepared in the cache."""
    from dataclasses import asdict

    from snnq import data

    root = data.cache_root()
    prepared = data.summary(root)
    if json:
        sources = [
            {"spec": s.usage, "options": dict(s.options), "simulated": s.simulated, "summary": s.summary}
            for s in data.SOURCES.values()
        ]
        console.emit_json(
            {
                "sources": sources,
                "options": data.OPTIONS,
                "cache": {"path": str(root), "prepared": [asdict(entry) for entry in prepared]},
            }
        )
        return
    rows = [
        (
            s.usage,
            " ".join(f"{key}={value or '…'}" for key, value in s.options.items()),
            "yes" if s.simulated else "no",
            s.summary,
        )
        for s in data.SOURCES.values()
    ]
    console.table("Data sources", ("spec", "options and defaults", "simulated", "what it is"), rows)
    console.table("Options, as in frames:DIR,limit=500", ("option", "what it says"), list(data.OPTIONS.items()))
    if prepared:
        console.table("Prepared", ("data set", "MiB"), [(p.name, f"{p.mib:.1f}") for p in prepared])
    console.note(f"Cache: {root}")
    console.next_step("snnq data prepare digits")


@app.command("prepare")
def prepare(
    spec: Annotated[
        str, typer.Argument(help="SOURCE[:DIR][,OPTION=VALUE…], such as n-mnist:DIR,by=time; see snnq data list.")
    ],
    steps: Annotated[int | None, typer.Option(min=1, help="Time steps T of the model.")] = None,
    image_size: Annotated[str | None, typer.Option(help="Height and width in pixels, such as 34x34.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all processors by default.")] = None,
    skip_corrupt: Annotated[bool, typer.Option("--skip-corrupt", help="Leave out damaged recordings.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Let tonic fetch the set into DIR first, where it has one.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a data set's frames now, so that the run that needs them starts at once.

    A run that was cut off goes on where it was when the same command is typed again.
    """
    from snnq import data
    from snnq.base.machine import available_processors
    from snnq.base.parsing import parse_image_size

    size = None if image_size is None else parse_image_size(image_size)
    if download:
        data.download(spec)
    with console.progress_view() as progress:
        done = data.prepare(
            spec,
            steps=steps,
            image_size=size,
            workers=workers or available_processors(),
            skip_corrupt=skip_corrupt,
            progress=progress,
        )
    if json:
        console.emit_json(done.facts())
    else:
        _show_prepared(done)


def _show_prepared(done: Prepared) -> None:
    from snnq.data import CLASS_COLUMNS

    console.out(done.data.describe())
    console.table("Classes", CLASS_COLUMNS, done.data.class_rows())
    console.out(f"{done.stored.path} ({done.stored.mib:.1f} MiB{', was there already' if done.cached else ''})")
    console.out(f"sha256 {done.data.sha256}")
    console.out(f"{done.seconds:.2f} s, {done.recordings_per_second:,.0f} recordings/s")
    for text in done.data.skipped:
        console.note(f"Skipped: {text}")
    command = "search CKPT" if done.data.labels == "given" else "ptq CKPT --scheme uniform-4"
    console.next_step(f"snnq {command} --data {shlex.quote(done.data.spec)}")
