"""Calibration data from many sources, cell against cell: what is a model worth that never saw the real ones?

python examples/calibration/run.py examples/zoo/n-mnist-spikformer.safetensors --data n-mnist:DIR,limit=6000+1600+2000
python examples/calibration/run.py … --sources real,noise,glyphs --methods quantease --bits 2,3 --samples 64,256

One cell a source, method, number of bits, number of samples and seed. A finished cell is skipped, a set is made once.
The CSV gives accuracy on the real test split, which nothing looked at before, the gap to real calibration data, and
the seconds that 1 000 samples took. ``qat`` finetunes the ``quantease`` cell from the float model alone; ``coded`` has
16 levels, of which an entropy coder stores as few bits as asked for.
"""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from sources import HELD_OUT, REAL, SOURCES, Place, data_of

import snnq
from snnq import console
from snnq.base.files import write_atomic

# Words of ``snnq.ptq``; rtn looks at no data: its grids are of the weights, its norms the float model's.
METHODS: dict[str, dict[str, Any]] = {
    "rtn": {"method": "rtn", "norms": "kept", "batchnorm": "off"},
    "quantease": {"method": "quantease"},
    "tesseraq": {"method": "tesseraq"},
    "coded": {"method": "quantease"},
    "sensitivity": {"method": "quantease"},
    "qat": {"method": "quantease"},
}
CELLS = ("source", "method", "bits", "n", "seed")


def main(
    checkpoint: Annotated[Path, typer.Argument(help="The float checkpoint that is quantised.")],
    data: Annotated[str, typer.Option(help="Its real data.")],
    made_for: Annotated[Path | None, typer.Option(help="Another checkpoint, with which sets are made.")] = None,
    classes: Annotated[str, typer.Option(help="Class names in the order of the outputs.")] = "0,1,2,3,4,5,6,7",
    other: Annotated[Path | None, typer.Option(help="IDX files of another real data set.")] = None,
    out: Annotated[Path, typer.Option(help="Where sets, cells and calibration.csv go.")] = Path("calibration"),
    sources: Annotated[str, typer.Option(help="Which sources.")] = ",".join(SOURCES),
    methods: Annotated[str, typer.Option(help="rtn, quantease, tesseraq, coded, sensitivity, qat.")] = "rtn,quantease",
    bits: Annotated[str, typer.Option(help="Bits of every layer; coded: the rate; sensitivity: the budget.")] = "2,3",
    samples: Annotated[str, typer.Option(help="Calibration samples.")] = "64,256",
    seeds: Annotated[str, typer.Option(help="Of sets and of which samples are drawn.")] = "0,1,2",
    most: Annotated[int, typer.Option(help="Samples for which sets are made, if more than --samples.")] = 0,
    epochs: Annotated[int, typer.Option(help="Of qat.")] = 20,
) -> None:
    """Run the cells, print one line each, and write <out>/calibration.csv."""
    counts = [int(one) for one in samples.split(",")]
    place = Place(made_for or checkpoint, data, tuple(classes.split(",")), other, out, max(most, *counts))
    for cell in cells(sources.split(","), methods.split(","), bits.split(","), counts, seeds.split(",")):
        folder = out / "cells" / "-".join(map(str, cell.values()))
        if not (folder / "cell.json").exists():
            run_cell(folder, cell, checkpoint, place, epochs)
        found = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
        console.note(f"{' '.join(map(str, cell.values()))}: test {found['test']:.4f}, {found['seconds']:.0f} s")
    gather(out).to_csv(out / "calibration.csv", index=False, float_format="%.5g")


def cells(
    sources: list[str], methods: list[str], bits: list[str], counts: list[int], seeds: list[str]
) -> list[dict[str, Any]]:
    """Return the cells, seed by seed; rtn looks at no data and has one cell for each number of bits."""
    found = []
    for seed, bit, count, source in product(map(int, seeds), bits, counts, sources):
        for method in methods:
            if method == "rtn":
                found.append(dict(zip(CELLS, ("none", "rtn", bit, 0, 0), strict=True)))
            elif source not in REAL or source == "real" or count == min(counts):  # just the few are as many as they are
                number = count if source == "real" or source not in REAL else 0
                found.append(dict(zip(CELLS, (source, method, bit, number, seed), strict=True)))
    return list({tuple(one.values()): one for one in found}.values())


def run_cell(folder: Path, cell: dict[str, Any], checkpoint: Path, place: Place, epochs: int) -> None:
    """Quantise a model with a source's samples, and score it on the real test split."""
    source, method = ("real" if cell["method"] == "rtn" else cell["source"]), cell["method"]
    spec, making = data_of(place, source, cell["seed"])
    few = len(place.names) * (REAL.get(source) or 0)
    count, begun = cell["n"] or few or 16, time.monotonic()
    plan: dict[str, Any] = {"scheme": f"uniform-4@{cell['bits']}" if method == "coded" else f"uniform-{cell['bits']}"}
    if method == "sensitivity":
        words = {"method": "sensitivity", "budget": {"avg_bits": float(cell["bits"])}, "seed": cell["seed"]}
        snnq.search(checkpoint, data=spec, **words, out=folder / "plan.json")
        plan = {"plan": folder / "plan.json"}
    words = {"samples": count, "batch_size": min(16, count), "seed": cell["seed"], **METHODS[method]}
    snnq.ptq(checkpoint, **plan, data=spec, **words, measure=0, out=folder / "packed")
    packed = folder / "packed"
    if method == "qat":
        words = {"epochs": epochs, "batch_size": min(32, count), "distillation": 1.0, "seed": cell["seed"]}
        limited = place.training(count) if source == "real" else f"{spec},limit={count}+{HELD_OUT}+{HELD_OUT}"
        packed = folder / "tuned"
        start = folder / "packed"
        snnq.finalize(start / "plan.json", data=limited, start=start, **words, measure=0, out=packed)
    seconds = time.monotonic() - begun
    test = snnq.eval(packed, data=place.data)
    found = {
        "model": checkpoint.stem,
        "made_for": place.checkpoint.stem,
        **cell,
        "samples": count if method != "rtn" else 0,
        "avg_bits": test.avg_bits,
        "test": test.accuracy,
        "test_loss": test.loss,
        "float_test": float_test(checkpoint, place),
        "test_samples": test.samples,
        "seconds": seconds,
        "making_seconds_1000": making,
        "simulated": test.simulated,
    }
    write_atomic(folder / "cell.json", json.dumps(found, indent=2) + "\n")


def float_test(checkpoint: Path, place: Place) -> float:
    """Return the float model's accuracy on the real test split, measured once."""
    note = place.out / f"{checkpoint.stem}.json"
    if not note.exists():
        write_atomic(note, json.dumps({"test": snnq.eval(checkpoint, data=place.data).accuracy}) + "\n")
    return json.loads(note.read_text(encoding="utf-8"))["test"]


def gather(out: Path) -> pd.DataFrame:
    """Return all finished cells, with how far each is from real data of the same method, bits, number and seed."""
    files = sorted(out.glob("cells/*/cell.json"))
    frame = pd.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in files])
    keys = ["method", "bits", "n", "seed"]
    real = frame[frame.source == "real"].set_index(keys).test
    due = [real.get(cell) for cell in frame[keys].itertuples(index=False, name=None)]
    frame["gap_to_real"] = frame.test - pd.Series(due, index=frame.index, dtype=float)
    return frame.sort_values(["method", "bits", "n", "source", "seed"])


if __name__ == "__main__":
    typer.run(main)
