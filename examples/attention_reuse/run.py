"""Attention that reuses: accuracy against energy, delay and area on arrays, beside what is simpler.

python examples/attention_reuse/run.py examples/zoo/n-mnist-spikformer-deep.safetensors --data n-mnist:DIR
python examples/attention_reuse/run.py CKPT --data SPEC --counts 0,3 --seeds 0 --arms reuse,skip,shallow

Arms, all finetuned for --epochs on samples in one order, with the checkpoint as their teacher; n of --counts:

- ``reuse``: the best of the patterns after training each on a share of the data. n = 0 is the checkpoint itself,
  finetuned for as many epochs as the others.
- ``random``: n blocks drawn by the seed, each reusing the one before.
- ``skip``: the blocks of the arm ``reuse``, whose attentions are gone without anything in their place (PIVOT).
- ``shallow``: the checkpoint's first blocks, as many as are no slower than n
  reusing ones are predicted to be.

Every cell packs its model in --scheme, rounded to nearest, evaluates it on --chips chips of the target with noise of
writing and reading, and counts its energy, delay and area. A cell that is finished is skipped, and one that was cut off
goes on. The test split is used once a cell; nothing is chosen by the CSV.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from attention_reuse.training import finetune
from cells import cell, say, write_table

import snnq
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.hardware.crossbars.chosen import Arrays
from snnq.models.registry import build
from snnq.network.products import Products
from snnq.reusing.costing import OnArrays, Variant
from snnq.reusing.records import ReusePattern, ReusePlan, read_reuse_plan
from snnq.structure.edits import EDITS, Edit, apply_edits

ARMS = ("reuse", "random", "skip", "shallow")
NAME, BY = "attention_reuse", ("model", "seed", "count", "arm")
SKIPPED = "skipped"


class Nothing(nn.Module):
    """An attention that adds nothing to its block's input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros like x."""
        return torch.zeros_like(x)


def skip(model: nn.Module, attentions: Sequence[str]) -> nn.Module:
    """Return the model without these attentions."""
    for name in attentions:
        model.set_submodule(name, Nothing())
    return model


def left(products: Sequence[Products], attentions: Sequence[str]) -> tuple[Products, ...]:
    """Return the products of the other attentions."""
    return tuple(one for one in products if one.name not in attentions)


def register() -> None:
    """Make the edit of the control known; what has no graph of its own runs packed in floating point."""
    if SKIPPED not in EDITS:
        why = "attentions were left out by an experiment"
        snnq.register_edit(Edit(SKIPPED, skip, lambda attentions: f"{len(attentions)} skipped", why, mixing=left))


