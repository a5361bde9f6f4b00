"""``snnq.adapt_fit``: an adapter of a packed folder, learned task by task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import nn

from snnq.adapting.backbone import Backbone, features_of, open_backbone, reference_model
from snnq.adapting.costs import training_macs
from snnq.adapting.discriminant import solve_tasks
from snnq.adapting.learning import Known, Learning, Passes, new_head
from snnq.adapting.pools import Pools
from snnq.adapting.settings import FROZEN, LDA, OSPP, AdaptSettings
from snnq.adapting.tasks import Stream, stream_of
from snnq.adapting.trial import FirstQueries, Trial, usage
from snnq.assessing.adapter_costs import adapter_macs
from snnq.base.errors import DataError, OutputExistsError, SnnqError, VerificationError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.base.version import __version__
from snnq.data import DataSet, open_data
from snnq.network.layers import forward_macs, frames_shape
from snnq.packed.adapted import load_adapted
from snnq.packed.adapter import (
    Adapter,
    Drift,
    Facts,
    Prompted,
    Usage,
    folder_hash,
    read_adapter,
    tensors_hash,
    write_adapter,
)
from snnq.packed.prompting import Features, Prompting
from snnq.packed.room import check_room
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.evaluation import predict
from snnq.training.job import check_reals, fingerprint
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
    facts: Facts
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
    stream, overlap = open_stream(backbone, data, settings, progress)
    fabric, size = start_fabric(compute), settings.batch_size
    check_room(folder, backbone.config.config, size)
    config = {"command": "adapt fit", "version": __version__, "folder": folder_hash(backbone.config)}
    config |= {"data": stream.data.spec, "data_sha256": stream.data.sha256, **settings.said()}
    config["classes"], config["sizes"] = list(stream.data.classes), list(stream.sizes)
    where, steps = run_path(out, run), frames_shape(backbone.config.config)[0]
    config["threads"] = use_threads(compute, forward_macs(backbone.layers, steps, size), None if force else where)
    mark = fingerprint(config)
    known = _known(out, mark, force)
    if known is not None:
        return _fitted(backbone, known)
    pools = Pools(backbone.sites, settings, len(stream.sizes)) if settings.prompted else None
    reference = reference_model(backbone) if settings.method == OSPP else None
    opened = open_run(where, config, out=out, force=force, words=words)
    learning = _begin(backbone, stream, settings, (pools, reference), fabric, progress)
    rows = solve_tasks(learning) if settings.method == LDA else _learn(opened, learning, progress)
    facts = _facts(backbone, stream, overlap, settings, rows, mark, learning)
    _write(out, facts, learning, force)
    return _fitted(backbone, _checked(backbone, stream, out, rows[-1], settings, fabric))


def _learn(run: RunFolder, learning: Learning, progress: Progress) -> list[Json]:
    """Run or resume all tasks; return what was known after each."""
    with learning.watch as watch:
        history = run_epochs(
            run,
            learning.stateful(),
            stage="adapting",
            epochs=learning.settings.epochs * len(learning.stream.sizes),
            batches=learning.batches,
            step=learning.step,
            after_epoch=learning.after_epoch,
            check=watch.check,
            progress=progress,
        )
    learning.finish()
    return [line["known"] for line in history if "known" in line]


def open_stream(
    backbone: Backbone, data: str | None, settings: AdaptSettings, progress: Progress
) -> tuple[Stream, bool]:
    """Return the tasks of the data, and whether the folder was trained on these very data; raises DataError."""
    spec = data or (backbone.plan.data.spec if backbone.plan.data else None)
    if spec is None:
        raise DataError(f"{backbone.folder} does not say what it was trained on", "name the data: --data SPEC")
    config = backbone.config.config
    shape = frames_shape(config)
    found: DataSet = open_data(spec, steps=shape[0], image_size=shape[2:], progress=progress)
    check_frames(found, config)
    check_reals(found, backbone.config.architecture, config)
    trained = backbone.plan.data
    overlap = trained is not None and (
        trained.sha256 == found.sha256 or trained.spec.partition(",")[0] == found.spec.partition(",")[0]
    )
    return stream_of(found, settings.tasks, settings.order), overlap


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
    stream: Stream,
    settings: AdaptSettings,
    made: tuple[Pools | None, tuple[nn.Module, Features] | None],
    fabric: Fabric,
    progress: Progress,
) -> Learning:
    """Return the learning before its first step; what frozen models say is asked for here.

    ``made``: its pools and the reference of OS-Prompt++, where it has them.
    """
    torch.manual_seed(settings.seed)
    classes, device, size = len(stream.data.classes), fabric.device, settings.batch_size
    head = new_head(backbone.width, classes, settings.seed).to(device)
    pools, reference = made
    pools = pools.to(device) if pools is not None else None
    known, tested = Known(), None
    if settings.method in FROZEN or settings.twice:
        frozen = backbone.whole(classes).to(device)
        found = features_of(frozen.backbone, frozen.features, stream.data.train, size, progress, "frozen features")
        known = Known(features=found)
        if settings.method in FROZEN:
            sums = features_of(frozen.backbone, frozen.features, stream.data.test, size, progress, "frozen features")
            tested = (sums.double() * frozen.summands).round()
    if reference is not None:
        model, seen = reference
        found = features_of(fabric.to_device(model), seen, stream.data.train, size, progress, "reference features")
        known = Known(reference=found)
    passes = None
    if settings.method not in FROZEN:
        model, features = backbone.floating()
        steps = backbone.wiring.graph.steps
        prompting = Prompting(model, backbone.sites, steps) if settings.prompted else None
        passes = Passes(model.to(device), features, prompting)
    trial = Trial(backbone, stream, settings, FirstQueries(), device, tested)
    learning = Learning(settings, stream, head, pools, passes, known, trial)
    learning.begin(0)
    return learning


def _facts(
    backbone: Backbone,
    stream: Stream,
    overlap: bool,
    settings: AdaptSettings,
    rows: Sequence[Json],
    mark: str,
    learning: Learning,
) -> Facts:
    data, pools = stream.data, learning.pools.whole() if learning.pools is not None else {}
    used = usage(learning.trial, learning.head, learning.pools) if learning.pools is not None else []
    tensors = learning.tensors()
    said: Json = {
        "schema_version": 1,
        "tool": f"snnq {__version__}",
        "method": settings.method,
        "folder_sha256": folder_hash(backbone.config),
        "architecture": backbone.config.architecture,
        "classes": data.classes,
        "tasks": stream.sizes,
        "query": "features" if settings.twice else "block" if settings.prompted else None,
        "prompted": [
            Prompted(
                module=name,
                slots=len(one.keys),
                length=one.prompts.shape[1],
                channels=one.prompts.shape[2],
                threshold=one.threshold,
                top=one.top,
                attended=one.attention is not None,
            )
            for name, one in pools.items()
        ],
        "data": data.spec,
        "data_sha256": data.sha256,
        "simulated": data.simulated,
        "overlap": overlap,
        "settings": settings.said(),
        "known": {
            "samples": rows[-1]["samples"],
            "class_incremental": [row["class_incremental"] for row in rows],
            "task_incremental": [row["task_incremental"] for row in rows],
        },
        "drift": _drifts(rows),
        "usage": [Usage(**one) for one in used],
        "training": training_macs(
            backbone.layers, backbone.wiring.graph, backbone.wiring.head, backbone.sites, settings
        ),
        "fingerprint": mark,
        "sha256": tensors_hash(tensors),
    }
    return Facts(**said)


def _drifts(rows: Sequence[Json]) -> list[Drift]:
    """Return the drift of every attention's query, a number a task."""
    if "from_first" not in rows[0]:
        return []
    return [
        Drift(
            module=name,
            from_first=tuple(row["from_first"][name] for row in rows),
            from_frozen=tuple(row["from_frozen"][name] for row in rows),
        )
        for name in rows[0]["from_first"]
    ]


def _write(out: Path, facts: Facts, learning: Learning, force: bool) -> None:
    try:
        write_adapter(out, facts, learning.tensors(), overwrite=force)
    except FileExistsError:
        raise OutputExistsError(f"{out} has come to be there meanwhile", "name another --out, or add --force") from None
    except OSError as problem:
        raise SnnqError(f"{out}: cannot be written ({problem.strerror})", "the same command tries again") from None


def _checked(
    backbone: Backbone, stream: Stream, out: Path, last: Json, settings: AdaptSettings, fabric: Fabric
) -> Adapter:
    """Return the adapter as it is read, after seeing that it knows exactly what was measured before it was written."""
    found = read_adapter(out)
    model = fabric.to_device(load_adapted(backbone.folder, found))
    logits, labels = predict(model, stream.data.test, settings.batch_size)
    for task, due in enumerate(last["class_incremental"]):
        own = stream.classes_of(task)
        mine = (labels >= own.start) & (labels < own.stop)
        if (logits[mine].argmax(1) == labels[mine]).double().mean().item() != due:
            raise VerificationError(
                f"{out}: task {task + 1} is not known as it was before packing", "please report this"
            )
    return found


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
