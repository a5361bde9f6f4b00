"""Frozen packed backbones that meet a stream of new classes: linear heads, prompts in one stage and in two, finetuning.

python examples/adapters/run.py examples/zoo/fashion-spikformer.safetensors --data fashion-mnist:DIR --stream digits
python examples/adapters/run.py digits --stream letters,limit=520 --backbones uniform-4 --arms lda,head,os,coda

A cell is a backbone, an arm and an order of the classes; one that is finished is skipped, and one that was cut off goes
on. A backbone is the checkpoint, finetuned and packed with one scheme in every layer (coded storage). Nothing is chosen
by the test split, on which all accuracies are.
"""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from arms import ARMS, words_of

import snnq
from snnq import console
from snnq.base.files import write_atomic

METRICS = ("final_average_accuracy", "average_incremental_accuracy", "forgetting", "forgetting_by_step")


def main(
    checkpoint: Annotated[str, typer.Argument(help="A float checkpoint, or 'digits'.")],
    data: Annotated[str | None, typer.Option(help="What it was trained on, where the checkpoint names none.")] = None,
    stream: Annotated[str, typer.Option(help="Data of the new classes.")] = "digits",
    tasks: Annotated[str, typer.Option(help="As for snnq adapt fit.")] = "classes:2",
    out: Annotated[Path, typer.Option(help="Where backbones, cells and adapters.csv go.")] = Path("adapters"),
    backbones: Annotated[str, typer.Option(help="Schemes, separated by commas.")] = "float32,uniform-4,uniform-2",
    arms: Annotated[str, typer.Option(help="Arms, separated by commas.")] = ",".join(ARMS),
    orders: Annotated[str, typer.Option(help="Orders of the classes.")] = "0,1,2",
    epochs: Annotated[int, typer.Option(help="Of every task.")] = 20,
    learning_rate: Annotated[float, typer.Option(help="Of all but finetuning.")] = 5e-3,
    backbone_epochs: Annotated[int, typer.Option(help="Of finetuning each backbone.")] = 5,
    pool: Annotated[int, typer.Option()] = 50,
    length: Annotated[int, typer.Option()] = 8,
    blocks: Annotated[str, typer.Option(help="Attentions with prompts.")] = "0-1",
    measure: Annotated[int, typer.Option(help="Test samples whose events and times are measured.")] = 16,
) -> None:
    """Run the cells order by order, print one line each, and write <out>/adapters.csv."""
    prompts, rate = {"pool": pool, "length": length, "blocks": blocks}, {"learning_rate": learning_rate}
    for order, scheme, arm in product(map(int, orders.split(",")), backbones.split(","), arms.split(",")):
        folder, place = _backbone(checkpoint, data, scheme, backbone_epochs, out), out / scheme / arm / str(order)
        if not (place / "cell.json").exists():
            words = rate | words_of(arm, tasks, prompts)
            made = _cell(folder, arm, stream, order, epochs, words, place, measure)
            write_atomic(place / "cell.json", json.dumps({"backbone": scheme, **made}, indent=2) + "\n")
        cell = json.loads((place / "cell.json").read_text(encoding="utf-8"))
        console.note(
            f"{scheme} {arm} order {order}: A_N {cell['class_final_average_accuracy']:.4f} "
            f"(told the task: {cell['task_final_average_accuracy']:.4f}), {cell['adapter_bytes']:,} bytes"
        )
        gather(out).to_csv(out / "adapters.csv", index=False, float_format="%.6g")


def _cell(folder, arm, stream, order, epochs, words, place, measure) -> dict[str, object]:
    """Learn a cell's adapter, evaluate it, and return what came out."""
    begun = time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    out = place / "adapter.safetensors"
    made = snnq.adapt_fit(folder, data=stream, order=order, epochs=epochs, out=out, progress=snnq.silent, **words)
    (scored,) = snnq.adapt_eval(folder, out, measure=measure, progress=snnq.silent).adapters
    facts: dict[str, object] = {"arm": arm, "order": order, "epochs": epochs, **_facts(made, scored)}
    return facts | {"seconds": time.monotonic() - begun}


def _backbone(checkpoint: str, data: str | None, scheme: str, epochs: int, out: Path) -> Path:
    """Return the packed folder of a scheme, made where it is not there."""
    folder = out / scheme / "packed"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        plan = snnq.uniform_plan(scheme, checkpoint=checkpoint)
        plan.write(folder.parent / "plan.json", force=True)
        snnq.finalize(
            folder.parent / "plan.json", data=data, epochs=epochs, measure=0, out=folder, progress=snnq.silent
        )
    return folder


def _facts(made, scored) -> dict[str, object]:
    """Return a cell's metrics for both ways to choose a class, and what it cost."""
    ways = (("class", made.metrics["class_incremental"]), ("task", made.metrics["task_incremental"]))
    drift = made.facts.drift
    return {
        **{f"{way}_{name}": metrics[name] for way, metrics in ways for name in METRICS},
        "adapter_bytes": made.adapter_bytes,
        "model_bytes": made.model_bytes,
        "inference_macs": made.macs["all_macs"],
        "of_one_pass": made.macs["of_one_pass"],
        "training_macs": made.training["sample"],
        "synaptic_operations": scored.synaptic_operations,
        "backbone_operations": scored.backbone_operations,
        "milliseconds": scored.milliseconds,
        "backbone_milliseconds": scored.backbone_milliseconds,
        **{f"drift {one.module}": one.from_first[-1] for one in drift},
        "overlap": made.facts.overlap,
        "simulated": made.facts.simulated,
    }


def gather(out: Path) -> pd.DataFrame:
    """Return all finished cells as a table."""
    files = sorted(out.glob("*/*/*/cell.json"))
    frame = pd.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in files])
    return frame.sort_values(["backbone", "arm", "order"])


if __name__ == "__main__":
    typer.run(main)
