"""``snnq.eval``: accuracy of anything that can be run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from snnq.assessing.exit_records import Exits, exit_words
from snnq.assessing.exits import evaluate_exits
from snnq.assessing.subject import Subject, check_engine, check_split, open_subject
from snnq.base.errors import DataError
from snnq.base.progress import Progress, silent
from snnq.checkpoints.sizes import Given
from snnq.data.dataset import Frames
from snnq.network.layers import forward_macs, frames_shape
from snnq.packed.room import check_room
from snnq.packed.sizes import folder_bits
from snnq.training.chance import warn_misfit
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.evaluation import predict, score, top_share
from snnq.training.threads import keeps_threads, use_threads


@dataclass(frozen=True)
class Evaluation:
    """Accuracy (0 … 1) and mean cross-entropy (nats) of a model on one split.

    ``arithmetic``: ``integer`` where a packed folder ran in whole numbers, else ``float``.
    ``top5`` is the share whose class is among the first five; None where there are no more. ``seconds`` is what all of
    it took but for opening. ``images`` says what was done to images, where the data are such, and not events.
    Of a packed folder also its bits per weight: ``avg_bits`` by the plan, ``file_avg_bits`` of the whole file.
    ``exits``, where they were asked for: accuracies and loss above are those of samples that ended when they were sure.
    """

    path: str
    kind: str
    engine: str
    arithmetic: str
    data: str
    split: str
    samples: int
    accuracy: float
    loss: float
    simulated: bool
    avg_bits: float | None = None
    file_avg_bits: float | None = None
    top5: float | None = None
    images: str | None = None
    exits: Exits | None = None
    seconds: float = field(default=0.0, compare=False)

    @property
    def samples_per_second(self) -> float:
        """Samples by the seconds."""
        return self.samples / self.seconds if self.seconds else 0.0


@keeps_threads
def eval(
    path: str | Path,
    *,
    data: str | None = None,
    split: str = "test",
    batch_size: int = 32,
    engine: str = "torch",
    exit_entropy: float | str | None = None,
    exit_loss: float = 0.5,
    exit_samples: int = 64,
    compute: Compute | str = "auto",
    progress: Progress = silent,
    **given: Unpack[Given],
) -> Evaluation:
    """Return the accuracy of a float checkpoint (``given``: sizes it cannot tell) or of a packed folder.

    A packed folder runs on torch or on the ``integer`` engine, with the same logits; ``compute`` says on which device
    and with how many threads (a string: on which device), the engine runs on the CPU.

    ``exit_entropy``: samples take time steps until the normalised entropy of their logits is below it (0 … 1); ``auto``
    chooses it on the validation split, whose accuracy may lose ``exit_loss`` points. Energy and latency are measured on
    ``exit_samples`` samples (0: not).

    Raises UsageError for an unknown split or engine, DataError where no data is named or it does not fit, and what
    opening raises.
    """
    words = None if exit_entropy is None else exit_words(exit_entropy, exit_loss, exit_samples)
    check_split(split)
    check_engine(engine)
    compute, subject = as_compute(compute), open_subject(path, **given)
    check_engine(engine, subject)
    found = subject.data(data, progress)
    samples: Frames = getattr(found, split)
    bits = folder_bits(subject.path) if subject.kind == "packed" else (None, None)
    if not len(samples):
        raise DataError(f"{found.spec}: its {split} split is empty", "choose another split: --split test")
    if words is None:
        begun, exits = time.perf_counter(), None
        logits, arithmetic = _logits(subject, engine, samples, batch_size, compute, progress)
        seconds = time.perf_counter() - begun
    else:
        how = {"engine": engine, "batch_size": batch_size, "compute": compute, "progress": progress}
        logits, arithmetic, seconds, exits = evaluate_exits(subject, found, split, words, **how)
    labels = torch.from_numpy(samples.labels)
    result = score(logits, labels)
    warn_misfit(logits, found, split, f"the {subject.kind} model")
    numbers = (result.samples, result.accuracy, result.loss)
    run = (str(path), subject.kind, engine, arithmetic, found.spec, split)
    images = str(found.pixels) if found.pixels else None
    return Evaluation(*run, *numbers, found.simulated, *bits, top_share(logits, labels, 5), images, exits, seconds)


def _logits(
    subject: Subject, engine: str, samples: Frames, batch_size: int, compute: Compute, progress: Progress
) -> tuple[Tensor, str]:
    """Return the logits (N, classes) of a model, and the arithmetic it ran in."""
    if subject.kind == "packed":
        check_room(subject.path, subject.config, min(batch_size, len(samples)))
    if engine == "integer":
        return torch.from_numpy(run_integer(subject.path, samples, batch_size, progress, compute.threads)), "integer"
    model = subject.model()
    use_threads(compute, forward_macs(subject.layers(model), frames_shape(subject.config)[0], batch_size))
    logits = predict(placed(model, start_fabric(compute).device), samples, batch_size, progress)[0]
    return logits, getattr(model, "arithmetic", "float")


def run_integer(
    folder: Path, samples: Frames, batch_size: int, progress: Progress = silent, threads: int | None = None
) -> np.ndarray:
    """Return the integer engine's logits (N, classes) of a split; ``threads`` as for the engine."""
    from snnq.runtime.engine import Engine

    model, found = Engine(folder, threads), []
    for begin in range(0, len(samples), batch_size):
        found.append(model(np.asarray(samples.frames[begin : begin + batch_size])))
        progress("evaluating", min(begin + batch_size, len(samples)), len(samples))
    model.workers.close()
    return np.concatenate(found)
