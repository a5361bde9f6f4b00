"""Runs the cells of a reference experiment, one a row and seed, and gathers them into a CSV.

A cell is a folder ``<out>/<row>/<seed>`` with the plan, the packed folder and ``cell.json``; one that is finished is
skipped and one that was cut off goes on, so several processes can share an experiment by ``--rows`` or ``--seeds``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd
from rows import ROWS, Setting

from snnq import console
from snnq.base.errors import RunChangedError, UsageError
from snnq.base.files import write_atomic
from snnq.cost.table import read_table
from snnq.finalizing.run import finalize as run_finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.plan import Plan

TRAIN = Path(__file__).resolve().parents[1] / "train_float.py"
FLOAT = "float-as-given"
TABLES = ("horowitz-45nm", "paper-fit")


def train_float(checkpoint: Path, data: str, words: list[str]) -> None:
    """Train the float model with examples/train_float.py, unless it is there; print the seconds."""
    if checkpoint.exists():
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    subprocess.run([sys.executable, str(TRAIN), data, *words, "--out", str(checkpoint)], check=True)
    console.note(f"The float model was trained in {time.monotonic() - start:.0f} s.")


def run_cells(name: str, setting: Setting, out: Path, seeds: list[int], patterns: list[str]) -> None:
    """Run every cell of the rows that match a pattern, print one line each, and write ``<out>/<name>.csv``."""
    rows = [row for row in ROWS if any(fnmatchcase(row, pattern) for pattern in patterns)]
    if not rows:
        raise UsageError(f"no row matches {', '.join(patterns)}; there are {', '.join(ROWS)}")
    keep_setting(out / "setting.json", setting)
    for row in rows:
        for seed in seeds:
            folder = out / row / str(seed)
            if not (folder / "cell.json").exists():
                _run_cell(name, row, seed, setting, folder)
            cell = json.loads((folder / "cell.json").read_text(encoding="utf-8"))
            console.note(f"{row} seed {seed}: test {cell['test_accuracy']:.4f}, {cell['avg_bits']:.3f} bits")
    gather(out).to_csv(out / f"{name}.csv", index=False, float_format="%.6g")


def keep_setting(file: Path, setting: Setting) -> None:
    """Note what an experiment's cells are made with; raises RunChangedError where the finished ones differ.

    Rows are compared with each other, so cells of other lengths or data must not stand in one CSV.
    """
    keys = ("data", "sizes", "search_epochs", "finetune_epochs", "batch_size", "calibration")
    now = json.loads(json.dumps({key: getattr(setting, key) for key in keys}))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(now, indent=2) + "\n")
    for key, known in json.loads(file.read_text(encoding="utf-8")).items():
        if known != now[key]:
            raise RunChangedError(
                f"{file.parent} holds cells with {key} = {known}, now it is {now[key]}", "choose another --out"
            )


def _run_cell(name: str, row: str, seed: int, setting: Setting, folder: Path) -> None:
    """Make the cell's plan, finetune it, and keep what came out; seconds of a cut-off attempt are kept too."""
    folder.mkdir(parents=True, exist_ok=True)
    plan, packed, clock = folder / "plan.json", folder / "packed", folder / "seconds.json"
    with _timed(clock, "search_seconds"):
        if not plan.exists():
            ROWS[row](setting, seed, plan)
    with console.progress_view() as progress, _timed(clock, "finetune_seconds"):
        settings = FinalizeSettings(epochs=setting.finetune_epochs, batch_size=setting.batch_size, seed=seed)
        done = run_finalize(
            plan,
            data=setting.data,
            checkpoint=setting.checkpoint,
            out=packed,
            settings=settings,
            compute=setting.compute,
            progress=progress,
        )
    accuracy = done.results.accuracy.summary()
    totals = {table: Plan.read(plan, read_table(table)).totals for table in TABLES}
    cell = {
        "experiment": name,
        "row": row,
        "seed": seed,
        "test_accuracy": accuracy["plan"]["test"],
        "validation_accuracy": accuracy["plan"]["validation"],
        "float_test_accuracy": accuracy["float"]["test"],
        "float_validation_accuracy": accuracy["float"]["validation"],
        "avg_bits": totals[TABLES[0]].avg_bits,
        "storage_percent": 100 * totals[TABLES[0]].storage_fraction,
        **{f"energy_percent_{table}": 100 * one.energy_fraction for table, one in totals.items()},
        **json.loads(clock.read_text(encoding="utf-8")),
        "test_samples": accuracy["test_samples"],
        "simulated": accuracy["simulated"],
    }
    write_atomic(folder / "cell.json", json.dumps(cell, indent=2) + "\n")


class _timed:  # noqa: N801 (used as a function)
    """Adds a block's wall seconds to a number in a JSON file, also when the block is cut off by an exception."""

    def __init__(self, file: Path, key: str) -> None:
        self.file, self.key = file, key

    def __enter__(self) -> None:
        self.start = time.monotonic()

    def __exit__(self, *error: object) -> None:
        known = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}
        known[self.key] = round(known.get(self.key, 0.0) + time.monotonic() - self.start, 1)
        write_atomic(self.file, json.dumps(known))


def gather(out: Path) -> pd.DataFrame:
    """Return all finished cells of an experiment, and the float model as given as a row of its own."""
    cells = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*/*/cell.json"))]
    frame = pd.DataFrame(cells)
    given = frame.loc[frame.row == frame.row.iloc[0]].copy()
    given["row"] = FLOAT
    given[["test_accuracy", "validation_accuracy"]] = given[["float_test_accuracy", "float_validation_accuracy"]]
    given[["search_seconds", "finetune_seconds"]] = 0.0
    given["avg_bits"] = 32.0
    given[["storage_percent", *(f"energy_percent_{table}" for table in TABLES)]] = 100.0
    order = {row: i for i, row in enumerate((FLOAT, *ROWS))}
    whole = pd.concat([given, frame]).drop(columns=["float_test_accuracy", "float_validation_accuracy"])
    return whole.sort_values(["row", "seed"], key=lambda column: column.map(order) if column.name == "row" else column)
