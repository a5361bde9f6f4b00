"""``snnq.eval``: accuracy of anything that can be run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnq.base.errors import DataError, UsageError, nearest
from snnq.base.progress import Progress, silent
from snnq.data import DataSet, open_data
from snnq.data.dataset import Frames
from snnq.network.layers import forward_macs, frames_shape
from snnq.packed.room import check_room
from snnq.packed.sizes import folder_bits
from snnq.plan.records import PlanInput
from snnq.training.chance import warn_misfit
from snnq.training.devices import Compute, as_compute, placed, start_fabric
from snnq.training.evaluation import predict, score
from snnq.training.job import check_fit, check_order, open_job
from snnq.training.threads import keeps_threads, use_threads

SPLITS = ("train", "validation", "test")
ENGINES = ("torch", "integer")


@dataclass(frozen=True)
class Evaluation:
    """Accuracy (0 … 1) and mean cross-entropy (nats) of a model on one split.

    ``arithmetic``: ``integer`` where a packed folder ran in whole numbers, else ``float``.
    Of a packed folder also its bits per weight: ``avg_bits`` by the plan, ``file_avg_bits`` of the whole file.
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


@keeps_threads
def eval(
    path: str | Path,
    *,
    data: str | None = None,
    split: str = "test",
    batch_size: int = 32,
    engine: str = "torch",
    compute: Compute | str = "auto",
    progress: Progress = silent,
    **given: Any,
) -> Evaluation:
    """Return the accuracy of a float checkpoint (``given``: sizes it cannot tell) or of a packed folder.

    A packed folder runs on torch or on the ``integer`` engine, with the same logits; ``compute`` says on which device
    and with how many threads (a string: on which device), the engine runs on the CPU. Raises UsageError for an unknown
    split or engine, DataError where no data is named or it does not fit, and what opening
    raises.
    """
    if split not in SPLITS:
        raise UsageError(f"--split {split}: there is train, validation and test{nearest(split, SPLITS)}")
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: there is torch and integer{nearest(engine, ENGINES)}")
    compute = as_compute(compute)
    bits: tuple[float | None, float | None] = (None, None)
    if Path(path).is_dir():
        kind, found = "packed", open_data_of(Path(path), data, progress)
        logits, arithmetic = _packed_logits(Path(path), engine, getattr(found, split), batch_size, compute, progress)
        bits = folder_bits(Path(path))
    elif engine == "integer":
        raise UsageError(
            f"--engine integer runs packed folders; {path} is none", "make one: snnq finalize --plan plan.json"
        )
    else:
        job = open_job(path, data, progress, **given)
        kind, arithmetic, found = "float", "float", job.data
        model = placed(job.model, start_fabric(compute).device)
        use_threads(compute, job.macs(batch_size))
        logits = predict(model, getattr(found, split), batch_size, progress)[0]
    found_score = score(logits, torch.from_numpy(getattr(found, split).labels))
    warn_misfit(logits, found, split, f"the {kind} model")
    return Evaluation(
        path=str(path),
        kind=kind,
        engine=engine,
        arithmetic=arithmetic,
        data=found.spec,
        split=split,
        samples=found_score.samples,
        accuracy=found_score.accuracy,
        loss=found_score.loss,
        simulated=found.simulated,
        avg_bits=bits[0],
        file_avg_bits=bits[1],
    )


def _packed_logits(
    folder: Path, engine: str, samples: Frames, batch_size: int, compute: Compute, progress: Progress
) -> tuple[Tensor, str]:
    """Return the logits (N, classes) of a packed folder, and the arithmetic it ran in."""
    from snnq.packed.config import read_config
    from snnq.packed.room import check_room

    check_room(folder, read_config(folder).config, min(batch_size, len(samples)))
    if engine == "torch":
        from snnq.packed.loading import load_packed

        model: Any = placed(load_packed(folder), start_fabric(compute).device)
        use_threads(compute, macs_of(folder, batch_size))
        return predict(model, samples, batch_size, progress)[0], model.arithmetic
    return torch.from_numpy(run_integer(folder, samples, batch_size, progress, compute.threads)), "integer"


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


def macs_of(folder: Path, samples: int) -> int:
    """Return the multiply-accumulates of a pass of so many samples through a packed folder's model."""
    plan = _plan_of(folder)
    return forward_macs(plan.layers, frames_shape(plan.model.config)[0], samples)


def _plan_of(folder: Path) -> PlanInput:
    from snnq.packed.config import PLAN_FILE, check_hash, read_config
    from snnq.plan.files import read_json
    from snnq.plan.plan import parse_plan

    path = folder / PLAN_FILE
    check_hash(folder, PLAN_FILE, read_config(folder))  # a damaged plan must not name other data
    return parse_plan(read_json(path), str(path))


def open_data_of(folder: Path, data: str | None, progress: Progress) -> DataSet:
    """Return the data of a packed folder's model, or those named."""
    plan = _plan_of(folder)
    spec = data or (plan.data.spec if plan.data else None)
    if spec is None:
        raise DataError(f"{folder} does not say what it was trained on", "name the data: --data SPEC")
    shape = frames_shape(plan.model.config)
    check_room(folder, plan.model.config, 1)
    found = open_data(spec, steps=shape[0], image_size=shape[2:], progress=progress)
    check_fit(found, plan.model.config)
    if plan.data:
        check_order(plan.data, found, named=data is not None)
    return found
