"""Dynamic time steps on a split: logits after every step, the threshold, and what it saves (docs/exits.md)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from snnq.assessing.exit_costs import exit_costs
from snnq.assessing.exit_records import ExitChoice, ExitPoint, Exits, ExitWords
from snnq.assessing.exit_rule import Answers, choose, ladder
from snnq.assessing.subject import Subject
from snnq.base.errors import DataError, UsageError
from snnq.base.progress import Progress
from snnq.data import DataSet
from snnq.data.dataset import Frames
from snnq.models.registry import attention_table
from snnq.network.layers import forward_macs, frames_shape
from snnq.packed.input import engine_frames
from snnq.packed.loading import take_steps
from snnq.packed.room import check_room
from snnq.training.devices import Compute, placed, start_fabric
from snnq.training.evaluation import predict, score
from snnq.training.threads import use_threads

CURVE_POINTS = 40
CHOSEN_ON = "validation"
# Logits (N, answers, classes) of a split.
Run = Callable[[Frames], np.ndarray]


def evaluate_exits(
    subject: Subject,
    data: DataSet,
    split: str,
    words: ExitWords,
    *,
    engine: str,
    batch_size: int,
    compute: Compute,
    progress: Progress,
) -> tuple[Tensor, str, float, Exits]:
    """Return logits float32 (N, classes) that samples of a split end with, the arithmetic, seconds, and what exits do.

    The seconds are those of all steps of the split, without choosing and measuring.

    Raises UsageError for a network that answers only once, DataError where a threshold is to be chosen on no samples.
    """
    if words.threshold is None and not len(data.validation):
        raise DataError(f"{data.spec}: its validation split is empty", "give a threshold: --exit-entropy 0.1")
    splits = (split,) if words.threshold is not None or split == CHOSEN_ON else (split, CHOSEN_ON)
    how = {"engine": engine, "batch_size": batch_size, "compute": compute, "progress": progress}
    answers, arithmetic, seconds = answers_on(subject, data, splits, **how)
    found, threshold, choice = answers[split], words.threshold, None
    if threshold is None:
        threshold, choice = _choice(answers[CHOSEN_ON], words.loss)
    exits, ended = exits_under(found, threshold, choice, split), found.exits(threshold)
    if words.samples:
        taken = (threshold, np.array(found.after)[ended], found.after)
        costs = exit_costs(subject, data, split, taken, words, engine, compute, progress)
        exits = replace(exits, exit_costs=costs)
    return torch.from_numpy(found.logits[np.arange(len(ended)), ended]), arithmetic, seconds, exits


def answers_on(
    subject: Subject,
    data: DataSet,
    splits: Sequence[str],
    *,
    engine: str,
    batch_size: int,
    compute: Compute,
    progress: Progress,
) -> tuple[dict[str, Answers], str, float]:
    """Return a model's logits after every step on splits, the arithmetic, and the seconds that the first split took.

    Raises UsageError for a network that answers only once.
    """
    after = answers_of(subject)
    if len(after) <= 1:
        steps = data.frames_shape[0]
        raise UsageError(f"{subject.path}: it answers once, after {steps} time steps, so no sample can end before")
    if subject.kind == "packed":
        check_room(subject.path, subject.config, min(batch_size, len(getattr(data, splits[0]))))
    run, arithmetic = _runner(subject, engine, after, batch_size, compute, progress)
    found, took = {}, []
    for split in splits:
        begun, frames = time.perf_counter(), getattr(data, split)
        found[split] = Answers(run(frames), frames.labels, after)
        took.append(time.perf_counter() - begun)
    return found, arithmetic, took[0]


def answers_of(subject: Subject) -> tuple[int, ...]:
    """Return the numbers of steps after which a model has logits: all, but for attention that mixes several at once.

    Segments of clips begin anew, and their frames are no steps of one run: then it is the last one alone.
    """
    chunk = math.lcm(*(one.chunk for one in attention_table(subject.architecture, subject.config)))
    steps = frames_shape(subject.config)[0]
    if subject.config.get("key_stride") is not None:
        return (steps,)
    return tuple(range(chunk, steps + 1, chunk))


def _runner(
    subject: Subject, engine: str, after: Sequence[int], batch_size: int, compute: Compute, progress: Progress
) -> tuple[Run, str]:
    """Return what runs a split and gives logits after every answer, and the arithmetic it is run in."""
    if engine == "integer":
        from snnq.runtime.engine import Engine

        runner = Engine(subject.path, compute.threads)
        return lambda frames: _stream(runner, frames, batch_size, progress), "integer"
    model = subject.model()
    use_threads(compute, forward_macs(subject.layers(model), after[-1], batch_size))
    model = placed(model, start_fabric(compute).device)
    return lambda frames: _prefixes(model, frames, after, batch_size, progress), getattr(model, "arithmetic", "float")


def _stream(runner: object, frames: Frames, batch_size: int, progress: Progress) -> np.ndarray:
    """Return the integer engine's logits after every answer: one run, step by step."""
    from snnq.runtime.engine import Engine

    assert isinstance(runner, Engine)
    found, steps = [], frames.frames.shape[1]
    for begin in range(0, len(frames), batch_size):
        places = range(begin, min(begin + batch_size, len(frames)))
        running, batch = runner.stream(), engine_frames(frames, places, runner.pixels)
        each = [running.steps(batch[:, t : t + running.chunk]) for t in range(0, steps, running.chunk)]
        found.append(np.stack(each, 1))
        progress("evaluating", places.stop, len(frames))
    return np.concatenate(found)


