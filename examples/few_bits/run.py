"""Accuracy against bits, from half a bit a weight to four, every way to a plan after equal finetuning.

python examples/few_bits/run.py examples/zoo/n-mnist-spikformer.safetensors --data n-mnist:DIR,limit=6000+1600+2000
python examples/few_bits/run.py digits --arms 'free@1.0,uniform-2' --seeds 0,1,2 --epochs 15

A cell is a model, an arm and a seed; one that is finished is skipped, and one that was cut off goes on. Seeds are those
of the search and of the finetuning; the float model is finetuned as an arm of its own (``float32``). The CSV has
accuracies on validation and test, bits of plan and file, and the event energy; nothing is chosen by it.
"""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from arms import Arm

import snnq
from snnq import console
from snnq.base.files import write_atomic

ARMS = (
    "float32,uniform-4,uniform-3,uniform-2,ternary,binary,free@2.0,free@1.4,free@1.0,free@0.7,free@0.5,"
    "even@1.4,even@1.0,even@0.7,sensitivity@1.4,sensitivity@1.0,sensitivity@0.7,rate@1.4,rate@1.0,rate@0.7"
)


def main(
    checkpoint: Annotated[str, typer.Argument(help="A float checkpoint, or 'digits'.")],
    data: Annotated[str | None, typer.Option(help="Data spec, where the checkpoint names none.")] = None,
    out: Annotated[Path, typer.Option(help="Where cells and few_bits.csv go.")] = Path("few-bits"),
    arms: Annotated[str, typer.Option(help="Arms, separated by commas.")] = ARMS,
    seeds: Annotated[str, typer.Option()] = "0,1,2",
    epochs: Annotated[int, typer.Option(help="Of finetuning, the same for every arm.")] = 8,
    search_epochs: Annotated[int, typer.Option()] = 3,
    measure: Annotated[int, typer.Option(help="Validation samples whose events are counted.")] = 64,
) -> None:
    """Run the cells seed by seed, print one line each, and write <out>/few_bits.csv."""
    name = Path(checkpoint).stem
    for seed, text in product(map(int, seeds.split(",")), arms.split(",")):
        folder, arm = out / name / text / str(seed), Arm.named(text)
        if not (folder / "cell.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            start = time.monotonic()
            plan = arm.plan(checkpoint, data, seed, search_epochs, folder)
            searched = time.monotonic()
            made = snnq.finalize(
                plan,
                data=data,
                seed=seed,
                epochs=epochs,
                measure=measure,
                out=folder / "packed",
                progress=snnq.silent,
                **arm.finetuning(),
            )
            cell = {"model": name, "arm": text, "seed": seed, "epochs": epochs, **_facts(folder / "packed")}
            cell |= {"simulated": made.results.accuracy.simulated, "search_seconds": searched - start}
            cell |= {"finetune_seconds": time.monotonic() - searched}
            write_atomic(folder / "cell.json", json.dumps(cell, indent=2) + "\n")
        cell = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
        console.note(
            f"{text} seed {seed}: {cell['plan_bits']:.3f} bits of plan, {cell['file_bits']:.3f} of file, "
            f"validation {cell['validation']:.4f}, test {cell['test']:.4f}"
        )
        gather(out).to_csv(out / "few_bits.csv", index=False, float_format="%.6g")


def _facts(packed: Path) -> dict[str, float]:
    """Return a packed folder's accuracies, its bits a weight by plan and file, and its event energy."""
    report = snnq.report(packed, progress=snnq.silent).to_dict()
    totals, accuracy = report["totals"], {one["model"]: one for one in report["accuracy"]}
    energy = report["event_energy"]
    return {
        **{split: accuracy["this plan"][split] for split in ("validation", "test")},
        **{f"float_{split}": accuracy["float"][split] for split in ("validation", "test")},
        "plan_bits": totals["avg_bits"],
        "file_bits": totals["file_avg_bits"],
        "file_bytes": report["disk"]["file_bytes"],
        "event_pj": energy["plan"]["total"]["energy_pj"],
        "float_event_pj": energy["float_model"]["total"]["energy_pj"],
    }


def gather(out: Path) -> pd.DataFrame:
    """Return all finished cells as a table."""
    files = sorted(out.glob("*/*/*/cell.json"))
    frame = pd.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in files])
    return frame.sort_values(["model", "arm", "seed"])


if __name__ == "__main__":
    typer.run(main)
