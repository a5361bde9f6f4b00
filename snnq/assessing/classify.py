"""What a model says of one recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from snnq.assessing.adapted import open_adapter
from snnq.assessing.subject import Subject, check_engine, open_subject
from snnq.base.errors import DataError, SnnqError
from snnq.checkpoints.sizes import Given
from snnq.data.event_files import read_events
from snnq.data.frames import cut_by, holds_frames, read_frames
from snnq.data.integrator import By, integrate_resized
from snnq.data.sources import shows_images
from snnq.data.spec import DataSpec, parse_spec
from snnq.network.layers import frames_shape
from snnq.packed.adapter import Adapter
from snnq.packed.room import check_room


@dataclass(frozen=True)
class ClassScore:
    """One class: its name (its number where the model does not know names), its logit and softmax probability."""

    name: str
    logit: float
    probability: float


@dataclass(frozen=True)
class Classification:
    """The scores of one recording, the best first, and what the recording was.

    ``sensor`` is (height, width): the file's, or that of the model's data; the events' extent where neither says it or
    events lie outside (``sensor_known`` is False). ``resized`` says whether that had to be fitted to the model's
    ``image_size`` by the nearest pixel. ``by`` is how the events were cut into ``steps`` frames. Of a file of frames,
    ``events`` is the sum of its counts, and times and ``by`` are None. ``notes`` say what was taken for granted.
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
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Sample:
    """A recording as the model takes it, and what it was."""

    counts: np.ndarray  # (T, C, H, W)
    events: int
    sensor: tuple[int, int]
    sensor_known: bool = True
    start_us: int | None = None
    span_us: int | None = None
    by: By | None = None
    notes: tuple[str, ...] = ()


def classify(
    path: str | Path,
    input: str | Path,
    *,
    engine: str = "torch",
    adapter: str | Path | None = None,
    **given: Unpack[Given],
) -> Classification:
    """Return a model's class scores of the recording ``input``: an event file, or an .npz with the key ``frames``.

    Events become one sample of the model's time steps and image size, cut as the model's data are (by count where
    these are not known) and resized by the nearest pixel where the sensor has another size. Frames must have the
    model's shape, as those of ``frames:DIR``. ``path``, ``adapter`` and ``given`` are as for ``eval``.

    Raises UsageError, DataError for a damaged file, and what opening raises.
    """
    check_engine(engine)
    subject, file = open_subject(path, **given), Path(input).expanduser()
    check_engine(engine, subject)
    known = None if adapter is None else open_adapter(subject, adapter, engine)
    spec = subject.data_spec if known is None else known.facts.data
    if shows_images(spec, 0):
        raise DataError(
            f"{path}: its data are images ({spec}), and a recording is none",
            f"evaluate it on such data: snnq eval MODEL --data {spec}",
        )
    if subject.kind == "packed":
        check_room(subject.path, subject.config, 1)
    sample = _from_frames(file, subject) if holds_frames(file) else _from_events(file, subject, spec)
    logits = _run(subject, engine, _small(sample.counts, file)[None], known)[0].astype(np.float64)
    return _classification(str(path), str(input), engine, subject, sample, logits, known)


def _from_events(file: Path, model: Subject, spec: str | None) -> _Sample:
    steps, channels, height, width = frames_shape(model.config)
    if channels != 2:
        raise DataError(
            f"{model.path}: the model takes {channels} channels, events have 2", "choose a model for events"
        )
    recording, data = read_events(file), _parsed(spec)
    t, sensor, said = recording.events.t, recording.sensor, recording.sensor_known
    own = data.source.sensor if data else None
    notes = [recording.note] if recording.note else []
    if not said and own and sensor[0] <= own[0] and sensor[1] <= own[1]:
        sensor, said = own, True
    elif not said:
        where = f"; events lie outside the {own[0]}x{own[1]} of the model's data" if own else ""
        notes.append(f"{file} does not say the sensor's size{where}; its events reach over {sensor[0]}x{sensor[1]}.")
    known = cut_by(data.path, steps) if data and data.name == "frames" else data and data.by
    if known is None:
        notes.append("How the frames of the model's data were cut is not known: by count.")
    by = known or "count"
    counts = integrate_resized(recording.events, steps, sensor, (height, width), by)
    return _Sample(counts, len(t), sensor, said, int(t[0]), int(t[-1] - t[0]), by, tuple(notes))


def _from_frames(file: Path, model: Subject) -> _Sample:
    steps, channels, *size = frames_shape(model.config)
    image_size = (size[0], size[1])
    counts = read_frames(file, steps, image_size)
    if counts.shape[1] != channels:
        raise DataError(f"{file}: 'frames' has {counts.shape[1]} channels, the model {model.path} takes {channels}.")
    return _Sample(counts, int(counts.sum()), image_size)


def _small(counts: np.ndarray, file: Path) -> np.ndarray:
    largest = int(counts.max())
    if largest > 65_535:
        raise DataError(f"{file}: {largest} events fall on one pixel of one frame, allowed: 65535.")
    return counts.astype(np.uint8 if largest <= 255 else np.uint16)


def _parsed(spec: str | None) -> DataSpec | None:
    try:
        return parse_spec(spec) if spec else None
    except SnnqError:  # of a source that is gone
        return None


def _run(model: Subject, engine: str, frames: np.ndarray, adapter: Adapter | None) -> np.ndarray:
    """Return logits (1, classes) of counts (1, T, 2, H, W)."""
    if engine == "integer":
        from snnq.runtime.adapted import AdaptedEngine
        from snnq.runtime.engine import Engine

        runner = Engine(model.path) if adapter is None else AdaptedEngine(model.path, adapter)
        logits = runner(frames)
        runner.workers.close()
        return logits
    import torch

    from snnq.packed.adapted import load_adapted

    made = model.model() if adapter is None else load_adapted(model.path, adapter)
    with torch.no_grad():
        return made(torch.from_numpy(frames.astype(np.float32))).float().numpy()


def _classification(
    path: str,
    file: str,
    engine: str,
    model: Subject,
    sample: _Sample,
    logits: np.ndarray,
    adapter: Adapter | None,
) -> Classification:
    steps, _, height, width = frames_shape(model.config)
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    names = tuple(map(str, range(len(logits))))
    if adapter is not None:
        names = adapter.facts.classes
    elif model.plan and model.plan.data and len(model.plan.data.classes) == len(logits):
        names = model.plan.data.classes
    order = np.argsort(-logits, kind="stable")
    return Classification(
        path=path,
        kind=model.kind,
        engine=engine,
        input=file,
        scores=tuple(ClassScore(names[i], float(logits[i]), float(chances[i])) for i in order),
        events=sample.events,
        start_us=sample.start_us,
        span_us=sample.span_us,
        sensor=sample.sensor,
        sensor_known=sample.sensor_known,
        image_size=(height, width),
        resized=sample.sensor != (height, width),
        steps=steps,
        by=sample.by,
        notes=sample.notes,
    )
