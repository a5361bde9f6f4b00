"""``snnq.calibrate``: from a float checkpoint and class names to a set of frames that every command takes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Unpack

import numpy as np
import torch

from snnq.base.errors import DataError, InterruptedRun, OutputExistsError, UsageError
from snnq.base.placing import sweep
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.calibrating.candidates import make_candidates
from snnq.calibrating.choosing import Judges, check_filters, choose
from snnq.calibrating.generators import Sources, open_few, open_generator, steered
from snnq.calibrating.pictures import Camera, Generator
from snnq.calibrating.settings import NAMING, CalibrateSettings
from snnq.calibrating.writing import Task, write_set
from snnq.checkpoints.opening import Checkpoint, load_model, open_checkpoint
from snnq.checkpoints.sizes import Given
from snnq.cost.rate_card import RateCard
from snnq.data.calibration_sets import CalibrationSet, read_set
from snnq.models.registry import attention_table
from snnq.network.layers import forward_macs, frames_shape, layer_table
from snnq.network.products import Products
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.job import checkpoint_facts, fingerprint
from snnq.training.run_folder import CANDIDATES, open_run, run_path
from snnq.training.threads import keeps_threads, use_threads


@dataclass(frozen=True)
class Calibrated:
    """A written set: its folder, and what ``set.json`` says."""

    folder: Path
    found: CalibrationSet

    def to_dict(self) -> Json:
        """Return plain data."""
        return {"folder": str(self.folder), **self.found.model_dump(mode="json")}


@keeps_threads
def calibrate(
    checkpoint: str | Path,
    *,
    classes: Sequence[str] | None = None,
    out: str | Path = "calib",
    settings: CalibrateSettings | None = None,
    rates: RateCard | None = None,
    fonts: Path | None = None,
    templates: Path | None = None,
    few_shot: str | None = None,
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    force: bool = False,
    progress: Progress = silent,
    words: Config | None = None,
    **given: Unpack[Given],
) -> Calibrated:
    """Make a set of frames for a float checkpoint without its data: generated, filtered, and written as a folder.

    ``classes`` are their names in the order of the model's outputs; only generators that draw them must be told.
    ``rates`` is a card of real data for the filter of that name. The model's own answers are kept with every sample and
    are no labels. ``few_shot`` names real data, of whose training split ``settings.shots`` samples a class steer the
    generator. What is made lies in ``run`` (default: ``out`` with ``.run`` added) until the set is whole; a run that
    was cut off goes on. The same words give the same bytes.

    Raises UsageError and DataError for what does not fit, OutputExistsError if ``out`` is there and is not from this
    very run (unless ``force``), RunChangedError, InterruptedRun after Ctrl-C, and what opening raises.
    """
    settings, compute, out = settings or CalibrateSettings(), as_compute(compute), Path(out)
    task = _open(checkpoint, classes, settings, _Given(rates, fonts, templates, few_shot), compute, given, progress)
    where = run_path(out, run)
    config = _config(task)
    config["threads"] = use_threads(compute, task.macs, None if force else where)
    mark = fingerprint(config)
    if (known := _known(out, mark, force)) is not None:
        return known
    folder = open_run(where, config, out=out, force=force, words=words)
    return Calibrated(out, _written(folder.path, out, task, mark, words, progress, force=force))


def _written(
    run: Path, out: Path, task: Task, mark: str, words: Config | None, progress: Progress, *, force: bool
) -> CalibrationSet:
    """Make, choose and write the samples; raises InterruptedRun after Ctrl-C."""
    try:
        generator, steered = _steered(task, progress)
        made = make_candidates(run / CANDIDATES, generator, task.settings.candidates, progress)
        choice = choose(made.frames, made.asked, task.judges, task.settings, progress)
        found = write_set(out, task, made, choice, steered, mark, words, force, progress)
    except KeyboardInterrupt:
        said = f"stopped by Ctrl-C; {run} keeps what was made"
        raise InterruptedRun(said, "the same command goes on from here") from None
    shutil.rmtree(run / CANDIDATES, ignore_errors=True)
    return found


class _Given(NamedTuple):
    """What the user gives beside the settings."""

    rates: RateCard | None
    fonts: Path | None
    templates: Path | None
    few_shot: str | None


def _open(
    checkpoint: str | Path,
    classes: Sequence[str] | None,
    settings: CalibrateSettings,
    own: _Given,
    compute: Compute,
    given: Given,
    progress: Progress,
) -> Task:
    """Open all that is needed; whatever does not fit is refused here, before anything is made."""
    opened = open_checkpoint(checkpoint, **given)
    shape, model, device = frames_shape(opened.config), load_model(opened), start_fabric(compute).device
    names = _names(opened, classes, settings)
    _check(opened, shape, own.rates)
    macs = forward_macs(layer_table(model, shape), shape[0], settings.batch_size)
    judges = Judges(model.to(device), str(checkpoint), shape[0], device, products_of(opened), own.rates)
    check_filters(judges, settings)
    camera = Camera.of(opened, shape, settings.camera, settings.by, settings.seed)
    sources = Sources(model, str(checkpoint), shape, names, camera, device, own.fonts, own.templates)
    generator = open_generator(sources, settings, progress)
    few = None if own.few_shot is None else open_few(own.few_shot, generator, judges, names, settings, shape, progress)
    return Task(opened, names, settings, judges, generator, camera, macs, few)


def products_of(opened: Checkpoint) -> tuple[Products, ...]:
    """Return what the attentions of a checkpoint's model compute; nothing where that is not known."""
    return attention_table(opened.architecture, opened.config)


