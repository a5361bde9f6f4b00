"""``snnq.eval``: accuracy of anything that can be run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnq.data import DataSet, open_data
from snnq.errors import DataError, UsageError, nearest
from snnq.layers import frames_shape
from snnq.progress import Progress, silent
from snnq.training.evaluation import evaluate
from snnq.training.job import open_job

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Evaluation:
    """Accuracy (0 … 1) and mean cross-entropy (nats) of a model on one split."""

    path: str
    kind: str
    data: str
    split: str
    samples: int
    accuracy: float
    loss: float
    simulated: bool


def eval(
    path: str | Path,
    *,
    data: str | None = None,
    split: str = "test",
    batch_size: int = 32,
    progress: Progress = silent,
    **given: Any,
) -> Evaluation:
    """Return the accuracy of a float checkpoint (``given``: sizes it cannot tell) or of a packed folder.

    Raises UsageError for an unknown split, DataError where no data is named or it does not fit, and what opening
    raises.
    """
    if split not in SPLITS:
        raise UsageError(f"--split {split}: there is train, validation and test{nearest(split, SPLITS)}")
    if Path(path).is_dir():
        kind, (model, found) = "packed", _open_packed(Path(path), data, progress)
    else:
        job = open_job(path, data, progress, **given)
        kind, model, found = "float", job.model, job.data
    score = evaluate(model, getattr(found, split), batch_size, progress)
    return Evaluation(str(path), kind, found.spec, split, score.samples, score.accuracy, score.loss, found.simulated)


def _open_packed(folder: Path, data: str | None, progress: Progress) -> tuple[Any, DataSet]:
    from snnq.packed.loading import load_packed
    from snnq.plan import Plan

    model, plan = load_packed(folder), Plan.read(folder / "plan.json")
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
    return model, found
