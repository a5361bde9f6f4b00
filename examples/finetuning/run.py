"""Ways to finetune at few bits, arm against arm: one cell a plan, arm and seed, paired by seed.

python examples/finetuning/run.py digits --plans uniform-2,uniform-4@1 --seeds 0,1,2
python examples/finetuning/run.py n-mnist-spikformer.safetensors --data n-mnist:DIR --epochs 4 --arms 'plain,times-*'

A finished cell is skipped and one that was cut off goes on. The CSV gives accuracy and loss on validation, by which
everything is chosen, of what is packed and as the mean of the last three epochs, and processor seconds. Accuracies on
the test split lie in the packed folders and are not looked at here.
"""

from __future__ import annotations

import json
import time
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import pandas as pd
import typer

from snnq import console
from snnq.base.files import write_atomic
from snnq.finalizing.run import finalize as run_finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.reconstructing.run import ptq as run_ptq
from snnq.searching.uniform import uniform_plan

# What differs from plain: knobs of FinalizeSettings, how many times as many epochs, and where training starts.
ARMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "times-1.5": {"times": 1.5},
    "times-2": {"times": 2},
    "times-4": {"times": 4},
    "peak-2": {"rate_peak": 2 * FinalizeSettings.rate_peak},
    "peak-4": {"rate_peak": 4 * FinalizeSettings.rate_peak},
    "labels-alone": {"distillation": 0.0},
    "teacher-0.9": {"distillation": 0.9},
    "heat-4": {"distillation_temperature": 4.0},
    "start-ptq": {"start": "ptq"},
}
LATE = 3


def main(
    checkpoint: Annotated[str, typer.Argument(help="A float checkpoint.")] = "digits",
    data: Annotated[str | None, typer.Option(help="Data spec, where the checkpoint names none.")] = None,
    out: Annotated[Path, typer.Option(help="Where cells and finetuning.csv go.")] = Path("finetuning"),
    plans: Annotated[str, typer.Option(help="Schemes, separated by commas.")] = "uniform-2,uniform-4@1",
    arms: Annotated[str, typer.Option(help="Patterns, separated by commas.")] = "*",
    seeds: Annotated[str, typer.Option(help="Paired: every arm has them.")] = "0,1,2",
    epochs: Annotated[int, typer.Option(help="Of the arm 'plain'.")] = FinalizeSettings.epochs,
) -> None:
    """Run the cells, print one line each, and write <out>/finetuning.csv."""
    chosen = [arm for arm in ARMS if any(fnmatchcase(arm, pattern) for pattern in arms.split(","))]
    for seed, arm, scheme in product(map(int, seeds.split(",")), chosen, plans.split(",")):
        folder = out / Path(checkpoint).stem / scheme / str(epochs) / arm / str(seed)
        if not (folder / "cell.json").exists():
            cell = _cell(folder, checkpoint, data, scheme, arm, seed, epochs)
            write_atomic(folder / "cell.json", json.dumps(cell, indent=2) + "\n")
        cell = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
        console.note(
            f"{scheme} {arm} seed {seed}: validation {cell['validation']:.4f} (late {cell['late']:.4f}), "
            f"loss {cell['loss']:.4f} (late {cell['late_loss']:.4f}), {cell['seconds']:.0f} s"
        )
    cells = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*/*/*/*/*/cell.json"))]
    pd.DataFrame(cells).to_csv(out / "finetuning.csv", index=False, float_format="%.6g")


def _cell(
    folder: Path, checkpoint: str, data: str | None, scheme: str, arm: str, seed: int, epochs: int
) -> dict[str, object]:
    """Finetune a plan of one scheme as an arm says; return what came out."""
    folder.mkdir(parents=True, exist_ok=True)
    knobs, plan = dict(ARMS[arm]), folder / "plan.json"
    uniform_plan(scheme, checkpoint=checkpoint).write(plan, force=True)
    common = {"checkpoint": checkpoint, "data": data, "measure": 0}
    start = folder / "ptq" if knobs.pop("start", None) else None
    if start is not None:
        run_ptq(plan=plan, out=start, **common)
    settings = FinalizeSettings(epochs=round(epochs * knobs.pop("times", 1)), seed=seed, **knobs)
    began = time.process_time()
    made = run_finalize(plan, start=start, out=folder / "packed", settings=settings, **common)
    history, accuracy = made.results.made()["history"], made.results.accuracy.summary()["plan"]
    late = history[-LATE:]
    return {
        "model": Path(checkpoint).stem,
        "plan": scheme,
        "epochs": epochs,
        "arm": arm,
        "seed": seed,
        "validation": accuracy["validation"],
        "loss": accuracy["validation_loss"],
        "late": mean(line["validation_accuracy"] for line in late),
        "late_loss": mean(line["validation_loss"] for line in late),
        "bits": history[-1].get("coded_bits"),
        "seconds": round(time.process_time() - began, 1),
    }


if __name__ == "__main__":
    typer.run(main)