def _steered(task: Task, progress: Progress) -> tuple[Generator, Json]:
    """Return the generator that the few real samples steer, and what was learned; as it is where there are none."""
    if task.few is None:
        return task.generator, {}
    generator, learned = steered(task.generator, task.judges, task.few, task.names, task.settings, progress)
    return generator, {"few_shot": {**task.few.facts, **learned}}


def _names(opened: Checkpoint, classes: Sequence[str] | None, settings: CalibrateSettings) -> tuple[str, ...]:
    """Return the classes' names; numbers where none are given and none are drawn."""
    count = opened.config["classes"]
    if classes is None:
        if settings.kind in NAMING:
            raise UsageError(
                f"--generator {settings.kind} draws what the classes are called: it needs their names",
                "--classes FILE with a name a line, or --classes cat,dog, in the order of the model's outputs",
            )
        return tuple(map(str, range(count)))
    if len(classes) != count or len(set(classes)) != len(classes):
        raise UsageError(
            f"--classes: {len(classes)} names, {len(set(classes))} of them different; the model has {count} outputs"
        )
    return tuple(classes)


def _check(opened: Checkpoint, shape: tuple[int, int, int, int], rates: RateCard | None) -> None:
    if shape[1] != 2:
        raise UsageError(
            f"{opened.path}: its frames have {shape[1]} channels; calibration sets are events of 2, darker and brighter"
        )
    if rates is not None and rates.checkpoint_sha256 not in (None, opened.sha256):
        raise UsageError(
            f"--rates: the card is of another checkpoint (sha256 {str(rates.checkpoint_sha256)[:12]}…)",
            "make one of this checkpoint where the real data are: snnq inspect CKPT --rates FILE",
        )


def _config(task: Task) -> Json:
    """Return everything the set depends on."""
    card = task.judges.card
    return {
        "command": "calibrate",
        **checkpoint_facts(task.opened),
        "classes": list(task.names),
        **asdict(task.settings),
        "filters": list(task.settings.filters),
        "camera": task.camera.name,
        "by": task.camera.by,
        "generator_facts": dict(task.generator.facts),
        "few_shot": None if task.few is None else task.few.facts,
        "rates": None if card is None or "rates" not in task.settings.filters else card.model_dump(mode="json"),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "device": task.judges.device.type,
    }


def _known(out: Path, mark: str, force: bool) -> Calibrated | None:
    """Return the set at ``out`` where this very run made it; None where a set may be written there."""
    sweep(out)
    if not os.path.lexists(out):
        return None
    try:
        found = read_set(out)
    except DataError:
        found = None
    if found is not None and found.fingerprint == mark and not force:
        return Calibrated(out, found)
    if out.is_dir() and not any(out.iterdir()):
        return None
    if found is None:
        raise OutputExistsError(f"{out} is already there and is no calibration set", "name another --out")
    if not force:
        raise OutputExistsError(
            f"{out} is already there and is not from this checkpoint and settings",
            "add --force to overwrite it, or name another --out",
        )
    return None
