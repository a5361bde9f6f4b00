"""What became of an edited checkpoint: its scores before and after, and the file, which says which run made it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from snnq.base.errors import InputError, OutputExistsError
from snnq.base.placing import sweep
from snnq.base.progress import Progress
from snnq.base.strict_json import Json, strict_json
from snnq.checkpoints.container import read_container
from snnq.checkpoints.opening import save_checkpoint
from snnq.training.evaluation import evaluate, reestimate_batchnorm, score
from snnq.training.job import Job
from snnq.training.teacher import float_logits

# The key of a checkpoint's metadata under which it says so.
FACT = "edited"


@dataclass(frozen=True)
class Accuracies:
    """Accuracy (0 … 1) and loss (nats) on the validation and the test split."""

    validation: float
    validation_loss: float
    test: float
    test_loss: float


@dataclass(frozen=True)
class EditedLayer:
    """A layer: how many weights it had, and how many are left that are not zero."""

    name: str
    weights: int
    left: int


def known_result(out: Path, mark: str, force: bool) -> Json | None:
    """Return the result that a checkpoint at ``out`` says of this very run; None where nothing is there, or ``force``.

    Raises OutputExistsError where it is anything else.
    """
    if not os.path.lexists(out) or force:
        return None
    try:
        found = strict_json(str((read_container(out).own or {})[FACT]))
        if found["fingerprint"] == mark:
            sweep(out)
            return found["result"]
    except (InputError, KeyError, TypeError, ValueError):
        pass
    raise OutputExistsError(
        f"{out} is already there and is not from this checkpoint and settings",
        "add --force to overwrite it, or name another --out",
    )


def save_edited(job: Job, model: nn.Module, out: Path, mark: str, result: Json, force: bool) -> None:
    """Write the edited model with its result, the sha256 of the checkpoint it was made of, and the run's ``mark``."""
    said = {"fingerprint": mark, "parent_sha256": job.checkpoint.sha256, "result": result}
    facts = {"data": job.data.spec, FACT: json.dumps(said)}
    save_checkpoint(out, model.cpu(), architecture=job.checkpoint.architecture, facts=facts, overwrite=force)


def layers_left(job: Job, model: nn.Module) -> tuple[EditedLayer, ...]:
    """Return every layer of the checkpoint with what is left of it in the edited model."""
    left = {one.name: int((model.get_submodule(one.name).get_parameter("weight") != 0).sum()) for one in job.layers}
    return tuple(EditedLayer(one.name, one.weights, left[one.name]) for one in job.layers)


def scores(job: Job, model: nn.Module, fabric: Fabric, size: int, progress: Progress) -> tuple[Accuracies, Accuracies]:
    """Return what the checkpoint as given scores, and what the edited model scores."""
    found: dict[str, list[float]] = {"before": [], "after": []}
    model = fabric.to_device(model).eval()
    for split, samples in (("validation", job.data.validation), ("test", job.data.test)):
        before = score(float_logits(job, split, fabric, size, progress), torch.from_numpy(samples.labels))
        after = evaluate(model, samples, size, progress, f"edited model on {split}")
        for name, one in (("before", before), ("after", after)):
            found[name] += [one.accuracy, one.loss]
    return Accuracies(*found["before"]), Accuracies(*found["after"])


def refresh_norms(job: Job, model: nn.Module, size: int, seed: int) -> bool:
    """Estimate the norms' statistics anew; keep them, and return True, if that is no worse on validation."""
    found = [evaluate(model, job.data.validation, size)]
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    reestimate_batchnorm(model, job.data.train, size, seed)
    found.append(evaluate(model, job.data.validation, size))
    was, now = ((one.accuracy, -one.loss) for one in found)
    if now < was:
        model.load_state_dict(before)
    model.eval()
    return now >= was
