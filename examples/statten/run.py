"""Spatial-temporal against spatial attention, where time matters and where it does not, before and after the search.

python examples/statten/run.py /usr/share/datasets/fashion-mnist --out statten
python examples/statten/run.py --out statten --tasks temporal-order --seeds 0     # a share; needs no images
python examples/statten/summary.py statten/statten.csv

A cell is one task, chunk, seed and row; one that is finished is skipped, one that was cut off goes on.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

sys.path.append(str(Path(__file__).resolve().parents[1] / "reference"))

from arms import TASKS, Task
from cells import Cell, gather, run_float, run_rows
from tasks import write_folders

from snnq import console
from snnq.base.errors import UsageError
from snnq.base.files import write_atomic


def main(
    images: Annotated[Path | None, typer.Argument(help="Folder with Fashion-MNIST's four IDX files.")] = None,
    out: Annotated[Path, typer.Option(help="Where frames, cells and the CSV go.")] = Path("statten"),
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas.")] = ",".join(TASKS),
    seeds: Annotated[str, typer.Option()] = "0,1,2,3,4",
    chunks: Annotated[str | None, typer.Option(help="Chunks, separated by commas; those of each task.")] = None,
    float_epochs: Annotated[int | None, typer.Option(help="Epochs of the float models; those of each task.")] = None,
    search_epochs: Annotated[int, typer.Option()] = 1,
    finetune_epochs: Annotated[int, typer.Option(help="0: float models only.")] = 2,
) -> None:
    """Run the experiment, or a share of it; all arms of a seed before the next seed."""
    unknown = [name for name in tasks.split(",") if name not in TASKS]
    if unknown:
        raise UsageError(f"--tasks {unknown[0]}: there are {', '.join(TASKS)}")
    asked = [int(chunk) for chunk in chunks.split(",")] if chunks else None
    chosen = [share_of(TASKS[name], asked, float_epochs) for name in tasks.split(",")]
    run([int(seed) for seed in seeds.split(",")], chosen, images, out, search_epochs, finetune_epochs)


def share_of(task: Task, chunks: list[int] | None, epochs: int | None) -> Task:
    """Return the task with only these of its chunks, and trained for so many epochs; None keeps what it has."""
    kept = tuple(chunk for chunk in task.chunks if chunks is None or chunk in chunks)
    return replace(task, chunks=kept, recipe=replace(task.recipe, epochs=epochs or task.recipe.epochs))


def run(
    seeds: list[int], tasks: list[Task], images: Path | None, out: Path, search_epochs: int, finetune_epochs: int
) -> None:
    """Run every cell that is not finished and write ``<out>/statten.csv`` anew after each arm.

    Chunks of 1 and the primary ones come first, seed by seed: an experiment cut off has whole pairs.
    """
    out.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        write_folders(out / "frames" / task.name, task.splits(images))
    arms = [(task, chunk) for task in tasks for chunk in task.chunks]
    first = [(task, chunk) for task, chunk in arms if chunk in (1, task.primary)]
    others = [arm for arm in arms if arm not in first]
    for share in (first, others):
        for seed in seeds:
            for task, chunk in share:
                cell = Cell(task, chunk, seed, out)
                found = run_float(cell)
                console.note(f"{task.name} chunk {chunk} seed {seed}: validation {found['validation_accuracy']:.4f}")
                if share is first and finetune_epochs:
                    run_rows(cell, search_epochs, finetune_epochs)
                write_atomic(out / "statten.csv", gather(out).to_csv(index=False, float_format="%.6g"))


if __name__ == "__main__":
    typer.run(main)
