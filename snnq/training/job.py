"""What search and finalize both begin with: checkpoint, model, layer table and data that fit each other."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from snnq import __version__
from snnq.checkpoints.opening import BUILTIN, Checkpoint, load_model, open_checkpoint
from snnq.data import DataSet, open_data
from snnq.errors import DataError, PlanError
from snnq.layers import Layer, frames_shape, layer_table
from snnq.models.custom import source_sha256
from snnq.models.registry import architecture
from snnq.plan import DataInfo, ModelInfo, Plan
from snnq.progress import Progress, silent


@dataclass(frozen=True)
class Job:
    """A float model in evaluation mode, its layers, and the data it is compressed on."""

    checkpoint: Checkpoint
    model: nn.Module
    layers: tuple[Layer, ...]
    data: DataSet

    def facts(self) -> dict[str, Any]:
        """Return what a run on this job depends on, beside its settings: version, checkpoint, model and data."""
        builder = architecture(self.checkpoint.architecture).builder
        code = {} if builder is None else {"model_source_sha256": source_sha256(builder)}
        weights = {} if self.checkpoint.weights is None else {"weights": self.checkpoint.weights}
        return {
            "version": __version__,
            "checkpoint_sha256": self.checkpoint.sha256,
            "model": self.checkpoint.config,
            "data": self.data.spec,
            "data_sha256": self.data.sha256,
            **code,
            **weights,
        }

    def model_info(self) -> ModelInfo:
        """Return the model as a plan records it."""
        opened = self.checkpoint
        return ModelInfo(
            architecture=opened.architecture,
            layout=opened.layout,
            config=opened.config,
            checkpoint=str(opened.path),
            sha256=opened.sha256,
            weights=opened.weights,
        )

    def data_info(self) -> DataInfo:
        """Return the data as a plan records it."""
        return DataInfo(spec=self.data.spec, sha256=self.data.sha256, classes=self.data.classes)


def open_job(checkpoint: str | Path, data: str | None, progress: Progress = silent, **given: Any) -> Job:
    """Open a float checkpoint and its data; ``data`` may be None where the checkpoint names its own.

    ``given`` are the sizes a checkpoint cannot tell (steps, heads, image_size, pooling). Raises CheckpointError and
    DataError; a data set with another number of classes than the model's head is refused.
    """
    opened = open_checkpoint(checkpoint, **given)
    spec = data or opened.data
    if spec is None:
        raise DataError(f"{opened.path} does not say what it was trained on", "name the data: --data SPEC")
    model = load_model(opened)
    shape = frames_shape(opened.config)
    found = open_data(spec, steps=shape[0], image_size=shape[2:], progress=progress)
    if len(found.classes) != opened.config["classes"]:
        raise DataError(
            f"{spec} has {len(found.classes)} classes, the model's head has {opened.config['classes']}",
            "choose the data the checkpoint was trained on",
        )
    return Job(opened, model, layer_table(model, shape), found)


def checkpoint_of(plan: Plan, file: str | Path | None) -> str:
    """Return where the float checkpoint lies that a plan names: as it is named, or else beside the plan's ``file``.

    Raises PlanError where the plan names none, or it is in neither place.
    """
    named = plan.model.checkpoint
    if named is None:
        raise PlanError(f"{file or 'the plan'} names no float checkpoint", "name it: --checkpoint FILE")
    if file is None or named in BUILTIN or os.path.exists(named):
        return named
    near = (Path(file).parent / named, Path(file).parent / Path(named).name)
    found = next((path for path in near if os.path.isfile(path)), None)
    if found is None:
        raise PlanError(
            f"{file}: its float checkpoint {named} is neither here nor beside the plan",
            "name it: snnq finalize --checkpoint FILE, or snnq ptq FILE --plan PLAN",
        )
    return str(found)


def fingerprint(config: dict[str, Any]) -> str:
    """Return the sha256 of a run's resolved configuration: equal fingerprints give equal results."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
