"""Decompose, then quantise: what fewer weights cost in accuracy and take in time, and whether they help few bits.

python examples/decomposing/run.py examples/zoo/fashion-spikformer.safetensors --data fashion-mnist:DIR,limit=20000+…
python examples/decomposing/run.py digits --ratios 3 --seeds 0

Models: ``dense``, and each mode of `snnq decompose` at --ratios of its layers' weights; ``stt@loss3`` has ranks chosen
by measured losses. Arms of each: ``none``, as it is
made; ``short``, trained on for --epochs; ``scratch``, trained from nothing for --scratch-epochs; then from ``short``
``uniform-4`` and ``uniform-2``, finetuned for --epochs, and of the dense model ``as-MODEL``: codes of 4 bits trained
until their file is not larger than that of MODEL with ``uniform-4``, and ``pruned-MODEL``: as many of the smallest
weights at once zero that a bit for each and four bits for the others are that file again. So the dense model is trained
for as long as the others. A cell that is finished is skipped, and one that was cut off goes on. ``times.csv`` has a
training step and an inference of each model in turns. Nothing is chosen by the CSV.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import pandas as pd
import torch
import torch.nn.functional as F
import typer

EXAMPLES = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(EXAMPLES))
from cells import cell, packed_facts, say, write_table  # noqa: E402

import snnq  # noqa: E402
from snnq.bench.timing import median_ratio, time_in_turns  # noqa: E402
from snnq.checkpoints.opening import load_model, open_checkpoint  # noqa: E402
from snnq.data import open_data  # noqa: E402
from snnq.training.batchnorm import share_batchnorm  # noqa: E402
from snnq.training.quick_neurons import quicken  # noqa: E402

DENSE = "dense"
FLOAT, CODES = ("none", "short", "scratch"), ("uniform-4", "uniform-2")
NAME, BY = "decomposing", ("model", "seed", "form", "arm")


@dataclass(frozen=True)
class Setting:
    """A checkpoint and its data, a seed, and how long is trained."""

    checkpoint: str
    data: str
    out: Path
    seed: int
    epochs: int
    scratch_epochs: int

    @property
    def folder(self) -> Path:
        """Where the cells of the checkpoint lie."""
        return self.out / Path(self.checkpoint).stem

    def form(self, form: str) -> str:
        """Return the float model in a form such as ``ptt@3``, made the first time; of ``dense`` the one as given."""
        if form == DENSE:
            return self.checkpoint
        mode, _, rank = form.partition("@")
        file = self.folder / f"{form}.safetensors"
        if not file.exists():
            rank, measured = rank.removeprefix("loss"), {"data": self.data} if rank.startswith("loss") else {}
            kind = "loss" if measured else "ratio"
            snnq.decompose(self.checkpoint, mode=mode, rank=f"{kind}:{rank}", out=file, **measured)
        return str(file)

    def run(self, form: str, arm: str) -> None:
        """Make a cell, unless it is there, and print it."""
        say(cell(self.folder / form / arm / str(self.seed), lambda place: self._made(form, arm, place)), *BY)
        write_table(self.out, NAME, BY)

    def _made(self, form: str, arm: str, folder: Path) -> dict[str, Any]:
        start = time.monotonic()
        totals = snnq.inspect(self.form(form)).totals
        facts = {"model": Path(self.checkpoint).stem, "seed": self.seed, "form": form, "arm": arm}
        facts |= {"weights": totals.weights, "macs": totals.macs}
        if arm == "none":
            facts |= {split: self._accuracy(self.form(form), split) for split in ("validation", "test")}
        elif arm in FLOAT:
            facts |= self._train(form, arm, folder / "float.safetensors")
        else:
            facts |= self._packed(form, arm, folder / "packed")
        return facts | {"seconds": time.monotonic() - start}

    def _accuracy(self, path: str, split: str) -> float:
        return snnq.eval(path, data=self.data, split=split, progress=snnq.silent).accuracy

    def _train(self, form: str, arm: str, out: Path) -> dict[str, float]:
        words = [self.data, "--start", self.form(form), "--seed", str(self.seed), "--out", str(out)]
        scratch = ["--scratch", "--epochs", str(self.scratch_epochs), "--rate", "0.003"]
        words += scratch if arm == "scratch" else ["--epochs", str(self.epochs), "--rate", "0.001"]
        script = [sys.executable, str(EXAMPLES / "train_float.py"), *words, "--batch-size", "32"]
        said = json.loads(subprocess.run(script, check=True, stdout=subprocess.PIPE, text=True).stdout)
        return {split: said[f"{split}_accuracy"] for split in ("validation", "test")}

    def _packed(self, form: str, arm: str, packed: Path) -> dict[str, float]:
        start = self.folder / form / "short" / str(self.seed) / "float.safetensors"
        words: dict[str, Any] = {"data": self.data, "seed": self.seed, "epochs": self.epochs, "measure": 64}
        if arm.startswith("pruned-"):
            start = self._pruned(start, arm.removeprefix("pruned-"), packed.parent / "pruned.safetensors")
        if arm.startswith("as-"):
            peer = self.folder / arm.removeprefix("as-") / CODES[0] / str(self.seed) / "packed" / "model.safetensors"
            words["budget"] = [f"file-kib={peer.stat().st_size / 1024:.6f}"]
        plan = packed.parent / "plan.json"
        snnq.uniform_plan(arm if arm in CODES else CODES[0], checkpoint=start).write(plan)
        snnq.finalize(plan, out=packed, progress=snnq.silent, **words)
        return packed_facts(packed)

    def _pruned(self, start: Path, form: str, out: Path) -> Path:
        """Return the dense model with 4·n + N bits of weights, n of N not zero: those of ``form`` in 4 bits."""
        dense = snnq.inspect(start)
        free = sum(one.weights for one in dense.layers[1:-1])
        gone = dense.totals.weights * 1.25 - snnq.inspect(self.form(form)).totals.weights
        if not out.exists():
            words = {"sparsity": gone / free, "rounds": 0, "progress": snnq.silent}
            snnq.prune(start, data=self.data, out=out, **words)
        return out


def times(setting: Setting, forms: list[str], repeats: int) -> pd.DataFrame:
    """Return a training step and an inference of 32 samples, the models in turns: ms, and ratios to the dense one."""
    opened = {form: open_checkpoint(setting.form(form)) for form in forms}
    config = opened[DENSE].config
    data = open_data(setting.data, steps=config["steps"], image_size=tuple(config["image_size"]))
    frames = data.train.__getitems__(list(range(32)))
    steps: dict[str, Callable[[], object]] = {}
    for form, one in opened.items():
        steps[f"training {form}"] = _training(quicken(share_batchnorm(load_model(one))).train(), *frames)
        steps[f"inference {form}"] = _inference(load_model(one).eval(), frames[0])
    seconds = time_in_turns(steps, repeats)
    rows = [name.split() for name in steps]
    return pd.DataFrame(
        {
            "form": form,
            "what": what,
            "median_ms": 1000 * median(seconds[f"{what} {form}"]),
            "of_dense": median_ratio(seconds[f"{what} {form}"], seconds[f"{what} {DENSE}"]),
            "macs": snnq.inspect(setting.form(form)).totals.macs,
            "repeats": repeats,
        }
        for what, form in rows
    )


def _training(model: torch.nn.Module, frames: torch.Tensor, labels: torch.Tensor, *_: object) -> Callable[[], object]:
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(frames), labels).backward()
        optimizer.step()

    return step


def _inference(model: torch.nn.Module, frames: torch.Tensor) -> Callable[[], object]:
    return torch.no_grad()(lambda: model(frames))


def main(
    checkpoint: Annotated[str, typer.Argument(help="A float checkpoint, or 'digits'.")],
    data: Annotated[str, typer.Option(help="Data spec.")] = "digits",
    out: Annotated[Path, typer.Option(help="Where cells, decomposing.csv and times.csv go.")] = Path("decomposing"),
    modes: Annotated[str, typer.Option(help="Of `snnq decompose`.")] = "stt,ptt,htt,svd",
    ratios: Annotated[
        str, typer.Option(help="How many times fewer weights in decomposed layers; loss3: in all of them.")
    ] = "2,4,8",
    arms: Annotated[str, typer.Option(help="Arms, separated by commas.")] = ",".join((*FLOAT, *CODES)),
    seeds: Annotated[str, typer.Option()] = "0,1,2",
    epochs: Annotated[int, typer.Option(help="Of training on, and of finetuning.")] = 5,
    scratch_epochs: Annotated[int, typer.Option(help="Of training from nothing.")] = 24,
    repeats: Annotated[int, typer.Option(help="Of each time; 0: no times.")] = 20,
) -> None:
    """Run the cells seed by seed, print one line each, and write <out>/decomposing.csv and times.csv."""
    forms = [DENSE, *(f"{mode}@{ratio}" for mode, ratio in product(modes.split(","), ratios.split(",")))]
    for seed in map(int, seeds.split(",")):
        setting = Setting(checkpoint, data, out, seed, epochs, scratch_epochs)
        for form, arm in product(forms, arms.split(",")):
            setting.run(form, arm)
        for form in forms[1:] if CODES[0] in arms.split(",") else ():
            setting.run(DENSE, f"as-{form}")
            setting.run(DENSE, f"pruned-{form}")
    if repeats:
        times(Setting(checkpoint, data, out, 0, 0, 0), forms, repeats).to_csv(out / "times.csv", index=False)


if __name__ == "__main__":
    typer.run(main)
