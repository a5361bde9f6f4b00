"""What all time steps at once save on this machine, and what zeros save in bytes and simulated cycles.

python examples/sparsity/times.py
python examples/sparsity/times.py --models spikformer-cifar10dvs:dim=64,image_size=34 --steps 1,4 --sparsities 0,0.9

Untrained models (``snnq bench runtime``), the smallest weights of every layer but the first and the head zero, on the
test frames of --data. A cell runs the integer engine on one thread with one sample: the whole run at once, and step by
step (``engine.stream()``), by non-zero weights where that pays and by looked-up sums alone; the logits are the same bit
for bit, or it stops. Times are processor time: medians of --repeats, in turns. Bytes and cycles are those of one
simulated sample: the inputs of all layers as bits, as lists of each step (CSR) and as LoAS's fibres of T-bit words; the
weights as codes, as a bitmask and the codes that are not zero, and the packed file; and cycles of three machines.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cells import cell, write_table

import snnq
from snnq import console
from snnq.bench.reference import read_architecture, write_reference
from snnq.data import open_data
from snnq.hardware.machine import MACHINES, read_machine
from snnq.hardware.traffic import weight_bits
from snnq.network.layers import frames_shape
from snnq.packed.arrays import open_arrays
from snnq.runtime import Engine

NAME, BY = "times", ("model", "sparsity", "steps")
MODELS = "spikformer-cifar10dvs:dim=64,heads=4,image_size=34;spikformer-cifar10dvs:image_size=64"
CALIBRATION = 4  # samples that set the normalisations


@dataclass(frozen=True)
class Cell:
    """One model, number of steps and sparsity."""

    model: str
    data: str
    steps: int
    sparsity: float
    repeats: int

    def made(self, folder: Path) -> dict[str, Any]:
        """Return the cell's row."""
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed"
            one, config = read_architecture(f"{self.model},steps={self.steps}")
            _, _, height, width = frames_shape(config)
            samples = open_data(self.data, steps=self.steps, image_size=(height, width))
            frames = samples.train.__getitems__(range(CALIBRATION))[0]
            write_reference(packed, frames, one, config, self.sparsity)
            said = {"model": self.model, "steps": self.steps, "sparsity": self.sparsity}
            times = self._times(packed, np.asarray(samples.test.frames)[:1])
            return said | times | self._weights(packed) | self._machines(packed, Path(scratch))

    def _times(self, packed: Path, frames: np.ndarray) -> dict[str, Any]:
        """Return milliseconds of processor time at once and step by step, by weights and by looked-up sums."""
        engines = {"": Engine(packed, 1), "tables_": Engine(packed, 1)}
        looked = {name: replace(one, sparse=None) for name, one in engines["tables_"].layers.items()}
        engines["tables_"].layers = looked
        runs: dict[str, Callable[[], np.ndarray]] = {}
        for name, engine in engines.items():
            runs |= {f"{name}whole": lambda engine=engine: engine(frames)}
            runs |= {f"{name}stepped": lambda engine=engine: stepped(engine, frames)}
        due = runs["whole"]()
        for name, run in runs.items():
            if not np.array_equal(run(), due):
                raise SystemExit(f"{self}: {name} gives other logits")
            run()
        seconds = in_turns(runs, self.repeats)
        found: dict[str, Any] = {f"{name}_ms": 1000 * statistics.median(took) for name, took in seconds.items()}
        found["stepped_over_whole"] = ratio(seconds["stepped"], seconds["whole"])
        found["tables_over_whole"] = ratio(seconds["tables_whole"], seconds["whole"])
        return found | {"by_weights": sum(one.sparse is not None for one in engines[""].layers.values())}

    def _weights(self, packed: Path) -> dict[str, float]:
        """Return the bytes of all layers' weights in three formats; the file has norms and scales, too."""
        arrays, machine = open_arrays(packed), read_machine("loas")
        dense = masked = count = zeros = 0
        for name, layer in arrays.config.quantization_config.layers.items():
            weight = arrays.scheme(name).weight(arrays.stored(name))
            dense += weight.size * layer.bits
            masked += weight_bits(machine, (weight != 0).T, int(layer.bits))
            count, zeros = count + weight.size, zeros + int((weight == 0).sum())
        file = (packed / "model.safetensors").stat().st_size
        return {"zeros": zeros / count, "codes_bytes": dense / 8, "mask_bytes": masked / 8, "file_bytes": file}

    def _machines(self, packed: Path, scratch: Path) -> dict[str, float]:
        """Return bytes of all layers' inputs in three formats, and cycles."""
        wide = scratch / "wide.toml"  # LoAS's words of all steps: for their bytes alone
        text = (MACHINES / "loas.toml").read_text(encoding="utf-8")
        wide.write_text(text.replace("lanes = 4", f"lanes = {self.steps}", 1), encoding="utf-8")
        words = {"data": self.data, "split": "test", "samples": 1, "progress": snnq.silent}
        loas, sparten, gamma, fibres = snnq.accel(packed, target=["loas", "sparten", "gamma", wide], **words).machines
        found = {"spikes_bits_bytes": sparten.total.spike_bytes, "spikes_csr_bytes": gamma.total.spike_bytes}
        found |= {"spikes_fibre_bytes": fibres.total.spike_bytes, "loas_exposed_cycles": loas.total.exposed_cycles}
        return found | {f"{one.machine}_cycles": one.total.cycles for one in (loas, sparten, gamma)}


def stepped(engine: Engine, frames: np.ndarray) -> np.ndarray:
    """Return the logits of a run of one step after the other."""
    stream = engine.stream()
    return [stream.step(frames[:, step]) for step in range(frames.shape[1])][-1]


def in_turns(runs: dict[str, Callable[[], np.ndarray]], repeats: int) -> dict[str, list[float]]:
    """Return the processor time of every repeat, in seconds: A B C A B C …."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begun = time.process_time()
            run()
            seconds[name].append(time.process_time() - begun)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of paired ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def main(
    models: Annotated[str, typer.Option(help="Architectures, separated by semicolons.")] = MODELS,
    data: Annotated[str, typer.Option(help="Where frames come from.")] = "digits,limit=16+16+16",
    steps: Annotated[str, typer.Option()] = "1,2,4,8,16",
    sparsities: Annotated[str, typer.Option()] = "0,0.8,0.9,0.95,0.98",
    repeats: Annotated[int, typer.Option(min=3)] = 21,
    out: Annotated[Path, typer.Option(help="Where cells and times.csv go.")] = Path("sparsity"),
) -> None:
    """Run all cells that are not there yet, print one line each, and write <out>/times.csv."""
    for number, model in enumerate(models.split(";")):
        for count in map(int, steps.split(",")):
            for sparsity in map(float, sparsities.split(",")):
                one = Cell(model, data, count, sparsity, repeats)
                row = cell(out / NAME / str(number) / f"{count}-{sparsity:g}", one.made)
                took = f"{row['whole_ms']:.2f} ms at once, {row['stepped_ms']:.2f} step by step"
                console.note(f"{model} T={count} {sparsity:g}: {took}; by sums {row['tables_whole_ms']:.2f}")
                write_table(out / NAME, NAME, BY)


if __name__ == "__main__":
    typer.run(main)
