"""The second part: a hybrid with 8-bit activations, then 4 and 2 bits on each branch, and a search under one budget."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from cells import BATCH, Setting, accuracies

import snnq
from snnq.base.files import write_atomic
from snnq.data import DataSet
from snnq.plan import Plan

# Bits of the weights of (ann, snn); what joins them and the head have four.
FIXED = {"ann4-snn4": (4, 4), "ann2-snn4": (2, 4), "ann4-snn2": (4, 2), "ann2-snn2": (2, 2)}
# What the search is allowed: the storage of the two plans with bits of 2 and 4, of which the larger counts.
ROWS = ("float32", *FIXED, "searched", "sensitivity")


def make_plan(row: str, checkpoint: Path, setting: Setting, seed: int, epochs: int, folder: Path) -> Path:
    """Write a row's plan; a search goes on where it was cut off."""
    file = folder / "plan.json"
    if file.exists():
        return file
    plain = snnq.uniform_plan("float32" if row == "float32" else "uniform-4", checkpoint=checkpoint)
    if row in FIXED:
        _fixed(plain, row).write(file)
    elif row == "float32":
        plain.write(file)
    else:
        method = {"searched": "differentiable"}.get(row, row)
        bits = max(_fixed(plain, one).totals.avg_bits for one in ("ann2-snn4", "ann4-snn2"))
        words: dict[str, Any] = {"method": method, "space": ["uniform-2,uniform-4"], "budget": [f"avg-bits={bits!r}"]}
        snnq.search(
            checkpoint, data=setting.spec, out=file, seed=seed, epochs=epochs, batch_size=BATCH,
            progress=snnq.silent, **words,
        )  # fmt: skip
    return file


def _fixed(plain: Plan, row: str) -> Plan:
    bits = dict(zip(("ann", "snn"), FIXED[row], strict=True))
    return plain.with_schemes(
        {layer.name: f"uniform-{bits[layer.group]}" for layer in plain.layers if layer.group in bits}
    )


def run_row(setting: Setting, arm: str, row: str, seed: int, epochs: int, search_epochs: int) -> dict[str, Any]:
    """Return what a cell's file says; quantises activations, plans, finetunes and tests where there is none."""
    start = setting.out / "float" / arm / str(seed) / "float.safetensors"
    folder = setting.out / "plans" / f"{arm}-{row}" / str(seed)
    file, eight = folder / "cell.json", start.with_name("eight.safetensors")
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        if not eight.exists():
            snnq.quantise_activations(start, data=setting.spec, bits=8, out=eight, progress=snnq.silent)
        # The float model is finetuned as it is: what it is compared with has activations of 8 bits.
        checkpoint = start if row == "float32" else eight
        plan = make_plan(row, checkpoint, setting, seed, search_epochs, folder)
        snnq.finalize(
            plan, data=setting.spec, seed=seed, epochs=epochs, batch_size=BATCH, measure=32, out=folder / "packed",
            progress=snnq.silent,
        )  # fmt: skip
        cell = {
            "arm": arm,
            "row": row,
            "seed": seed,
            "epochs": epochs,
            "simulated": True,
            **_facts(folder / "packed", setting.data()),
        }
        cell["seconds"] = time.monotonic() - begun
        write_atomic(file, json.dumps(cell, indent=2) + "\n")
    return json.loads(file.read_text(encoding="utf-8"))


def _facts(packed: Path, data: DataSet) -> dict[str, float]:
    """Return accuracies, bits and energies of a packed folder, by branch."""
    model, report = snnq.load_packed(packed), snnq.report(packed, progress=snnq.silent).to_dict()
    found = {
        f"{split}_{key}": one for split in ("validation", "test") for key, one in accuracies(model, data, split).items()
    }
    totals, event = report["totals"], report["event_energy"]["plan"]
    found |= {"avg_bits": totals["avg_bits"], "file_avg_bits": totals["file_avg_bits"]}
    found |= {f"bits_{part['name']}": part["avg_bits"] for part in report["groups"]}
    found |= {f"event_pj_{part['name'].replace(' ', '_')}": part["energy_pj"] for part in event["parts"]}
    return found | {"event_pj": event["total"]["energy_pj"], "file_bytes": report["disk"]["file_bytes"]}
