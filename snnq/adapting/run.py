"""``snnq.adapt_fit``: an adapter of a packed folder, learned task by task."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from snnq.adapting.backbone import Backbone, features_of, open_backbone, reference_model
from snnq.adapting.discriminant import solve_tasks
from snnq.adapting.learning import Frozen, Learning, Passes, new_head
from snnq.adapting.pools import Pools
from snnq.adapting.settings import FROZEN, LDA, OSPP, AdaptSettings
from snnq.adapting.tasks import Lessons, lessons_of
from snnq.adapting.trial import FirstQueries, Trial
from snnq.adapting.writing import facts_of, read_again, write
from snnq.assessing.adapter_costs import adapter_macs
from snnq.assessing.subject import check_input
from snnq.base.errors import DataError, OutputExistsError, SnnqError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.base.version import __version__
from snnq.data import DataSet, open_data
from snnq.network.layers import forward_macs, frames_shape
from snnq.packed.adapter import (
    Adapter,
    AdapterFacts,
    folder_hash,
    read_adapter,
)
from snnq.packed.prompting import Features, Prompting
from snnq.packed.room import check_room
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.job import fingerprint
from snnq.training.loop import run_epochs
from snnq.training.run_folder import RunFolder, open_run, run_path
from snnq.training.threads import keeps_threads, use_threads


@dataclass(frozen=True)
class Fitted:
    """A written adapter: what it says of itself, its size beside the folder's, its metrics, and what it costs.

    ``macs`` are of an inference, ``training`` of learning (``adapting.costs``).
    """

    out: str
    adapter_bytes: int
    model_bytes: int
    facts: AdapterFacts
    metrics: Json
    macs: Json
    training: Json

    def to_dict(self) -> Json:
        """Return plain data."""
        return asdict(self) | {"facts": self.facts.model_dump(mode="json")}


@keeps_threads
def adapt_fit(
    folder: str | Path,
    *,
    data: str | None = None,
    settings: AdaptSettings,
    out: str | Path,
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    force: bool = False,
    progress: Progress = silent,
    words: Config | None = None,
) -> Fitted:
    """Learn the classes of ``data`` task by task beside a packed folder that stays what it is; write an adapter.

    What is known after every task is measured on the test split, in the arithmetic that is packed. State and metrics
    lie in ``run`` (default: ``out`` with ``.run`` added); a run that was cut off goes on.

    Raises UsageError for a method that does not fit the folder's model, DataError for data that do not fit its frames,
    OutputExistsError if ``out`` is there and is not from this very run (unless ``force``), RunChangedError,
    InterruptedRun after Ctrl-C, and what opening raises.
    """
    compute, out, folder = as_compute(compute), Path(out), Path(folder)
    backbone = open_backbone(folder, settings)
    lessons, overlap = open_lessons(backbone, data, settings, progress)
    fabric, size = start_fabric(compute), settings.batch_size
    check_room(folder, backbone.config.config, size)
    config, where = _config(backbone, lessons, settings), run_path(out, run)
    macs = forward_macs(backbone.layers, backbone.wiring.graph.steps, size)
    config["threads"] = use_threads(compute, macs, None if force else where)
    mark = fingerprint(config)
    known = _known(out, mark, force)
    if known is not None:
        return _fitted(backbone, known)
    pools = Pools(backbone.sites, settings, len(lessons.sizes)) if settings.prompted else None
    reference = reference_model(backbone) if settings.method == OSPP else None
    opened = open_run(where, config, out=out, force=force, words=words)
    learning = _begin(backbone, lessons, settings, (pools, reference), fabric, progress)
    rows = solve_tasks(learning) if settings.method == LDA else _learn(opened, learning, progress)
    write(out, facts_of(learning, rows, overlap, mark), learning, force)
    return _fitted(backbone, read_again(learning, out, rows[-1], fabric))


def _config(backbone: Backbone, lessons: Lessons, settings: AdaptSettings) -> Json:
    """Return everything that a run depends on, but its threads."""
    return {
        "command": "adapt fit",
        "version": __version__,
        "folder": folder_hash(backbone.config),
        "data": lessons.data.spec,
        "data_sha256": lessons.data.sha256,
        "classes": list(lessons.data.classes),
        "sizes": list(lessons.sizes),
        **settings.said(),
    }


def _learn(run: RunFolder, learning: Learning, progress: Progress) -> list[Json]:
    """Run or resume all tasks; return what was known after each."""
    with learning.watch as watch:
        history = run_epochs(
            run,
            learning.stateful(),
            stage="adapting",
            epochs=learning.settings.epochs * len(learning.lessons.sizes),
            batches=learning.batches,
            step=learning.step,
            after_epoch=learning.after_epoch,
            check=watch.check,
            progress=progress,
        )
    learning.finish()
    return [line["known"] for line in history if "known" in line]


def open_lessons(
    backbone: Backbone, data: str | None, settings: AdaptSettings, progress: Progress
) -> tuple[Lessons, bool]:
    """Return the tasks of the data, and whether the folder was trained on these very data; raises DataError."""
    spec = data or (backbone.plan.data.spec if backbone.plan.data else None)
    if spec is None:
        raise DataError(f"{backbone.folder} does not say what it was trained on", "name the data: --data SPEC")
    config = backbone.config.config
    shape = frames_shape(config)
    found: DataSet = open_data(spec, steps=shape[0], image_size=shape[2:], progress=progress)
    check_frames(found, config)
    check_input(backbone.folder, found)
    trained = backbone.plan.data
    overlap = trained is not None and (
        trained.sha256 == found.sha256 or trained.spec.partition(",")[0] == found.spec.partition(",")[0]
    )
    return lessons_of(found, settings.tasks, settings.order), overlap


def check_frames(data: DataSet, config: Config) -> None:
    """Raise DataError where data have other channels than a model takes."""
    channels = frames_shape(config)[1]
    if data.frames_shape[1] != channels:
        raise DataError(
            f"{data.spec} has frames of {data.frames_shape[1]} channels, the model takes {channels}",
            "choose data of as many channels",
        )


def _begin(
    backbone: Backbone,
    lessons: Lessons,
    settings: AdaptSettings,
    made: tuple[Pools | None, tuple[nn.Module, Features] | None],
    fabric: Fabric,
    progress: Progress,
) -> Learning:
    """Return the learning before its first step; what frozen models say is asked for here.

    ``made``: its pools and the reference of OS-Prompt++, where it has them.
    """
    torch.manual_seed(settings.seed)
    classes, device, size = len(lessons.data.classes), fabric.device, settings.batch_size
    head = new_head(backbone.width, classes, settings.seed).to(device)
    pools, reference = made
    pools = pools.to(device) if pools is not None else None
    known, tested = Frozen(), None
    if settings.method in FROZEN or settings.twice:
        frozen = backbone.whole(classes).to(device)
        found = features_of(frozen.backbone, frozen.features, lessons.data.train, size, progress, "frozen features")
        known = Frozen(features=found)
        if settings.method in FROZEN:
            sums = features_of(frozen.backbone, frozen.features, lessons.data.test, size, progress, "frozen features")
            tested = (sums.double() * frozen.summands).round()
    if reference is not None:
        model, seen = reference
        found = features_of(fabric.to_device(model), seen, lessons.data.train, size, progress, "reference features")
        known = Frozen(reference=found)
    passes = None
    if settings.method not in FROZEN:
        model, features = backbone.floating()
        steps = backbone.wiring.graph.steps
        prompting = Prompting(model, backbone.sites, steps) if settings.prompted else None
        passes = Passes(model.to(device), features, prompting)
    trial = Trial(backbone, lessons, settings, FirstQueries(), device, tested)
    learning = Learning(settings, lessons, head, pools, passes, known, trial)
    learning.begin(0)
    return learning


def _known(out: Path, mark: str, force: bool) -> Adapter | None:
    """Return the adapter at ``out`` where it is of this very run; None where nothing is there, or ``force``."""
    if not os.path.lexists(out) or force:
        return None
    try:
        found = read_adapter(out)
        if found.facts.fingerprint == mark:
            return found
    except SnnqError:
        pass
    raise OutputExistsError(
        f"{out} is already there and is not from this folder and these settings",
        "add --force to overwrite it, or name another --out",
    )


def _fitted(backbone: Backbone, adapter: Adapter) -> Fitted:
    size = (backbone.folder / "model.safetensors").stat().st_size
    facts = adapter.facts
    return Fitted(
        str(adapter.path),
        adapter.bytes,
        size,
        facts,
        facts.known.metrics(),
        adapter_macs(backbone.folder, adapter),
        facts.training,
    )
