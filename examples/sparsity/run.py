"""Two ways to zeros, at equal bytes: weights pruned by magnitude and weights trained to a rate; and what zeros save.

python examples/sparsity/run.py examples/zoo/n-mnist-sdt.safetensors --data n-mnist:DIR,limit=6000+1600+2000
python examples/sparsity/run.py digits --sparsities 0.8,0.9 --seeds 0

Arms of each sparsity s: ``pruned``, the float checkpoint pruned to s in rounds; ``masked-1`` and ``masked-2``, this one
without the spikes of neurons that fire so often or less (LoAS); ``pruned-2``, it with codes of 2 bits; ``rate`` and
``half-rate``, codes of 4 bits trained until their file is not larger than that of ``pruned-2``, from the checkpoint as
given and from one pruned to s / 2. ``float32``, ``ternary`` and ``binary`` are codes alone. Pruned ones are trained for
--epochs in every round, and for --epochs once more with their codes; the others for as many in all. A cell that is
finished is skipped, and one that was cut off goes on. Nothing is chosen by the CSV.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import cell, packed_facts, say, write_table

import snnq

ALONE = ("float32", "ternary", "binary")
ARMS = ("pruned", "masked-1", "masked-2", "pruned-2", "rate", "half-rate")
MACHINES = ("loas", "sparten", "gospa", "gamma")
NAME, BY = "sparsity", ("model", "seed", "sparsity", "arm")
# What `mask-silent` finetunes at most.
MASKED_EPOCHS = 5


@dataclass(frozen=True)
class Setting:
    """A checkpoint and its data, a seed, how long is finetuned, and how many samples are simulated."""

    checkpoint: str
    data: str | None
    out: Path
    seed: int
    epochs: int
    rounds: int
    samples: int

    @property
    def folder(self) -> Path:
        """Where the cells of the checkpoint and seed lie."""
        return self.out / Path(self.checkpoint).stem / str(self.seed)

    def run(self, arm: str, sparsity: float) -> None:
        """Make a cell, unless it is there, and print it; ``sparsity`` is 0 for codes alone."""
        say(cell(self.folder / f"{sparsity:g}" / arm, lambda place: self._made(arm, sparsity, place)), *BY)
        write_table(self.out, NAME, BY)

    def _made(self, arm: str, sparsity: float, folder: Path) -> dict[str, Any]:
        start, kind = time.monotonic(), arm.partition("-")[0]
        if arm == "pruned":
            facts = self._pruned(sparsity)
        elif kind == "masked":
            facts = self._masked(sparsity, int(arm.removeprefix("masked-")), folder / "masked.safetensors")
        else:
            facts = self._packed(arm, sparsity, folder / "packed")
        said = {"model": Path(self.checkpoint).stem, "seed": self.seed, "sparsity": sparsity, "arm": arm}
        return said | facts | {"epochs": self.epochs, "rounds": self.rounds, "seconds": time.monotonic() - start}

    def _words(self, **more: Any) -> dict[str, Any]:
        return {"data": self.data, "seed": self.seed, "progress": snnq.silent, **more}

    def checkpoint_at(self, sparsity: float) -> Path:
        """Return the checkpoint pruned to ``sparsity``, which is made the first time."""
        file = self.folder / f"pruned-{sparsity:g}.safetensors"
        if not file.exists():
            words = self._words(sparsity=sparsity, rounds=self.rounds, epochs=self.epochs)
            snnq.prune(self.checkpoint, out=file, **words)
        return file

    def _pruned(self, sparsity: float) -> dict[str, Any]:
        file = self.checkpoint_at(sparsity)
        # The same words again: the finished run says what came of it.
        words = self._words(sparsity=sparsity, rounds=self.rounds, epochs=self.epochs)
        made = snnq.prune(self.checkpoint, out=file, **words)
        facts = {"validation": made.after.validation, "test": made.after.test, "zeros": made.sparsity}
        return facts | self._firing(file)

    def _masked(self, sparsity: float, most: int, file: Path) -> dict[str, Any]:
        words = self._words(most=most, epochs=min(self.epochs, MASKED_EPOCHS))
        made = snnq.mask_silent(self.checkpoint_at(sparsity), out=file, **words)
        facts = {"validation": made.after.validation, "test": made.after.test, "changed": made.changed}
        facts |= {"masked_validation": made.validation_silenced, "masked_silent": made.silent_silenced}
        return facts | self._firing(file)

    def _packed(self, arm: str, sparsity: float, packed: Path) -> dict[str, Any]:
        start: str | Path = self.checkpoint
        if arm in ("pruned-2", "half-rate"):
            start = self.checkpoint_at(sparsity if arm == "pruned-2" else sparsity / 2)
        before = 0 if start != self.checkpoint else self.rounds
        words = self._words(epochs=self.epochs * (before + 1), measure=self.samples)
        if arm in ("rate", "half-rate"):
            peer = packed.parents[1] / "pruned-2" / "packed" / "model.safetensors"
            words["budget"] = [f"file-kib={peer.stat().st_size / 1024:.6f}"]
        scheme = {"pruned-2": "uniform-2", "rate": "uniform-4", "half-rate": "uniform-4"}.get(arm, arm)
        plan = packed.parent / "plan.json"
        plan.parent.mkdir(parents=True, exist_ok=True)
        snnq.uniform_plan(scheme, checkpoint=start).write(plan)
        snnq.finalize(plan, out=packed, **words)
        return packed_facts(packed) | self._firing(packed) | self._machines(packed)

    def _firing(self, path: Path) -> dict[str, float]:
        whole = snnq.profile(path, data=self.data, samples=self.samples, progress=snnq.silent).whole
        return {"density": whole.density, "silent": whole.silent, "once": whole.once}

    def _machines(self, packed: Path) -> dict[str, float]:
        """Return what simulated machines take, and the zeros of their layers, by weights."""
        words = {"data": self.data, "samples": min(self.samples, 8), "progress": snnq.silent}
        found = snnq.accel(packed, target=",".join(MACHINES), **words)
        weights = sum(one.weights for one in found.layers)
        dense = sum(one.weights * one.weight_density for one in found.layers)
        facts = {"zeros": 1 - dense / weights}
        for one in found.machines:
            facts |= {f"{one.machine}_cycles": one.total.cycles, f"{one.machine}_on_chip_pj": one.total.on_chip_pj}
        return facts


def main(
    checkpoint: Annotated[str, typer.Argument(help="A float checkpoint, or 'digits'.")],
    data: Annotated[str | None, typer.Option(help="Data spec, where the checkpoint names none.")] = None,
    out: Annotated[Path, typer.Option(help="Where cells and sparsity.csv go.")] = Path("sparsity"),
    sparsities: Annotated[str, typer.Option()] = "0.8,0.9,0.95,0.98",
    arms: Annotated[str, typer.Option(help="Arms, separated by commas.")] = ",".join((*ALONE, *ARMS)),
    seeds: Annotated[str, typer.Option()] = "0,1,2",
    epochs: Annotated[int, typer.Option(help="Of finetuning, and of each round of pruning.")] = 5,
    rounds: Annotated[int, typer.Option(help="Rounds of pruning.")] = 3,
    samples: Annotated[int, typer.Option(help="Validation samples whose spikes are counted.")] = 64,
) -> None:
    """Run the cells seed by seed, print one line each, and write <out>/sparsity.csv."""
    chosen = arms.split(",")
    if unknown := set(chosen) - {*ALONE, *ARMS}:
        raise typer.BadParameter(
            f"no arm is called {', '.join(sorted(unknown))}: there are {', '.join((*ALONE, *ARMS))}"
        )
    for seed in map(int, seeds.split(",")):
        setting = Setting(checkpoint, data, out, seed, epochs, rounds, samples)
        for arm in (one for one in ALONE if one in chosen):
            setting.run(arm, 0.0)
        for sparsity in map(float, sparsities.split(",")):
            for arm in (one for one in ARMS if one in chosen):
                setting.run(arm, sparsity)


if __name__ == "__main__":
    typer.run(main)
