"""What a model says of one recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnq.base.errors import DataError, SnnqError, UsageError, nearest
from snnq.data.event_files import read_events
from snnq.data.frames import holds_frames, read_frames
from snnq.data.integrator import By, integrate_resized
from snnq.data.spec import parse_spec
from snnq.network.layers import frames_shape

ENGINES = ("torch", "integer")


@dataclass(frozen=True)
class ClassScore:
    """One class: its name (its number where the model does not know names), its logit and softmax probability."""

    name: str
    logit: float
    probability: float


@dataclass(frozen=True)
class Classification:
    """The scores of one recording, the best first, and what the recording was.

    ``sensor`` is (height, width), of the events' extent where the file does not say it (``sensor_known``); ``resized``
    says whether that had to be fitted to the model's ``image_size`` by the nearest pixel. ``by`` is how the events
    were cut into ``steps`` frames. Of a file of frames, ``events`` is the sum of its counts, and times and ``by`` are
    None.
    """

    path: str
    kind: str
    engine: str
    input: str
    scores: tuple[ClassScore, ...]
    events: int
    start_us: int | None
    span_us: int | None
    sensor: tuple[int, int]
    sensor_known: bool
    image_size: tuple[int, int]
    resized: bool
    steps: int
    by: By | None


@dataclass(frozen=True)
class _Sample:
    counts: np.ndarray  # (T, C, H, W)
    facts: dict[str, Any]  # of the classification


@dataclass(frozen=True)
class _Model:
    kind: str
    config: dict[str, Any]
    classes: tuple[str, ...]
    by: By
    source: Any  # a folder, or an opened float checkpoint


def classify(path: str | Path, input: str | Path, *, engine: str = "torch", **given: Any) -> Classification:
    """Return a model's class scores of the recording ``input``: an event file, or an .npz with the key ``frames``.

    Events become one sample of the model's time steps and image size, cut as the model's data are (by count where
    these are not known) and resized by the nearest pixel where the sensor has another size. Frames must have the
    model's shape, as those of ``frames:DIR``. ``path`` and ``given`` are as for ``eval``. Raises UsageError, DataError
    for a damaged file, and what opening raises.
    """
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: there is torch and integer{nearest(engine, ENGINES)}")
    model = _open(Path(path), str(path), engine, given)
    file = Path(input).expanduser()
    sample = (_from_frames if holds_frames(file) else _from_events)(file, str(path), model)
    logits = _run(model, engine, _small(sample.counts, file)[None])[0].astype(np.float64)
    return _classification(str(path), str(input), engine, model, sample, logits)


def _from_events(file: Path, path: str, model: _Model) -> _Sample:
    steps, channels, height, width = frames_shape(model.config)
    if channels != 2:
        raise DataError(f"{path}: the model takes {channels} channels, events have 2", "choose a model for events")
    recording = read_events(file)
    t = recording.events.t
    facts = {
        "events": len(t),
        "start_us": int(t[0]),
        "span_us": int(t[-1] - t[0]),
        "sensor": recording.sensor,
        "sensor_known": recording.sensor_known,
        "by": model.by,
    }
    return _Sample(integrate_resized(recording.events, steps, recording.sensor, (height, width), model.by), facts)


def _from_frames(file: Path, path: str, model: _Model) -> _Sample:
    steps, channels, *size = frames_shape(model.config)
    image_size = (size[0], size[1])
    counts = read_frames(file, steps, image_size)
    if counts.shape[1] != channels:
        raise DataError(f"{file}: 'frames' has {counts.shape[1]} channels, the model {path} takes {channels}.")
    facts = {"start_us": None, "span_us": None, "sensor": image_size, "sensor_known": True, "by": None}
    return _Sample(counts, facts | {"events": int(counts.sum())})


def _small(counts: np.ndarray, file: Path) -> np.ndarray:
    largest = int(counts.max())
    if largest > 65_535:
        raise DataError(f"{file}: {largest} events fall on one pixel of one frame, allowed: 65535.")
    return counts.astype(np.uint8 if largest <= 255 else np.uint16)


def _open(path: Path, name: str, engine: str, given: dict[str, Any]) -> _Model:
    if path.is_dir():
        from snnq.packed.config import PLAN_FILE, check_hash, read_config
        from snnq.packed.room import check_room
        from snnq.plan.files import read_json
        from snnq.plan.plan import parse_plan

        check_hash(path, PLAN_FILE, read_config(path))
        plan = parse_plan(read_json(path / PLAN_FILE), str(path / PLAN_FILE))
        check_room(path, plan.model.config, 1)
        classes = plan.data.classes if plan.data else ()
        return _Model("packed", plan.model.config, classes, _by(plan.data.spec if plan.data else None), path)
    if engine == "integer":
        raise UsageError(
            f"--engine integer runs packed folders; {name} is none", "make one: snnq finalize --plan plan.json"
        )
    from snnq.checkpoints.opening import open_checkpoint

    opened = open_checkpoint(name, **given)
    return _Model("float", opened.config, (), _by(opened.data), opened)


def _by(spec: str | None) -> By:
    try:
        return parse_spec(spec).by if spec else "count"
    except SnnqError:  # of a source that is gone
        return "count"


def _run(model: _Model, engine: str, frames: np.ndarray) -> np.ndarray:
    """Return logits (1, classes) of counts (1, T, 2, H, W)."""
    if engine == "integer":
        from snnq.runtime.engine import Engine

        runner = Engine(model.source)
        logits = runner(frames)
        runner.workers.close()
        return logits
    import torch

    from snnq.checkpoints.opening import load_model
    from snnq.packed.loading import load_packed

    network = load_packed(model.source) if model.kind == "packed" else load_model(model.source)
    with torch.no_grad():
        return network(torch.from_numpy(frames.astype(np.float32))).float().numpy()


def _classification(
    path: str, file: str, engine: str, model: _Model, sample: _Sample, logits: np.ndarray
) -> Classification:
    steps, _, height, width = frames_shape(model.config)
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    names = model.classes if len(model.classes) == len(logits) else tuple(map(str, range(len(logits))))
    order = np.argsort(-logits, kind="stable")
    return Classification(
        path=path,
        kind=model.kind,
        engine=engine,
        input=file,
        scores=tuple(ClassScore(names[i], float(logits[i]), float(chances[i])) for i in order),
        image_size=(height, width),
        resized=sample.facts["sensor"] != (height, width),
        steps=steps,
        **sample.facts,
    )
