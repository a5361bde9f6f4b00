"""Attention that reuses: accuracy against energy, delay and area on arrays, beside what is simpler.

python examples/attention_reuse/run.py examples/zoo/n-mnist-spikformer-deep.safetensors --data n-mnist:DIR
python examples/attention_reuse/run.py CKPT --data SPEC --counts 0,3 --seeds 0 --arms reuse,skip,shallow

Arms, all finetuned for --epochs from the checkpoint, which is their teacher; of --counts n reusing blocks:

- ``reuse``: the best of the patterns after training each on a share of the data. n = 0 is the checkpoint itself,
  finetuned for as many epochs as the others.
- ``random``: n blocks drawn by the seed, each reusing the one before.
- ``skip``: the blocks of the arm ``reuse``, whose attentions are gone without anything in their place (PIVOT).
- ``shallow``: the first blocks of the checkpoint, as many as have a predicted delay nearest that of ``reuse``, from
  below where there is one, else the shallowest above.

Every cell packs its model in --scheme, rounded to nearest, and evaluates it on --chips chips of the target with noise of
writing and reading, and counts its energy, delay and area. A cell that is finished is skipped, and one that was cut off
goes on. The test split is used once a cell; nothing is chosen by the CSV.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import cell, say, write_table

import snnq
from snnq.checkpoints.opening import open_checkpoint, save_checkpoint
from snnq.models.registry import build
from snnq.network.products import Products
from snnq.reusing.records import Candidate, ReusePlan, read_reuse_plan
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
            return self._finetuned(self.checkpoint, folder)
        return self._trained(folder, plan)

    def _random(self, count: int, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Train a plan of one pattern whose blocks are drawn."""
        plan = self._plan(count, folder)
        names = plan.attentions
        drawn = sorted(random.Random(self.seed).sample(range(1, len(names)), count))
        one = Candidate(
            pattern="random", attentions={names[i]: names[i - 1] for i in drawn}, costs=plan.sweep[count]
        )
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
        file = self.folder / str(count) / "reuse" / "reused.safetensors"
        if not file.exists():
            raise typer.BadParameter("the arm 'skip' needs the cell of 'reuse' of the same count")
        attentions = list(open_checkpoint(file).config["structure"][0]["attentions"])
        opened = open_checkpoint(self.checkpoint)
        model = build(opened.architecture, opened.config)
        model.load_state_dict(opened.state_dict)
        start = folder / "skipped.safetensors"
        apply_edits(model, [{"edit": SKIPPED, "attentions": attentions}])
        save_checkpoint(start, model, architecture=opened.architecture, facts={"data": opened.data or ""})
        made, facts = self._finetuned(start, folder)
        return made, facts | {"attentions": " ".join(attentions)}

    def _shallow(self, count: int, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Take the deepest of the shallower networks that is no slower than ``count`` reusing blocks are predicted."""
        due = self._plan(count, folder).sweep[count].delay_ns or 0.0
        start = folder / "shallow.safetensors"
        depth = open_checkpoint(self.checkpoint).config["depth"]
        for fewer in range(depth, 0, -1):
            self._cut(fewer, start)
            if snnq.imc_report(start, target=self.target).mapped.latency_ns <= due:
                break
        made, facts = self._finetuned(start, folder)
        return made, facts | {"depth": fewer}

    def _cut(self, depth: int, file: Path) -> None:
        """Write the checkpoint's first ``depth`` blocks, its tokenizer and head."""
        opened = open_checkpoint(self.checkpoint)
        model = build(opened.architecture, {**opened.config, "depth": depth})
        own = model.state_dict()
        model.load_state_dict({name: value for name, value in opened.state_dict.items() if name in own})
        save_checkpoint(file, model, architecture=opened.architecture, facts={"data": opened.data or ""})

    def _finetuned(self, start: str | Path, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Finetune a float model as all others are: pruning to no sparsity is finetuning alone."""
        file = folder / "finetuned.safetensors"
        words = self._words(sparsity=0.0, rounds=1, epochs=self.epochs, out=file)
        made = snnq.prune(start, **words)
        return file, {"validation": made.after.validation, "test": made.after.test}
