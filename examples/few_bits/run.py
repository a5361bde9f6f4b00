"""Accuracy against bits, from half a bit a weight to four, every way to a plan after equal finetuning.

python examples/few_bits/run.py examples/zoo/n-mnist-spikformer.safetensors --data n-mnist:DIR,limit=6000+1600+2000
python examples/few_bits/run.py digits --arms 'free@1.0,uniform-2' --seeds 0,1,2 --epochs 15

A cell is a model, an arm and a seed; one that is finished is skipped, and one that was cut off goes on. Seeds are those
of the search and of the finetuning; the float model is finetuned as an arm of its own (``float32``). The CSV has
accuracies on validation and test, bits of plan and file, and the event energy; nothing is chosen by it.
"""

from __future__ import annotations

import sys
import time
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import cell, packed_facts, say, write_table
from few_bits.arms import Arm

import snnq

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

    def make(folder: Path) -> dict[str, Any]:
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
        facts = {"model": name, "arm": text, "seed": seed, "epochs": epochs, **packed_facts(folder / "packed")}
        facts |= {"simulated": made.results.accuracy.simulated, "search_seconds": searched - start}
        return facts | {"finetune_seconds": time.monotonic() - searched}

    for seed, text in product(map(int, seeds.split(",")), arms.split(",")):
        arm = Arm.named(text)
        say(cell(out / name / text / str(seed), make), "arm", "seed", "plan_bits", "file_bits")
        write_table(out, "few_bits", ("model", "arm", "seed"))


if __name__ == "__main__":
    typer.run(main)
