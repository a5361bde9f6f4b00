"""What search and finalize both begin with: checkpoint, model, layer table and data that fit each other."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Unpack

from torch import nn

from snnq.base.errors import DataError, PlanError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.base.version import __version__
from snnq.checkpoints.opening import BUILTIN, Checkpoint, load_model, open_checkpoint
from snnq.checkpoints.sizes import Given
from snnq.data import DataSet, open_data
from snnq.models.custom import source_sha256
from snnq.models.registry import architecture
from snnq.network.layers import Layer, forward_macs, frames_shape, layer_table
from snnq.network.wiring import FloatWiring, Wiring
from snnq.plan import DataInfo, ModelInfo, Plan
from snnq.plan.records import PlanInput

_BACKGROUND = "BACKGROUND_Google"  # N-Caltech101's class of no object
_SHOWN = 12
# Data without labels are taken: ``answered`` puts the float model's own answers in their place.
TAKEN = "taken"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A float model in evaluation mode, its layers, and the data it is compressed on."""

    checkpoint: Checkpoint
    model: nn.Module
    layers: tuple[Layer, ...]
    data: DataSet

    def facts(self) -> Json:
        """Return what a run on this job depends on, beside its settings: version, checkpoint, model and data."""
        return {**checkpoint_facts(self.checkpoint), "data": self.data.spec, "data_sha256": self.data.sha256}

    @property
    def wiring(self) -> Wiring | FloatWiring:
        """What follows each layer, for frames such as the data are."""
        found = architecture(self.checkpoint.architecture).wiring(self.checkpoint.config)
        pixels = self.data.pixels
        return found.of_pixels(pixels.fraction_bits) if pixels and isinstance(found, Wiring) else found

    def macs(self, samples: int) -> int:
        """Return the multiply-accumulates of a pass of so many samples."""
        return forward_macs(self.layers, self.data.frames_shape[0], samples)

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


def checkpoint_facts(opened: Checkpoint) -> Json:
    """Return what a run depends on of its float model: version, the file, which of its weights, model and its code."""
    builder = architecture(opened.architecture).builder
    code = {} if builder is None else {"model_source_sha256": source_sha256(builder)}
    weights = {} if opened.weights is None else {"weights": opened.weights}
    facts = {"version": __version__, "checkpoint_sha256": opened.sha256, "model": opened.config}
    return {**facts, **code, **weights}


def open_job(
    checkpoint: str | Path,
    data: str | None,
    progress: Progress = silent,
    *,
    unlabelled: str | None = None,
    **given: Unpack[Given],
) -> Job:
    """Open a float checkpoint and its data; ``data`` may be None where the checkpoint names its own.

    ``given`` are the sizes a checkpoint cannot tell (steps, heads, image_size, pooling). Raises CheckpointError and
    DataError; a data set with other classes or channels than the model takes is refused, and one without labels, unless
    ``unlabelled`` is ``TAKEN``: else it says what can be done with it instead.
    """
    opened = open_checkpoint(checkpoint, **given)
    spec = data or opened.data
    if spec is None:
        raise DataError(f"{opened.path} does not say what it was trained on", "name the data: --data SPEC")
    model = load_model(opened)
    shape = frames_shape(opened.config)
    found = open_data(spec, steps=shape[0], image_size=shape[2:], progress=progress)
    check_fit(found, opened.config)
    if unlabelled != TAKEN:
        check_labels(found, unlabelled or "they calibrate snnq ptq, and snnq search --method sensitivity")
    for split in ("train", "validation"):
        if not len(getattr(found, split)):
            raise DataError(f"{found.spec} has no {split} samples: it is for evaluation alone", "add a folder 'train'")
    return Job(opened, model, layer_table(model, shape, reals=found.pixels is not None), found)


def check_labels(data: DataSet, hint: str) -> None:
    """Raise DataError where data have no labels, for a command that learns from them or measures by them."""
    if data.labels == "none":
        raise DataError(f"{data.spec} has no labels, and this needs them", hint)


def check_fit(data: DataSet, config: Config) -> None:
    """Raise DataError where data have other classes or channels than the model of a configuration takes."""
    classes, channels = config["classes"], frames_shape(config)[1]
    if len(data.classes) != classes:
        hint = "choose the data the checkpoint was trained on"
        if _BACKGROUND in data.classes and len(data.classes) == classes + 1:
            hint = f"a model of the objects alone was trained without {_BACKGROUND}: take that folder out of the set"
        raise DataError(f"{data.spec} has {len(data.classes)} classes, the model's head has {classes}", hint)
    if data.frames_shape[1] != channels:
        raise DataError(
            f"{data.spec} has frames of {data.frames_shape[1]} channels, the model takes {channels}",
            "choose the data the checkpoint was trained on",
        )


def check_order(planned: DataInfo, data: DataSet, *, named: bool) -> None:
    """Raise DataError where data hold a plan's classes in another order than the plan; a warning where they are named.

    Plans that were made when ``frames:`` took numbered classes by number name no order.
    """
    if planned.classes == data.classes or sorted(planned.classes) != sorted(data.classes):
        return
    said = f"the classes of {data.spec} are {_listed(data.classes)}, in the plan they are {_listed(planned.classes)}"
    spec = data.spec_for(planned.classes)
    hint = (
        f"for the plan's order: --data {quote(spec)}" if spec else "name the data the plan was made with: --data SPEC"
    )
    if not named:
        raise DataError(
            f"{said}: another order",
            f"{hint}; was the checkpoint trained in the order of {data.spec}, search again with that",
        )
    _LOG.warning("%s: another order; %s", said, hint)


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes) if len(classes) <= _SHOWN else ", ".join((*classes[:_SHOWN], "…"))


def checkpoint_of(plan: Plan | PlanInput, file: str | Path | None) -> str:
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


def fingerprint(config: Json) -> str:
    """Return the sha256 of a run's resolved configuration: equal fingerprints give equal results.

    A number of threads counts where it is not one: without it, the fingerprint is that of before it was recorded.
    """
    facts = {key: value for key, value in config.items() if key != "threads" or value not in (None, 1)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
