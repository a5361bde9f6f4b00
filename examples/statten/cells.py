"""One cell of the experiment: the float model of an arm and seed, and from it the rows before and after the search."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from arms import Task
from experiment import run_cells
from measures import activity, costs
from rows import Setting
from training import ARCHITECTURE, train

import snnq
from snnq.base.errors import RunChangedError
from snnq.base.files import write_atomic
from snnq.checkpoints.opening import save_checkpoint
from snnq.data import DataSet, open_data
from snnq.models.registry import architecture
from snnq.training.evaluation import predict

CALIBRATION = 64
FLOAT, ROWS = "float", ("float-finetuned", "budget")


@dataclass(frozen=True)
class Cell:
    """A task, the steps of a chunk, a seed, and the experiment's folder."""

    task: Task
    chunk: int
    seed: int
    out: Path

    @property
    def folder(self) -> Path:
        """Where the cell's files lie."""
        return self.out / "cells" / self.task.name / str(self.chunk) / str(self.seed)

    @property
    def spec(self) -> str:
        """The data as a spec."""
        return f"frames:{self.out / 'frames' / self.task.name}"

    def data(self) -> DataSet:
        """Open the data."""
        sizes = self.task.sizes
        return open_data(self.spec, steps=sizes["steps"], image_size=sizes["image_size"])


def run_float(cell: Cell) -> dict[str, Any]:
    """Train the arm's float model, unless that is done, and test it once; return what came out.

    Raises RunChangedError where the finished one was trained with other sizes or another recipe.
    """
    file, made_with = cell.folder / "float.json", {"config": cell.task.config(cell.chunk), **asdict(cell.task.recipe)}
    made_with = json.loads(json.dumps(made_with))
    if file.exists():
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["made_with"] != made_with:
            raise RunChangedError(f"{file} was made with other sizes or another recipe", "choose another --out")
        return found
    cell.folder.mkdir(parents=True, exist_ok=True)
    data = cell.data()
    model, facts = train(made_with["config"], data, cell.task.recipe, cell.seed)
    save_checkpoint(_checkpoint(cell), model, architecture=ARCHITECTURE, facts={"data": cell.spec})
    config: Any = architecture(ARCHITECTURE).config(made_with["config"])
    logits, labels = predict(model, data.test, cell.task.recipe.batch_size)
    answers, truth = logits.argmax(1).numpy(), labels.numpy()
    found = _facts(cell, FLOAT) | facts
    found |= {"test_accuracy": float((answers == truth).mean()), "test_samples": len(truth), "avg_bits": 32.0}
    found |= pair_accuracy(data.classes, answers, truth) | activity(model, config, data.validation)
    found |= costs(model, config) | {"made_with": made_with}
    write_atomic(file, json.dumps(found, indent=2) + "\n")
    return found


def pair_accuracy(classes: tuple[str, ...], answers: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return how often both shapes are right whatever their order, where classes are orders of two."""
    if not all("-" in name for name in classes):
        return {}
    _, pairs = np.unique(["-".join(sorted(name.split("-"))) for name in classes], return_inverse=True)
    return {"pair_accuracy": float((pairs[answers] == pairs[truth]).mean())}


def run_rows(cell: Cell, search_epochs: int, finetune_epochs: int) -> None:
    """Finetune the float model under a float32 plan and under a searched one of at most 2.2 bits, equally long."""
    size = cell.task.recipe.batch_size
    setting = Setting(_checkpoint(cell), cell.spec, {}, search_epochs, finetune_epochs, size, calibration=CALIBRATION)
    run_cells("rows", setting, cell.folder, [cell.seed], list(ROWS))
    config: Any = architecture(ARCHITECTURE).config(cell.task.config(cell.chunk))
    for row in ROWS:
        file = cell.folder / row / str(cell.seed) / "activity.json"
        if not file.exists():
            model = snnq.load_packed(file.parent / "packed", "float")
            write_atomic(file, json.dumps(activity(model, config, cell.data().validation), indent=2) + "\n")


def gather(out: Path) -> pd.DataFrame:
    """Return a line for every finished cell."""
    lines = []
    for file in sorted(out.glob("cells/*/*/*/float.json")):
        first = json.loads(file.read_text(encoding="utf-8"))
        lines.append({key: value for key, value in first.items() if key != "made_with"})
        fixed = {key: first[key] for key in ("task", "chunk", "seed", *FIXED)}
        for own in (file.parent / row / str(first["seed"]) for row in ROWS):
            if (own / "activity.json").exists():
                cell, seen = (json.loads((own / f"{name}.json").read_text()) for name in ("cell", "activity"))
                kept = {key: cell[key] for key in KEPT if key in cell}
                lines.append(fixed | {"row": cell["row"], **kept, **seen})
    return pd.DataFrame(lines)


KEPT = ("test_accuracy", "validation_accuracy", "avg_bits", "search_seconds", "finetune_seconds", "test_samples")
FIXED = ("attention_scale", "parameters", "macs_layers", "macs_attention", "kv_bits", "q_buffer_bits", "simulated")


def _checkpoint(cell: Cell) -> Path:
    return cell.folder / "float.safetensors"


def _facts(cell: Cell, row: str) -> dict[str, Any]:
    scale = cell.task.config(cell.chunk)["attention_scale"]
    facts = {"task": cell.task.name, "chunk": cell.chunk, "seed": cell.seed, "row": row}
    return facts | {"attention_scale": scale, "simulated": True}
