"""Writing a calibration set: which samples go where, what is said of each candidate, and of the set."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from snnq.base.placing import install, workplace
from snnq.base.progress import Progress
from snnq.base.strict_json import Config, Json
from snnq.base.version import __version__
from snnq.calibrating.candidates import Candidates
from snnq.calibrating.choosing import Choice, Judges
from snnq.calibrating.few import FewShots
from snnq.calibrating.pictures import Camera, Generator
from snnq.calibrating.settings import CalibrateSettings
from snnq.checkpoints.opening import Checkpoint
from snnq.data.calibration_sets import FRAMES_FILE, SAMPLES_FILE, SET_FILE, CalibrationSet
from snnq.data.spec import SPLITS
from snnq.data.splits import stratified

# Of the samples that are kept: what validation and test have each.
_HELD_OUT = 1 / 8
_BATCH = 32
# Words that change no byte of a set.
_NO_FACT = ("out", "run", "device", "threads")


@dataclass(frozen=True)
class Task:
    """What a set is made for and with; ``macs`` of a batch decide how many threads compute."""

    opened: Checkpoint
    names: tuple[str, ...]
    settings: CalibrateSettings
    judges: Judges
    generator: Generator
    camera: Camera
    macs: int
    few: FewShots | None


def write_set(
    out: Path,
    task: Task,
    made: Candidates,
    choice: Choice,
    learned: Json,
    mark: str,
    words: Config | None,
    force: bool,
    progress: Progress,
) -> CalibrationSet:
    """Write the set: samples kept in the order train, validation, test, and a line for every candidate."""
    splits = _splits(made.asked[choice.kept])
    order = np.concatenate([choice.kept[splits[name]] for name in SPLITS])
    frames = np.ascontiguousarray(made.frames[order])
    answers = _answers(task, made.frames, progress)
    of = {int(number): name for name in SPLITS for number in choice.kept[splits[name]]}
    lines = []
    for number, (note, scores, answer) in enumerate(zip(made.notes, choice.rows, answers, strict=True)):
        content = hashlib.sha256(np.ascontiguousarray(made.frames[number], frames.dtype).tobytes()).hexdigest()
        row = {"number": number, "split": of.get(number), **note, "answer": answer, **scores, "sha256": content}
        lines.append(json.dumps(row, allow_nan=False) + "\n")
    with workplace(out) as place:
        place.mkdir()
        np.save(place / FRAMES_FILE, frames, allow_pickle=False)
        (place / SAMPLES_FILE).write_text("".join(lines), encoding="utf-8", newline="\n")
        counts = {name: len(splits[name]) for name in SPLITS}
        found = _record(place, task, made, choice, learned, counts, mark, words)
        (place / SET_FILE).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8", newline="\n")
        install(place, out, overwrite=force)
    return found


def _splits(asked: np.ndarray) -> dict[str, np.ndarray]:
    """Return places in the kept samples by split, class by class; an eighth each is validation and test."""
    sparse = np.unique(asked, return_counts=True)[1].min() < 3
    test, validation, train = stratified(np.zeros_like(asked) if sparse else asked, (_HELD_OUT, _HELD_OUT))
    return {"train": train, "validation": validation, "test": test}


@torch.no_grad()
def _answers(task: Task, frames: np.ndarray, progress: Progress) -> list[int]:
    """Return the class that the float model gives each candidate."""
    found = []
    for start in range(0, len(frames), _BATCH):
        batch = torch.from_numpy(frames[start : start + _BATCH].astype(np.float32)).to(task.judges.device)
        found += task.judges.model(batch).argmax(1).tolist()
        progress("asking the float model", min(start + _BATCH, len(frames)), len(frames))
    return found


def _record(
    place: Path,
    task: Task,
    made: Candidates,
    choice: Choice,
    learned: Json,
    splits: dict[str, int],
    mark: str,
    words: Config | None,
) -> CalibrationSet:
    kept = {key: value for key, value in ((words or {}).get("words") or {}).items() if key not in _NO_FACT}
    return CalibrationSet(
        tool=f"snnq {__version__}",
        fingerprint=mark,
        checkpoint_sha256=task.opened.sha256,
        architecture=task.opened.architecture,
        classes=task.names,
        frames_shape=made.frames.shape[1:],
        generator=task.settings.generator,
        seed=task.settings.seed,
        candidates=len(made.frames),
        splits=splits,
        filters=task.settings.filters,
        thresholds=choice.thresholds,
        command=kept,
        facts={"camera": task.camera.name, "by": task.camera.by, **task.generator.facts, **learned, **choice.facts},
        sha256={name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in (FRAMES_FILE, SAMPLES_FILE)},
    )
