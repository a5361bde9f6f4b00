"""What an adapter says of itself, its file, and the look at whether that knows what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_fabric import Fabric

from snnq.adapting.costs import training_macs
from snnq.adapting.learning import Learning
from snnq.adapting.trial import usage
from snnq.base.continual import TaskAccuracies
from snnq.base.errors import OutputExistsError, SnnqError, VerificationError
from snnq.base.strict_json import Json
from snnq.base.version import __version__
from snnq.packed.adapted import load_adapted
from snnq.packed.adapter import (
    Adapter,
    AdapterFacts,
    Drift,
    Prompted,
    Usage,
    folder_hash,
    read_adapter,
    tensors_hash,
    write_adapter,
)
from snnq.training.evaluation import predict


def facts_of(learning: Learning, rows: Sequence[Json], overlap: bool, mark: str) -> AdapterFacts:
    """Return what an adapter says of itself; ``rows``: what was known after each task."""
    lessons, settings, backbone = learning.lessons, learning.settings, learning.trial.backbone
    graph, data = backbone.wiring.graph, lessons.data
    used = usage(learning.trial, learning.head, learning.pools) if learning.pools is not None else []
    costs = training_macs(backbone.layers, graph, backbone.wiring.head, backbone.sites, settings)
    return AdapterFacts(
        schema_version=1,
        tool=f"snnq {__version__}",
        method=settings.method,  # pyright: ignore[reportArgumentType]
        folder_sha256=folder_hash(backbone.config),
        architecture=backbone.config.architecture,
        classes=data.classes,
        tasks=lessons.sizes,
        query="features" if settings.twice else "block" if settings.prompted else None,
        prompted=_prompted(learning),
        data=data.spec,
        data_sha256=data.sha256,
        simulated=data.simulated,
        overlap=overlap,
        settings=settings.said(),
        known=TaskAccuracies(
            samples=tuple(rows[-1]["samples"]),
            class_incremental=tuple(tuple(row["class_incremental"]) for row in rows),
            task_incremental=tuple(tuple(row["task_incremental"]) for row in rows),
        ),
        drift=_drifts(rows),
        usage=tuple(Usage(**one) for one in used),
        training=costs,
        fingerprint=mark,
        sha256=tensors_hash(learning.tensors()),
    )


def _prompted(learning: Learning) -> tuple[Prompted, ...]:
    pools = learning.pools.whole() if learning.pools is not None else {}
    return tuple(
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
    )


def _drifts(rows: Sequence[Json]) -> tuple[Drift, ...]:
    """Return the drift of every attention's query, a number a task."""
    return tuple(
        Drift(
            module=name,
            from_first=tuple(row["from_first"][name] for row in rows),
            from_frozen=tuple(row["from_frozen"][name] for row in rows),
        )
        for name in rows[0].get("from_first", ())
    )


def write(out: Path, facts: AdapterFacts, learning: Learning, force: bool) -> None:
    """Write an adapter; raises OutputExistsError where something has come there, SnnqError where it cannot be."""
    try:
        write_adapter(out, facts, learning.tensors(), overwrite=force)
    except FileExistsError:
        raise OutputExistsError(f"{out} has come to be there meanwhile", "name another --out, or add --force") from None
    except OSError as problem:
        raise SnnqError(f"{out}: cannot be written ({problem.strerror})", "the same command tries again") from None


def read_again(learning: Learning, out: Path, last: Json, fabric: Fabric) -> Adapter:
    """Return the adapter as it is read, after seeing that it knows exactly what was measured before it was written."""
    found, lessons = read_adapter(out), learning.lessons
    model = fabric.to_device(load_adapted(learning.trial.backbone.folder, found))
    logits, labels = predict(model, lessons.data.test, learning.settings.batch_size)
    for task, due in enumerate(last["class_incremental"]):
        own = lessons.classes_of(task)
        mine = (labels >= own.start) & (labels < own.stop)
        if (logits[mine].argmax(1) == labels[mine]).double().mean().item() != due:
            raise VerificationError(
                f"{out}: task {task + 1} is not known as it was before packing", "please report this"
            )
    return found
