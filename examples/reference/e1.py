"""E1: real recordings, N-MNIST's classes 0-7; a Spikformer of 163 k weights on 34×34 pixels.

python examples/reference/e1.py train9600.npz --out e1             # trains the float model first
python examples/reference/tables.py e1/E1.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from experiment import run_cells, train_float
from n_mnist_8 import convert
from rows import Setting

SIZES = {"steps": 4, "heads": 4, "image_size": (34, 34), "pooling": (True, True, True, True)}
FLOAT = ["--size", "image_size=34,steps=4,dim=64,depth=2,heads=4,pooling=1111"]


def main(
    file: Annotated[Path, typer.Argument(help="The recordings as one .npz (see n_mnist_8.py).")],
    out: Annotated[Path, typer.Option(help="Where recordings, cells and the CSV go.")] = Path("e1"),
    limit: Annotated[str, typer.Option(help="Samples of train + validation + test.")] = "6000+1600+2000",
    float_epochs: Annotated[int, typer.Option()] = 30,
    search_epochs: Annotated[int, typer.Option()] = 3,
    finetune_epochs: Annotated[int, typer.Option()] = 2,
    batch_size: Annotated[int, typer.Option()] = 64,
    seeds: Annotated[str, typer.Option()] = "0,1,2",
    rows: Annotated[str, typer.Option(help="Patterns of rows, separated by commas.")] = "*",
) -> None:
    """Run the experiment, or a share of it."""
    recordings = out / "recordings"
    if not recordings.exists():
        unfinished = out / "recordings.tmp"
        convert(file, unfinished)
        unfinished.rename(recordings)
    data, checkpoint = f"n-mnist:{recordings},limit={limit}", out / "float.safetensors"
    train_float(checkpoint, data, [*FLOAT, "--epochs", str(float_epochs), "--batch-size", str(batch_size)])
    setting = Setting(checkpoint, data, SIZES, search_epochs, finetune_epochs, batch_size)
    run_cells("E1", setting, out, [int(seed) for seed in seeds.split(",")], rows.split(","))


if __name__ == "__main__":
    typer.run(main)