def _prefixes(
    model: nn.Module, frames: Frames, after: Sequence[int], batch_size: int, progress: Progress
) -> np.ndarray:
    """Return a torch model's logits after every answer: each a run of so many first steps."""
    found = []
    for steps in after:
        take_steps(model, steps)
        first = replace(frames, frames=frames.frames[:, :steps])
        found.append(predict(model, first, batch_size, progress, f"evaluating, {steps} of {after[-1]} steps")[0])
    return torch.stack(found, 1).numpy()


def _choice(found: Answers, loss: float) -> tuple[float, ExitChoice]:
    """Return the threshold that is chosen on the validation split, and what it does there."""
    threshold = choose(found, loss)
    mean, right = _under(found, threshold)
    whole = float(found.right[:, -1].mean())
    return threshold, ExitChoice(CHOSEN_ON, len(found.labels), loss, right, whole, mean)


def _under(found: Answers, threshold: float) -> tuple[float, float]:
    """Return mean steps and accuracy under a threshold."""
    ended = found.exits(threshold)
    return float(np.array(found.after)[ended].mean()), float(found.right[np.arange(len(ended)), ended].mean())


def exits_under(found: Answers, threshold: float, choice: ExitChoice | None, split: str) -> Exits:
    """Return what a threshold does on a split, but for its costs."""
    ended, labels = found.exits(threshold), torch.from_numpy(found.labels)
    own, whole = (
        score(torch.from_numpy(found.logits[np.arange(len(ended)), place]), labels)
        for place in (ended, len(found.after) - 1)
    )
    exited, fixed = np.bincount(ended, minlength=len(found.after)), found.right.mean(0)
    return Exits(
        threshold=threshold,
        choice=choice,
        split=split,
        samples=len(labels),
        steps=found.after[-1],
        answers=found.after,
        mean_steps=float(np.array(found.after)[ended].mean()),
        accuracy=own.accuracy,
        loss=own.loss,
        accuracy_all_steps=whole.accuracy,
        loss_all_steps=whole.loss,
        accuracy_shuffled=float(exited @ fixed / len(labels)),
        exited=tuple(map(int, exited)),
        fixed=tuple(map(float, fixed)),
        curve=_curve(found),
        exit_costs=None,
    )


def _curve(found: Answers) -> tuple[ExitPoint, ...]:
    """Return some thresholds, evenly by their mean steps."""
    known, count = ladder(found), len(found.labels)
    due = np.linspace(known.steps[0], known.steps[-1], CURVE_POINTS)
    places = np.unique(len(known.steps) - 1 - np.searchsorted(known.steps[::-1], due, side="right").clip(1) + 1)
    return tuple(
        ExitPoint(float(known.thresholds[i]), float(known.steps[i] / count), float(known.right[i] / count))
        for i in places
    )
