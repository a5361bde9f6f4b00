"""``snnq bench``: the project's own speed, as ratios measured in one run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from snnq import console
from snnq.cli.building import GroupedCommand, typed
from snnq.commands.looking import bench_search
from snnq.commands.words import Data, Json, Threads, Words

if TYPE_CHECKING:
    from snnq.bench.timing import Findings

app = typer.Typer(no_args_is_help=True, help="Measure snnq's own speed on this machine, as ratios.")


@app.callback()
def bench() -> None:
    """Measure snnq's own speed on this machine, as ratios."""


def _show_search(found: Findings, json: bool, words: Words) -> None:
    if json:
        console.emit_json(found)
        return
    times = found["median_ms"]
    console.table("Medians", ("step", "ms"), [(name, f"{value:.1f}") for name, value in times.items()])
    ratios = [(name, f"{found[name]:.2f}") for name in found if name.endswith(("_over_float", "_over_composite"))]
    console.table("Ratios (medians of paired repeats)", ("ratio", "times"), ratios)
    facts = found["machine"]
    console.note(f"{facts['processor']}, {facts['threads']} threads, torch {facts['torch']}")


app.command("search", cls=GroupedCommand)(typed(bench_search, _show_search))


@app.command()
def data(
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="Such as n-mnist:DIR; by default files made for it.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that prepare; tonic reads in one.")] = 1,
    repeats: Annotated[int, typer.Option(min=3, help="Paired repeats.")] = 9,
    json: Json = False,
) -> None:
    """Time opening and preparing recordings against tonic alone reading the same files."""
    from snnq.bench.data import bench_data

    with console.progress_view() as progress:
        found = bench_data(spec, workers=workers, repeats=repeats, progress=progress)
    if json:
        console.emit_json(found)
        return
    for name, one in found["sets"].items():
        rows = [
            (what, f"{seconds:.3f}", f"{one['recordings_per_s'][what]:,.0f}", share and f"{share:.0%}")
            for what, seconds in one["median_s"].items()
            for share in [one["speed_of_tonic"].get(what, "")]
        ]
        title = f"{name}: {one['recordings']} recordings, {one['bytes'] / 2**20:.1f} MiB"
        console.table(title, ("what", "s", "recordings/s", "speed of tonic's"), rows)
    facts = found["machine"]
    console.note(f"{facts['processor']}, {found['workers']} processes prepare, medians of {found['repeats']} repeats")


@app.command()
def runtime(
    folder: Annotated[
        str | None, typer.Argument(metavar="[FOLDER]", help="A packed folder; by default the paper's model, untrained.")
    ] = None,
    data: Data = None,
    architecture: Annotated[
        str | None,
        typer.Option(metavar="NAME[:SIZE=VALUE,…]", help="Time this one, untrained: sdt-dvs:dim=128,image_size=64."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="float32, bfloat16, int8, compiled, openvino, openvino-bfloat16 or onnxruntime; may be repeated. By "
            "default the first three, and what is installed of the last three, which take minutes to export."
        ),
    ] = None,
    threads: Threads = None,
    repeats: Annotated[int, typer.Option(min=3, help="Paired repeats.")] = 9,
    json: Json = False,
) -> None:
    """Time the integer engine against PyTorch and others on a packed folder: speed, memory, how the time grows."""
    from snnq.bench.runtime import bench_runtime

    words = {"data": data, "architecture": architecture, "peers": peer, "threads": threads, "repeats": repeats}
    with console.progress_view() as progress:
        found = bench_runtime(folder, **words, progress=progress)
    if json:
        console.emit_json(found)
        return
    _times(found)
    for what, times in found["growth_ms"].items():
        console.table(f"Time by {what.replace('_', ' ')}", (what, "ms"), [(n, f"{ms:.1f}") for n, ms in times.items()])
    rows = [(name, f"{rate:.1%}") for name, rate in found["firing_rates"].items()]
    console.table("Firing rates", ("neuron", "spikes"), rows)
    _facts(found)


def _times(found: Findings) -> None:
    for batch, times in found["median_ms"].items():
        speedups = {name: f"{ratios[batch]:.2f}" for name, ratios in found["speedup"].items()}
        rate = found["samples_per_second"][batch]
        differs = {name: f"{share:.2%}" for name, share in found["difference"][batch].items()}
        rows = [
            (name, f"{ms:.1f}", f"{rate[name]:.1f}", speedups.get(name, ""), differs.get(name, ""))
            for name, ms in times.items()
        ]
        headings = ("what", "ms", "samples/s", "integer is faster by", "logits differ by")
        console.table(f"Batches of {batch.removeprefix('batch')}", headings, rows)
        parts = sorted(found["parts_ms"][batch].items(), key=lambda part: -part[1])
        console.table("Parts of the integer engine", ("part", "ms"), [(name, f"{ms:.2f}") for name, ms in parts])


def _facts(found: Findings) -> None:
    weights, kernel, facts = found["weights"], found["kernel"], found["machine"]
    console.note(f"weights: {weights['bytes']:,} bytes in memory, {weights['file_bytes']:,} in the file")
    for batch, kinds in found["memory"].items():
        ours, theirs = kinds["integer"], kinds["float32"]
        console.note(
            f"peak memory, {batch}: {ours['inference_mib']:.0f} MiB against {theirs['inference_mib']:.0f} MiB; "
            f"of the whole process {ours['process_mib']:.0f} against {theirs['process_mib']:.0f} MiB"
        )
    if "rows_per_second" in kernel:
        console.note(
            f"{kernel['rows_per_second'] / 1e9:.2f} of at most {kernel['limit_rows_per_second'] / 1e9:.2f} "
            f"billion rows of 64 sums a second ({kernel['share_of_limit']:.0%})"
        )
    if pruned := found.get("pruned"):
        faster = ", ".join(f"{ratio:.2f} times, {batch}" for batch, ratio in pruned["speedup"].items())
        console.note(f"with {pruned['sparsity']:.0%} of the weights zero the integer engine is faster by {faster}")
    simulated = ", simulated" if found["simulated"] else ""
    console.note(f"frames: {found['data']}{simulated}")
    console.note(f"{found['architecture']}; {facts['processor']}, {facts['threads']} threads")
    console.note(", ".join(f"{name} {version}" for name, version in facts["libraries"].items()))