@dataclass(frozen=True)
class Setting:
    """A checkpoint and its data, a seed, and how everything is trained and measured."""

    checkpoint: str
    data: str | None
    out: Path
    seed: int
    epochs: int
    partial: float
    target: str
    scheme: str
    chips: int
    samples: int | None
    write_noise: float
    read_noise: float
    adc_range: str

    @property
    def folder(self) -> Path:
        """Where the cells of the checkpoint and seed lie."""
        return self.out / Path(self.checkpoint).stem / str(self.seed)

    def run(self, arm: str, count: int) -> None:
        """Make a cell, unless it is there, and print it."""
        say(cell(self.folder / str(count) / arm, lambda place: self._made(arm, count, place)), *BY)
        write_table(self.out, NAME, BY)

    def _words(self, **more: Any) -> dict[str, Any]:
        return {"data": self.data, "seed": self.seed, "progress": snnq.silent, **more}

    def _made(self, arm: str, count: int, folder: Path) -> dict[str, Any]:
        start = time.monotonic()
        make = {"reuse": self._reuse, "random": self._random, "skip": self._skip, "shallow": self._shallow}[arm]
        file, facts = make(count, folder)
        said = {"model": Path(self.checkpoint).stem, "seed": self.seed, "count": count, "arm": arm}
        said |= facts | self._on_arrays(file, folder / "packed")
        return said | {"epochs": self.epochs, "target": self.target, "seconds": time.monotonic() - start}

    def _plan(self, count: int, folder: Path) -> ReusePlan:
        file = folder / "reuse.json"
        if file.exists():
            return read_reuse_plan(file)
        folder.mkdir(parents=True, exist_ok=True)
        return snnq.reuse_plan(self.checkpoint, target=self.target, blocks=count, out=file, progress=snnq.silent)

    def _reuse(self, count: int, folder: Path) -> tuple[Path, dict[str, Any]]:
        plan = self._plan(count, folder)
        if not count:
            return self._finetuned(load_model(open_checkpoint(self.checkpoint)), folder)
        return self._trained(folder, plan)

    def _random(self, count: int, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Train a plan of one pattern whose blocks are drawn."""
        plan = self._plan(count, folder)
        names = plan.attentions
        drawn = sorted(random.Random(self.seed).sample(range(1, len(names)), count))
        attentions = {names[place]: names[place - 1] for place in drawn}
        arrays = Arrays(self.target)
        (costs,) = OnArrays(arrays, arrays.chip()).costs([Variant(open_checkpoint(self.checkpoint), attentions)])
        one = ReusePattern(pattern="random", attentions=attentions, costs=costs)
        replaced = plan.model_copy(update={"candidates": (one,)})
        replaced.write(folder / "reuse.json", force=True)
        return self._trained(folder, replaced)

    def _trained(self, folder: Path, plan: ReusePlan) -> tuple[Path, dict[str, Any]]:
        file = folder / "reused.safetensors"
        words = self._words(partial=self.partial, epochs=self.epochs, plan=folder / "reuse.json", out=file)
        made = snnq.reuse_train(self.checkpoint, **words)
        facts = {"pattern": made.pattern, "attentions": " ".join(made.attentions), "predicted_ns": made.costs.delay_ns}
        facts |= {"validation": made.after.validation, "test": made.after.test}
        return file, facts | {"trials": len(made.tried), "patterns": len(plan.candidates)}

    def _skip(self, count: int, folder: Path) -> tuple[Path, dict[str, Any]]:
        trained = self.folder / str(count) / "reuse" / "reused.safetensors"
        if not trained.exists():
            raise typer.BadParameter("the arm 'skip' needs the cell of 'reuse' of the same count")
        attentions = list(open_checkpoint(trained).config["structure"][0]["attentions"])
        model = apply_edits(load_model(open_checkpoint(self.checkpoint)), [{"edit": SKIPPED, "attentions": attentions}])
        return self._finetuned(model, folder, attentions=" ".join(attentions))

    def _shallow(self, count: int, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Take the deepest of the shallower networks that is no slower than ``count`` reusing blocks are predicted."""
        due = self._plan(count, folder).sweep[count].delay_ns or 0.0
        opened, file = open_checkpoint(self.checkpoint), folder / "start.safetensors"
        for depth in range(opened.config["depth"], 0, -1):
            model = build(opened.architecture, {**opened.config, "depth": depth})
            own = model.state_dict()
            model.load_state_dict({name: value for name, value in opened.state_dict.items() if name in own})
            save_checkpoint(file, model, architecture=opened.architecture, facts={})
            if snnq.imc_report(file, target=self.target).mapped.latency_ns <= due:
                return self._finetuned(model, folder, depth=depth)
        raise typer.BadParameter("no shallower network is as fast")

    def _finetuned(self, model: nn.Module, folder: Path, **facts: Any) -> tuple[Path, dict[str, Any]]:
        file = folder / "finetuned.safetensors"
        after = finetune(self.checkpoint, self.data, model, file, seed=self.seed, epochs=self.epochs)
        return file, {**facts, "validation": after.validation, "test": after.test}

    def _on_arrays(self, file: Path, packed: Path) -> dict[str, Any]:
        """Return what a model takes on the target, and how right it is there, packed, with and without noise."""
        counted = snnq.imc_report(file, target=self.target).mapped
        facts: dict[str, Any] = {
            "energy_pj": counted.total_pj,
            "delay_ns": counted.latency_ns,
            "area_um2": counted.total_um2,
            "edap": counted.edap,
            "cells_written": sum(part.counts.cell_writes for part in counted.attentions),
        }
        words = {"data": self.data, "seed": self.seed, "progress": snnq.silent}
        snnq.ptq(file, scheme=self.scheme, method="rtn", out=packed, **words)
        noise = {"write_noise": self.write_noise, "read_noise": self.read_noise, "adc_range": self.adc_range}
        words |= {**noise, "chips": self.chips, "samples": self.samples, "out": packed.parent / "chips.json"}
        found = snnq.imc_eval(packed, target=self.target, **words)
        return facts | {"packed_test": found.digital_accuracy, "noisy_test": found.mean, "noisy_sd": found.sd, **noise}


def main(
    checkpoint: Annotated[str, typer.Argument(help="A float checkpoint of several blocks.")],
    data: Annotated[str | None, typer.Option(help="Data spec, where the checkpoint names none.")] = None,
    out: Annotated[Path, typer.Option(help="Where cells and attention_reuse.csv go.")] = Path("attention-reuse"),
    counts: Annotated[str, typer.Option(help="How many blocks reuse.")] = "0,1,2,3,4,5",
    arms: Annotated[str, typer.Option(help="Arms, separated by commas.")] = ",".join(ARMS),
    seeds: Annotated[str, typer.Option()] = "0,1,2",
    epochs: Annotated[int, typer.Option(help="Of finetuning, the same for every arm.")] = 8,
    partial: Annotated[float, typer.Option(help="Share of the samples on which patterns are compared.")] = 0.2,
    target: Annotated[str, typer.Option(help="Arrays.")] = "trex-32nm",
    scheme: Annotated[str, typer.Option(help="Number format of the weights on arrays.")] = "uniform-8",
    chips: Annotated[int, typer.Option(help="Chips with noise of their own.")] = 10,
    samples: Annotated[int | None, typer.Option(help="Test samples on arrays; all by default.")] = None,
    write_noise: Annotated[float, typer.Option()] = 0.2,
    read_noise: Annotated[float, typer.Option()] = 0.1,
    adc_range: Annotated[str, typer.Option(help="granular, max or calibrated.")] = "calibrated",
) -> None:
    """Run the cells seed by seed, print one line each, and write <out>/attention_reuse.csv."""
    chosen = arms.split(",")
    if unknown := set(chosen) - set(ARMS):
        raise typer.BadParameter(f"no arm is called {', '.join(sorted(unknown))}: there are {', '.join(ARMS)}")
    register()
    for seed in map(int, seeds.split(",")):
        noise = (write_noise, read_noise, adc_range)
        setting = Setting(checkpoint, data, out, seed, epochs, partial, target, scheme, chips, samples, *noise)
        for count in map(int, counts.split(",")):
            for arm in (one for one in ARMS if one in chosen and (count or one == "reuse")):
                setting.run(arm, count)


if __name__ == "__main__":
    typer.run(main)
