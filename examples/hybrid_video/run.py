"""Which part of a clip each branch of a hybrid tells: what moves, and how; and which branch bears fewer bits.

python examples/hybrid_video/run.py /usr/share/datasets/fashion-mnist --out hybrid
python examples/hybrid_video/run.py /usr/share/datasets/fashion-mnist --out hybrid --arms '' --plans all --seeds 0

A cell is an arm (or a plan of the arm ``--planned``) and a seed; one that is finished is skipped, and one that was cut
off goes on. The best epoch is chosen on validation, and the test split is used once a cell. Clips are *simulated*.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from arms import ARMS, Arm
from cells import Setting, run_cell
from plans import ROWS, run_row

from snnq import console


def main(
    images: Annotated[Path, typer.Argument(help="Folder with Fashion-MNIST's four IDX files.")],
    out: Annotated[Path, typer.Option(help="Where cells and tables go.")] = Path("hybrid-video"),
    arms: Annotated[str, typer.Option(help="Arms, separated by commas.")] = ",".join(ARMS),
    plans: Annotated[str, typer.Option(help="Plans: all, or some of them; '' for none.")] = "",
    planned: Annotated[str, typer.Option(help="The arm, one with both branches, that plans are of.")] = "concat",
    seeds: Annotated[str, typer.Option()] = "0,1,2",
    limit: Annotated[str, typer.Option(help="Clips for training, validation and test.")] = "7000+1050+3500",
    epochs: Annotated[int, typer.Option(help="Of every arm.")] = 25,
    still_epochs: Annotated[int, typer.Option(help="Of the ResNet on still frames.")] = 15,
    finetune_epochs: Annotated[int, typer.Option(help="Of every plan.")] = 5,
    search_epochs: Annotated[int, typer.Option()] = 3,
) -> None:
    """Run the cells seed by seed, print one line each, and write <out>/arms.csv and <out>/plans.csv."""
    setting = Setting(images, limit, epochs, still_epochs, out)
    chosen, hybrid = [Arm.named(text) for text in arms.split(",") if text], Arm.named(planned)
    rows = ROWS if plans == "all" else tuple(row for row in plans.split(",") if row)
    for row in rows:
        if row not in ROWS:
            raise typer.BadParameter(f"no plan is called {row}: there is {', '.join(ROWS)}")
    for seed in map(int, seeds.split(",")):
        for arm in chosen:
            _say(arm.name, run_cell(setting, arm, seed))
            _gather(out, "float", "arm")
        for row in rows:
            run_cell(setting, hybrid, seed)
            _say(row, run_row(setting, hybrid.name, row, seed, finetune_epochs, search_epochs))
            _gather(out, "plans", "arm", "row")


def _say(name: str, cell: dict[str, float]) -> None:
    shares = ", ".join(f"{key} {cell[f'test_{key}']:.4f}" for key in ("joint", "appearance", "motion"))
    console.note(f"{name} seed {cell['seed']}: test {shares}, {cell['event_pj'] / 1e6:.3f} µJ a clip")


def _gather(out: Path, part: str, *keys: str) -> None:
    """Write a table of all finished cells of a part."""
    files = sorted((out / part).glob("*/*/cell.json"))
    frame = pd.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in files])
    name = {"float": "arms"}.get(part, part)
    frame.sort_values([*keys, "seed"]).to_csv(out / f"{name}.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    typer.run(main)
