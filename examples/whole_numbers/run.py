"""What whole numbers change: packed models of every architecture beside floating point with the same weights.

python examples/whole_numbers/run.py --out whole-numbers
python examples/whole_numbers/run.py 'examples/zoo/n-mnist-*.safetensors' --data n-mnist:DIR,limit=6000+1600+2000

A model is a pattern of checkpoint files, or of architectures: those are trained small on the data, for --epochs. Each
is packed by rounding (``snnq ptq``), once a scheme. A cell has the accuracy of the packed model in whole numbers and in
floating point on the whole test split, how many samples get another answer, and on 64 validation samples how many
spikes differ. Then torch, engine and numpy reference are compared on 64 test samples, logit by logit, and all spikes of
two; a difference ends the run. A cell that is finished is skipped. Nothing is chosen by the CSV.
"""

from __future__ import annotations

import subprocess
import sys
from fnmatch import fnmatchcase
from glob import glob
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

EXAMPLES = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(EXAMPLES))
from cells import cell, write_table  # noqa: E402

import snnq  # noqa: E402
from snnq import console  # noqa: E402
from snnq.base.errors import SnnqError, UsageError  # noqa: E402
from snnq.checkpoints.opening import open_checkpoint  # noqa: E402
from snnq.data import open_data  # noqa: E402
from snnq.models.registry import ARCHITECTURES  # noqa: E402
from snnq.network.wiring import FloatWiring  # noqa: E402
from snnq.packed.input import engine_frames  # noqa: E402
from snnq.runtime import Engine  # noqa: E402
from snnq.runtime.comparing import compare_engines  # noqa: E402
from snnq.runtime.reference import Reference  # noqa: E402
from snnq.training.evaluation import predict, score  # noqa: E402

SAMPLES, BATCH = 64, 32
# Blocks of the architectures in stages: as few as there can be.
SHALLOWEST = {"dvs": 2, "event": 2, "cifar10": 3, "imagenet": 4, "spikingjelly": 4}


def sizes_of(name: str) -> str:
    """Return small sizes of an architecture, for ``train_float.py --size``."""
    usual = ARCHITECTURES[name].default_config()
    family, _, layout = name.partition("-")
    depth = SHALLOWEST[layout.partition("-")[0]] if family in ("qkformer", "maxformer") else 1
    sizes = {"image_size": 32, "dim": 32, "heads": 4, "depth": depth, "steps": 1 if "substeps" in usual else 4}
    if "width1" in usual:
        sizes |= {"width1": 16, "width2": 24, "width3": 32}
    if "chunk" in usual:
        sizes["chunk"] = 2
    return ",".join(f"{key}={value}" for key, value in sizes.items())


def train(name: str, data: str, epochs: int, seed: int, out: Path) -> None:
    """Train an architecture in small sizes, unless its checkpoint is there."""
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        words = ["--architecture", name, "--size", sizes_of(name), "--epochs", str(epochs), "--seed", str(seed)]
        script = [sys.executable, str(EXAMPLES / "train_float.py"), data, *words, "--out", str(out)]
        subprocess.run(script, check=True, stdout=subprocess.DEVNULL)


def measured(checkpoint: str, data: str, scheme: str, seed: int, folder: Path) -> dict[str, Any]:
    """Pack a checkpoint, and return a cell; raises SnnqError where two engines differ."""
    packed = folder / "packed"
    made = snnq.ptq(checkpoint, scheme=scheme, data=data, seed=seed, measure=0, out=packed, progress=snnq.silent)
    config = open_checkpoint(checkpoint).config
    test = open_data(data, steps=config["steps"], image_size=tuple(config["image_size"])).test
    whole, floating = (predict(snnq.load_packed(packed, kind), test, BATCH) for kind in ("integer", "float"))
    chosen = [number * len(test) // SAMPLES for number in range(min(SAMPLES, len(test)))]
    agree(packed, engine_frames(test, chosen, Engine(packed).pixels), whole[0][chosen].numpy())
    far = made.results.float_distance
    assert far is not None
    return {
        "model": Path(checkpoint).stem,
        "scheme": scheme,
        "seed": seed,
        "weights": snnq.inspect(checkpoint).totals.weights,
        "float": made.results.accuracy.float_model.test,
        "whole": score(*whole).accuracy,
        "floating": score(*floating).accuracy,
        "other_answers": float((whole[0].argmax(1) != floating[0].argmax(1)).double().mean()),
        "other_spikes": far.spikes,
        "test_samples": len(test),
        "simulated": made.results.accuracy.simulated,
        "compared": len(chosen),
    }


def agree(packed: Path, frames: np.ndarray, due: np.ndarray) -> None:
    """Raise SnnqError unless engine and reference give torch's logits, and torch and engine the same spikes."""
    for kind in (Engine, Reference):
        if not np.array_equal(kind(packed)(frames), due):
            raise SnnqError(f"{packed}: {kind.__name__} and torch do not give the same logits")
    compare_engines(packed)


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Files or architectures, patterns of either.")] = None,
    data: Annotated[str, typer.Option(help="Data spec.")] = "digits",
    out: Annotated[Path, typer.Option(help="Where cells and whole_numbers.csv go.")] = Path("whole-numbers"),
    schemes: Annotated[str, typer.Option(help="Of every layer, separated by commas.")] = "uniform-4,uniform-2",
    seeds: Annotated[str, typer.Option(help="Of training small models, and of packing.")] = "0",
    epochs: Annotated[int, typer.Option(help="Of training small models.")] = 12,
) -> None:
    """Run the cells, print one line each, and write <out>/whole_numbers.csv."""
    names = [name for one in models or ["*"] for name in glob(one) or matching(one)]
    for seed, name, scheme in product(map(int, seeds.split(",")), names, schemes.split(",")):
        checkpoint = name
        if name in ARCHITECTURES:
            checkpoint = str(out / "trained" / str(seed) / f"{name}.safetensors")
            train(name, data, epochs, seed, Path(checkpoint))
        found = cell(
            out / Path(checkpoint).stem / scheme / str(seed),
            lambda folder, given=(checkpoint, data, scheme, seed): measured(*given, folder),
        )
        console.note(
            f"{found['model']} {scheme} {seed}: test {found['whole']:.4f} in whole numbers, {found['floating']:.4f} in "
            f"floating point; {found['other_answers']:.2%} other answers, {found['other_spikes']:.3%} other spikes"
        )
        write_table(out, "whole_numbers", ("model", "scheme", "seed"))


def matching(pattern: str) -> list[str]:
    """Return the architectures that match and run in whole numbers; raises UsageError where none does."""
    found = [
        name
        for name, one in ARCHITECTURES.items()
        if fnmatchcase(name, pattern) and not isinstance(one.wiring(one.default_config()), FloatWiring)
    ]
    if not found:
        raise UsageError(f"{pattern}: it is no file, and no architecture that runs in whole numbers")
    return found


if __name__ == "__main__":
    typer.run(main)
