"""``snnq.eval``: accuracy of anything that can be run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnq.data import DataSet, open_data
from snnq.data.dataset import Frames
from snnq.errors import DataError, UsageError, nearest
from snnq.layers import frames_shape
from snnq.packed.sizes import folder_bits
from snnq.progress import Progress, silent
from snnq.training.evaluation import Score, evaluate, score
from snnq.training.job import open_job

SPLITS = ("train", "validation", "test")
ENGINES = ("torch", "integer")


@dataclass(frozen=True)
class Evaluation:
    """Accuracy (0 … 1) and mean cross-entropy (nats) of a model on one split.

    ``arithmetic``: ``integer`` where a packed folder ran in whole numbers, else ``float``.
    Of a packed folder also its bits per weight: ``avg_bits`` by the plan, ``file_avg_bits`` of the whole file.
    """

    path: str
    kind: str
    engine: str
    arithmetic: str
    data: str
    split: str
    samples: int
    accuracy: float
    loss: float
    simulated: bool
    avg_bits: float | None = None
    file_avg_bits: float | None = None


def eval(
    path: str | Path,
    *,
    data: str | None = None,
    split: str = "test",
    batch_size: int = 32,
    engine: str = "torch",
    progress: Progress = silent,
    **given: Any,
) -> Evaluation:
    """Return the accuracy of a float checkpoint (``given``: sizes it cannot tell) or of a packed folder.

    A packed folder runs on torch or on the ``integer`` engine, with the same logits. Raises UsageError for an unknown
    split or engine, DataError where no data is named or it does not fit, and what opening
    raises.
    """
    if split not in SPLITS:
        raise UsageError(f"--split {split}: there is train, validation and test{nearest(split, SPLITS)}")
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: there is torch and integer{nearest(engine, ENGINES)}")
    bits: tuple[float | None, float | None] = (None, None)
    if Path(path).is_dir():
        kind, found = "packed", open_data_of(Path(path), data, progress)
        found_score, arithmetic = _score_packed(Path(path), engine, getattr(found, split), batch_size, progress)
        bits = folder_bits(Path(path))
    elif engine == "integer":
        raise UsageError(
            f"--engine integer runs packed folders; {path} is none", "make one: snnq finalize --plan plan.json"
        )
    else:
        job = open_job(path, data, progress, **given)
        kind, arithmetic, found = "float", "float", job.data
        found_score = evaluate(job.model, getattr(found, split), batch_size, progress)
    return Evaluation(
        path=str(path),
        kind=kind,
        engine=engine,
        arithmetic=arithmetic,
        data=found.spec,
        split=split,
        samples=found_score.samples,
        accuracy=found_score.accuracy,
        loss=found_score.loss,
        simulated=found.simulated,
        avg_bits=bits[0],
        file_avg_bits=bits[1],
    )


def _score_packed(folder: Path, engine: str, samples: Frames, batch_size: int, progress: Progress) -> tuple[Score, str]:
    """Return the score of a packed folder, and the arithmetic it ran in."""
    if engine == "torch":
        from snnq.packed.loading import load_packed

        model: Any = load_packed(folder)
        return evaluate(model, samples, batch_size, progress), model.arithmetic
    logits = torch.from_numpy(run_integer(folder, samples, batch_size, progress))
    return score(logits, torch.from_numpy(samples.labels)), "integer"


def run_integer(folder: Path, samples: Frames, batch_size: int, progress: Progress = silent) -> np.ndarray:
    """Return the integer engine's logits (N, classes) of a split."""
    from snnq.runtime.engine import Engine

    model, found = Engine(folder), []
    for begin in range(0, len(samples), batch_size):
        found.append(model(np.asarray(samples.frames[begin : begin + batch_size])))
        progress("evaluating", min(begin + batch_size, len(samples)), len(samples))
    model.workers.close()
    return np.concatenate(found)


def open_data_of(folder: Path, data: str | None, progress: Progress) -> DataSet:
    """Return the data of a packed folder's model, or those named."""
    from snnq.packed.config import PLAN_FILE, check_hash, read_config
    from snnq.plan.files import read_json
    from snnq.plan.plan import parse_plan

    path = folder / PLAN_FILE
    check_hash(folder, PLAN_FILE, read_config(folder))  # a damaged plan must not name other data
    plan = parse_plan(read_json(path), str(path))
    spec = data or (plan.data.spec if plan.data else None)
    if spec is None:
        raise DataError(f"{folder} does not say what it was trained on", "name the data: --data SPEC")
    shape = frames_shape(plan.model.config)
    found = open_data(spec, steps=shape[0], image_size=shape[2:], progress=progress)
    if len(found.classes) != plan.model.config["classes"]:
        raise DataError(
            f"{spec} has {len(found.classes)} classes, the model's head has {plan.model.config['classes']}",
            "choose the data the model was trained on",
        )
    return found
