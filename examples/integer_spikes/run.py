"""Integer spikes 0 … D in T steps, at equal T · D binary sub-steps: float models, then packed ones, a cell each.

python examples/integer_spikes/run.py digits
python examples/integer_spikes/run.py images:cifar-10-batches-bin --size image_size=32,dim=64,depth=4,heads=4

A finished cell is skipped, and one that was cut off goes on. The CSV gives accuracy and loss on validation of the float
model and of each packed one, the paper's energy per inference (its multiplications count sub-steps, its weights are
fetched every step), synaptic operations as measured, and how far whole numbers are from floating point. Accuracies on
the test split lie in the packed folders and are not looked at here.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from snnq import console
from snnq.base.errors import UsageError
from snnq.base.files import write_atomic
from snnq.packing.record import Results
from snnq.plan import Plan
from snnq.reconstructing.run import ptq as run_ptq

TRAIN = Path(__file__).resolve().parents[1] / "train_float.py"
ARCHITECTURE = "sdt-v3-imagenet"


def main(
    data: Annotated[str, typer.Argument(help="Data spec.")] = "digits",
    out: Annotated[Path, typer.Option(help="Where cells and integer-spikes.csv go.")] = Path("integer-spikes"),
    cells: Annotated[str, typer.Option(help="TxD, separated by commas.")] = "4x1,2x2,1x4",
    schemes: Annotated[str, typer.Option(help="Of every layer, separated by commas.")] = "uniform-4,uniform-2",
    seeds: Annotated[str, typer.Option(help="Paired: every cell has them.")] = "0,1,2",
    size: Annotated[
        str, typer.Option(help="Sizes of the model, without steps and substeps.")
    ] = "image_size=32,dim=32,depth=2,heads=4,width1=16,width2=24,width3=32",
    epochs: Annotated[int, typer.Option(help="Of every float model.")] = 10,
) -> None:
    """Run the cells, print one line each, and write <out>/integer-spikes.csv."""
    pairs = [_pair(cell) for cell in cells.split(",")]
    for seed, (steps, most), scheme in product(map(int, seeds.split(",")), pairs, schemes.split(",")):
        folder = out / f"{steps}x{most}" / str(seed)
        done = folder / scheme / "cell.json"
        if not done.exists():
            cell = _cell(folder, data, f"{size},steps={steps},substeps={most}", scheme, seed, epochs)
            write_atomic(done, json.dumps({"steps": steps, "substeps": most, **cell}, indent=2) + "\n")
        found = json.loads(done.read_text(encoding="utf-8"))
        console.note(
            f"T = {steps}, D = {most}, seed {seed}, {scheme}: validation {found['validation']:.4f} (float "
            f"{found['float']:.4f}), {found['energy_nj']:.1f} nJ, logits {found['distance']} from floating point"
        )
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*/*/*/cell.json"))]
    pd.DataFrame(rows).to_csv(out / "integer-spikes.csv", index=False, float_format="%.6g")


def _pair(cell: str) -> tuple[int, int]:
    steps, _, most = cell.partition("x")
    if not (steps.isdigit() and most.isdigit() and int(steps) and int(most)):
        raise UsageError(f"--cells {cell}: a cell is TxD, such as 2x4")
    return int(steps), int(most)


def _cell(folder: Path, data: str, size: str, scheme: str, seed: int, epochs: int) -> dict[str, object]:
    """Train a float model, unless it is there, and pack it; return what came out."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "float.safetensors"
    if not checkpoint.exists():
        words = ["--architecture", ARCHITECTURE, "--size", size, "--epochs", str(epochs), "--seed", str(seed)]
        subprocess.run([sys.executable, str(TRAIN), data, *words, "--out", str(checkpoint)], check=True)
    made = run_ptq(str(checkpoint), scheme=scheme, out=folder / scheme / "packed")
    return {"scheme": scheme, "seed": seed, **_measured(made.folder, made.results)}


def _measured(folder: Path, results: Results) -> dict[str, object]:
    """Return a packed model's figures; energy in nJ and synaptic operations per inference and sample."""
    accuracy, far = results.accuracy, results.float_distance
    plan = Plan.read(folder / "plan.json")
    assert results.activity is not None
    operations = (one.synaptic_operations for one in results.activity.plan.layers)
    return {
        "float": accuracy.float_model.validation,
        "float_loss": accuracy.float_model.validation_loss,
        "validation": accuracy.plan.validation,
        "loss": accuracy.plan.validation_loss,
        "energy_nj": plan.totals.energy_pj * int(plan.model.config["steps"]) / 1000,
        "synaptic_operations": math.fsum(math.fsum(steps) for steps in operations),
        "distance": far.logits if far else None,
        "same": far.same if far else None,
    }


if __name__ == "__main__":
    typer.run(main)
