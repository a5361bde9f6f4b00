"""Post-training quantisation, arm against arm, from 256 unlabelled samples.

One cell a float model, plan, arm and calibration seed.

python examples/ptq/run.py float-0.safetensors float-1.safetensors --data fashion-mnist:DIR,limit=6000+2000+2000
python examples/ptq/run.py … --plans uniform-2+ends=uniform-4,mixed.json --arms 'awq*,tesseraq-*' --seeds 0,1

A finished cell is skipped and one that was cut off goes on. The CSV gives accuracy on validation and test (neither is
looked at before), the gap to the float model recovered against AWQ's clips alone, wall seconds and
processor seconds. The arms ``finetuned…`` are finalize on all training samples and their labels.
"""

from __future__ import annotations

import json
import time
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from arms import ARMS, BASE, FINETUNED, settings_of, write_plan

from snnq import console
from snnq.base.files import write_atomic
from snnq.checkpoints.sizes import given_sizes
from snnq.finalizing.run import finalize as run_finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.plan import Plan
from snnq.reconstructing.run import ptq as run_ptq
from snnq.reconstructing.settings import PtqSettings


def main(
    checkpoints: Annotated[list[Path], typer.Argument(help="Float checkpoints of one kind, such as of three seeds.")],
    data: Annotated[str | None, typer.Option(help="Data spec, where the checkpoints name none.")] = None,
    out: Annotated[Path, typer.Option(help="Where cells and ptq.csv go.")] = Path("ptq"),
    plans: Annotated[
        str, typer.Option(help="Schemes, SCHEME+ends=OTHER, plan files.")
    ] = "uniform-2,uniform-3,uniform-4",
    arms: Annotated[str, typer.Option(help="Patterns, separated by commas.")] = "*",
    seeds: Annotated[str, typer.Option(help="Which calibration samples.")] = "0,1,2",
    samples: Annotated[int, typer.Option()] = 256,
    steps_per_round: Annotated[int, typer.Option()] = PtqSettings.steps,
    steps: Annotated[int | None, typer.Option()] = None,
    heads: Annotated[int | None, typer.Option()] = None,
    image_size: Annotated[str | None, typer.Option()] = None,
    pooling: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Run the cells, print one line each, and write <out>/ptq.csv."""
    sizes = given_sizes(steps=steps, heads=heads, image_size=image_size, pooling=pooling)
    chosen = [arm for arm in (*ARMS, *FINETUNED) if any(fnmatchcase(arm, pattern) for pattern in arms.split(","))]
    for seed, checkpoint, plan, arm in product(map(int, seeds.split(",")), checkpoints, plans.split(","), chosen):
        folder = out / checkpoint.stem / Path(plan).stem / arm / str(seed)
        if not (folder / "cell.json").exists():
            _cell(folder, checkpoint, data, plan, arm, seed, samples, steps_per_round, sizes)
        cell = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
        console.note(
            f"{cell['model']} {cell['plan']} {arm} seed {seed}: validation {cell['validation']:.4f}, "
            f"test {cell['test']:.4f}, {cell['seconds']:.0f} s"
        )
    gather(out).to_csv(out / "ptq.csv", index=False, float_format="%.5g")


def _cell(
    folder: Path,
    checkpoint: Path,
    data: str | None,
    plan: str,
    arm: str,
    seed: int,
    samples: int,
    steps: int,
    sizes: dict[str, Any],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_plan(plan, checkpoint, sizes, folder / "plan.json")
    started, ended = (time.monotonic(), time.process_time()), None

    def watch(stage: str, done: int, total: int, /, **facts: object) -> None:
        nonlocal ended
        if ended is None and " model on " in stage:  # accuracies are measured from here on
            ended = (time.monotonic(), time.process_time())

    common = {"checkpoint": checkpoint, "plan": folder / "plan.json", "data": data, "out": folder / "packed"}
    common |= {"measure": 0, "progress": watch}
    if arm in FINETUNED:
        made = run_finalize(**common, settings=FinalizeSettings(**FINETUNED[arm], seed=seed))
    else:
        made = run_ptq(**common, settings=settings_of(arm, seed, samples, steps))
    accuracy = made.results.accuracy.summary()
    wall, cpu = (
        one - other for one, other in zip(ended or (time.monotonic(), time.process_time()), started, strict=True)
    )
    cell = {
        "model": checkpoint.stem,
        "plan": Path(plan).stem,
        "arm": arm,
        "seed": seed,
        "avg_bits": Plan.read(folder / "plan.json").totals.avg_bits,
        **{split: accuracy["plan"][split] for split in ("validation", "test")},
        **{f"float_{split}": accuracy["float"][split] for split in ("validation", "test")},
        **(_found(made.results.made()) if arm not in FINETUNED else {}),
        "seconds": wall,
        "cpu_seconds": cpu,
        "simulated": accuracy["simulated"],
    }
    write_atomic(folder / "cell.json", json.dumps(cell, indent=2) + "\n")


def _found(record: dict[str, Any]) -> dict[str, float]:
    """Return how far logits and blocks are from the float ones, and the share of weights not at the nearest level."""
    blocks = record["blocks"]
    return {
        "divergence": record["divergence_reestimated" if record["batchnorm_reestimated"] else "divergence"],
        "block_loss": sum(one["loss"] for one in blocks) / len(blocks),
        "flipped": _mean([layer["flipped"] for one in blocks for layer in one["layers"].values()]),
    }


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def gather(out: Path) -> pd.DataFrame:
    """Return all finished cells, the float model as a row of its own, with the gap recovered against AWQ's clips."""
    files = sorted(out.glob("*/*/*/*/cell.json"))
    frame = pd.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in files])
    cells = ["model", "plan", "seed"]
    base = frame[frame.arm == BASE].set_index(cells)
    for split in ("validation", "test"):
        known = [base[split].get(cell) for cell in frame[cells].itertuples(index=False, name=None)]
        gap = frame[f"float_{split}"] - pd.Series(known, index=frame.index, dtype=float)
        gained = frame[split] - pd.Series(known, index=frame.index, dtype=float)
        frame[f"recovered_{split}"] = gained / gap.where(gap > 0)
    order = {arm: number for number, arm in enumerate((*ARMS, *FINETUNED))}
    return frame.sort_values(
        ["plan", "arm", "model", "seed"], key=lambda column: column.map(order) if column.name == "arm" else column
    )


if __name__ == "__main__":
    typer.run(main)
