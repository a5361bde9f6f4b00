"""E2: Fashion-MNIST made into events (simulated), 10 classes, the whole test split; a Spikformer of 163 k weights.

python examples/reference/e2.py DIR --out e2                      # trains the float model first
python examples/reference/e2.py DIR --out e2 --rows 'paper-*'     # a share of the rows, in another process
python examples/reference/tables.py e2/E2.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from experiment import run_cells, train_float
from rows import Setting

SIZES = {"steps": 4, "heads": 4, "image_size": (28, 28), "pooling": (True, False, True, True)}
FLOAT = ["--size", "image_size=28,steps=4,dim=64,depth=2,heads=4,pooling=1011"]


def main(
    folder: Annotated[Path, typer.Argument(help="The folder with Fashion-MNIST's four IDX files.")],
    out: Annotated[Path, typer.Option(help="Where cells and the CSV go.")] = Path("e2"),
    limit: Annotated[str, typer.Option(help="Samples of train + validation + test.")] = "6000+2000+10000",
    float_epochs: Annotated[int, typer.Option()] = 30,
    search_epochs: Annotated[int, typer.Option()] = 3,
    finetune_epochs: Annotated[int, typer.Option()] = 2,
    batch_size: Annotated[int, typer.Option()] = 64,
    seeds: Annotated[str, typer.Option()] = "0,1,2",
    rows: Annotated[str, typer.Option(help="Patterns of rows, separated by commas.")] = "*",
) -> None:
    """Run the experiment, or a share of it."""
    data = f"fashion-mnist:{folder},limit={limit}"
    checkpoint = out / "float.safetensors"
    train_float(checkpoint, data, [*FLOAT, "--epochs", str(float_epochs), "--batch-size", str(batch_size)])
    setting = Setting(checkpoint, data, SIZES, search_epochs, finetune_epochs, batch_size)
    run_cells("E2", setting, out, [int(seed) for seed in seeds.split(",")], rows.split(","))


if __name__ == "__main__":
    typer.run(main)
