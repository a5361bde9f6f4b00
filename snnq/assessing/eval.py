"""``snnq.eval``: accuracy of anything that can be run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from snnq.assessing.adapted import adapter_data, open_adapter
from snnq.assessing.exit_records import Exits, ExitWords, exit_words
from snnq.assessing.exits import evaluate_exits
from snnq.assessing.subject import Subject, check_engine, check_split, open_subject
from snnq.base.errors import DataError, UsageError
from snnq.base.progress import Progress, silent
from snnq.checkpoints.sizes import Given
from snnq.data.dataset import DataSet, Frames
from snnq.network.layers import forward_macs, frames_shape
from snnq.packed.adapted import load_adapted
from snnq.packed.adapter import Adapter
from snnq.packed.input import engine_frames
from snnq.packed.room import check_room
from snnq.packed.sizes import folder_bits
from snnq.training.chance import warn_misfit
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.evaluation import predict, score, top_share, video_share, videos_of
from snnq.training.job import check_labels
from snnq.training.threads import keeps_threads, use_threads


@dataclass(frozen=True)
class Evaluation:
    """Accuracy (0 … 1) and mean cross-entropy (nats) of a model on one split.

    ``arithmetic``: ``integer`` where a packed folder ran in whole numbers, else ``float``.
    Where samples are clips, ``accuracy`` is per clip, and ``video_accuracy`` per video: the mean probabilities of its
    clips; ``videos`` counts them. ``top5`` is the share whose class is among the first five; None where there are no
    more. ``seconds`` is what all of it took but for opening. ``images`` says what was done to images, where the data
    are such, and not events. Of a packed folder also its bits per weight: ``avg_bits`` by the plan, ``file_avg_bits``
    of the whole file; and with an ``adapter`` its path and bytes: the classes are then the adapter's.
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
    videos: int | None = None
    video_accuracy: float | None = None
    adapter: str | None = None
    adapter_bytes: int | None = None
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
    cost_table: str | None = None,
    weight_reuse: str | None = None,
    adapter: str | Path | None = None,
    compute: Compute | str = "auto",
    progress: Progress = silent,
    **given: Unpack[Given],
) -> Evaluation:
    """Return the accuracy of a float checkpoint (``given``: sizes it cannot tell) or of a packed folder.

    A packed folder runs on torch or on the ``integer`` engine, with the same logits; ``compute`` says on which device
    and with how many threads (a string: on which device), the engine runs on the CPU. An ``adapter`` brings its own
    classes and data.

    ``exit_entropy``: samples take time steps until the normalised entropy of their logits is below it (0 … 1); ``auto``
    chooses it on the validation split, whose accuracy may lose ``exit_loss`` points. Energy and latency are measured on
    ``exit_samples`` samples (0: not), priced by a ``cost_table`` and ``weight_reuse`` other than its own where given.

    Raises UsageError for an unknown split or engine, DataError where no data is named or it does not fit,
    VerificationError for another folder's adapter, and what opening raises.
    """
    words = _exit_words(exit_entropy, exit_loss, exit_samples, cost_table, weight_reuse)
    if words is not None and adapter is not None:
        raise UsageError("--exit-entropy and --adapter: give one of them", "prompts are chosen by all time steps")
    check_split(split)
    check_engine(engine)
    compute, subject = as_compute(compute), open_subject(path, **given)
    check_engine(engine, subject)
    known = None if adapter is None else open_adapter(subject, adapter, engine)
    found = subject.data(data, progress) if known is None else adapter_data(subject.path, known, data, progress)
    how = _How(engine, batch_size, compute, progress)
    return _evaluated(str(path), subject, found, split, known, words, how)


@dataclass(frozen=True)
class _How:
    engine: str
    batch_size: int
    compute: Compute
    progress: Progress


def _exit_words(
    entropy: float | str | None, loss: float, samples: int, cost_table: str | None, weight_reuse: str | None
) -> ExitWords | None:
    if entropy is not None:
        return exit_words(entropy, loss, samples, cost_table, weight_reuse)
    for option, said in (("--cost-table", cost_table), ("--weight-reuse", weight_reuse)):
        if said is not None:
            raise UsageError(f"{option} {said}: nothing is priced without --exit-entropy", "snnq cost measure PATH")
    return None


def _evaluated(
    path: str,
    subject: Subject,
    data: DataSet,
    split: str,
    known: Adapter | None,
    words: ExitWords | None,
    how: _How,
) -> Evaluation:
    """Run a model on a split, and say what it came to."""
    check_labels(data, "name labelled data: --data SPEC; how often the float model is agreed with, snnq ptq measures")
    samples: Frames = getattr(data, split)
    bits = folder_bits(subject.path) if subject.kind == "packed" else (None, None)
    if not len(samples):
        raise DataError(f"{data.spec}: its {split} split is empty", "choose another split: --split test")
    if words is None:
        begun, exits = time.perf_counter(), None
        logits, arithmetic = _logits(subject, how, samples, known)
        seconds = time.perf_counter() - begun
    else:
        logits, arithmetic, seconds, exits = evaluate_exits(subject, data, split, words, **vars(how))
    labels = torch.from_numpy(samples.labels)
    result = score(logits, labels)
    warn_misfit(logits, data, split, f"the {subject.kind} model")
    numbers = (result.samples, result.accuracy, result.loss)
    run = (path, subject.kind, how.engine, arithmetic, data.spec, split)
    images = str(data.pixels) if data.pixels else None
    more = (str(known.path), known.bytes) if known else (None, None)
    share, videos = video_share(logits, labels, videos_of(samples)) or (None, None)
    top5 = top_share(logits, labels, 5)
    return Evaluation(*run, *numbers, data.simulated, *bits, top5, images, exits, videos, share, *more, seconds)


def _logits(subject: Subject, how: _How, samples: Frames, adapter: Adapter | None) -> tuple[Tensor, str]:
    """Return the logits (N, classes) of a model, and the arithmetic it ran in."""
    size = how.batch_size
    if subject.kind == "packed":
        check_room(subject.path, subject.config, min(size, len(samples)))
    if how.engine == "integer":
        found = run_integer(subject.path, samples, size, how.progress, how.compute.threads, adapter)
        return torch.from_numpy(found), "integer"
    model = subject.model() if adapter is None else load_adapted(subject.path, adapter)
    use_threads(how.compute, forward_macs(subject.layers(model), frames_shape(subject.config)[0], size))
    logits = predict(placed(model, start_fabric(how.compute).device), samples, size, how.progress)[0]
    return logits, getattr(model, "arithmetic", "float")


def run_integer(
    folder: Path,
    samples: Frames,
    batch_size: int,
    progress: Progress = silent,
    threads: int | None = None,
    adapter: Adapter | None = None,
) -> np.ndarray:
    """Return the integer engine's logits (N, classes) of a split; ``threads`` as for the engine."""
    from snnq.runtime.adapted import AdaptedEngine
    from snnq.runtime.engine import Engine

    model = Engine(folder, threads) if adapter is None else AdaptedEngine(folder, adapter, threads)
    found = []
    for begin in range(0, len(samples), batch_size):
        end = min(begin + batch_size, len(samples))
        found.append(model(engine_frames(samples, range(begin, end), model.pixels)))
        progress("evaluating", min(begin + batch_size, len(samples)), len(samples))
    model.workers.close()
    return np.concatenate(found)
