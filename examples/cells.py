"""Cells of an experiment: each is made once, in a folder of its own, and all of them are one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import snnq
from snnq import console
from snnq.base.files import write_atomic

CELL = "cell.json"


def cell(folder: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Return what ``make`` found in ``folder``, now or the first time; what was cut off goes on."""
    file = folder / CELL
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(make(folder), indent=2) + "\n")
    return json.loads(file.read_text(encoding="utf-8"))


def gather(out: Path, by: Sequence[str]) -> pd.DataFrame:
    """Return all finished cells below a folder as a table, sorted by columns ``by``."""
    frame = pd.DataFrame([json.loads(file.read_text(encoding="utf-8")) for file in out.rglob(CELL)])
    return frame.sort_values(list(by)).reset_index(drop=True)


def write_table(out: Path, name: str, by: Sequence[str]) -> None:
    """Write all finished cells as ``<out>/<name>.csv``."""
    gather(out, by).to_csv(out / f"{name}.csv", index=False, float_format="%.6g")


def packed_facts(packed: Path) -> dict[str, float]:
    """Return a packed folder's accuracies (0 … 1), its bits a weight by plan and file, and its event energy (pJ)."""
    report = snnq.report(packed, progress=snnq.silent).to_dict()
    totals, accuracy = report["totals"], {one["model"]: one for one in report["accuracy"]}
    energy = report["event_energy"]
    return {
        **{split: accuracy["this plan"][split] for split in ("validation", "test")},
        **{f"float_{split}": accuracy["float"][split] for split in ("validation", "test")},
        "plan_bits": totals["avg_bits"],
        "file_bits": totals["file_avg_bits"],
        "file_bytes": report["disk"]["file_bytes"],
        "event_pj": energy["plan"]["total"]["energy_pj"],
        "float_event_pj": energy["float_model"]["total"]["energy_pj"],
    }


def say(row: dict[str, Any], *names: str) -> None:
    """Print a cell in a line: ``names`` first, then its accuracies."""
    said = " ".join(f"{row[name]}" for name in names)
    console.note(f"{said}: validation {row['validation']:.4f}, test {row['test']:.4f}")
