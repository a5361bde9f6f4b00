"""The float model's logits: the teacher of every finetuning, and the float scores beside every plan.

On frames as they are, it is asked once. The logits lie in the cache as ``logits/<sha256 of all they depend on>.npy``;
what is missing or damaged is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from snnq.base.files import regular_size
from snnq.base.placing import replacing
from snnq.base.progress import Progress, silent
from snnq.data.cache import cache_root, content_hash
from snnq.data.spec import SPLITS
from snnq.training import processes
from snnq.training.evaluation import predict
from snnq.training.job import Job
from snnq.training.transfers import moved

Teacher = Callable[[Tensor, list[int]], Tensor]


def float_teacher(
    job: Job, fabric: Fabric, batch_size: int, *, augmented: bool, progress: Progress = silent
) -> Teacher:
    """Return what gives the float model's logits (n, classes) for n training frames and their sample indices.

    Where the frames are ``augmented``, the model is asked about those very frames at every step, in evaluation mode and
    float32; otherwise the logits are known beforehand. ``job.model`` must be the float model, and stay it.
    """
    if not augmented:
        logits = float_logits(job, "train", fabric, batch_size, progress, "asking the teacher")
        return lambda frames, indices: moved(logits[indices], frames.device)
    model = fabric.to_device(job.model.eval())

    @torch.no_grad()
    def ask(frames: Tensor, indices: list[int]) -> Tensor:
        return model(frames).float()

    return ask


def answered(job: Job, fabric: Fabric, batch_size: int, progress: Progress = silent) -> Job:
    """Return the job with the float model's own answers as labels, where its data have none."""
    data = job.data
    if data.labels != "none":
        return job
    splits = {}
    for split in SPLITS:
        own = getattr(data, split)
        if len(own):
            logits = float_logits(job, split, fabric, batch_size, progress)
            own = replace(own, labels=logits.argmax(1).numpy())
        splits[split] = own
    return replace(job, data=replace(data, **splits, labels="float model"))


def float_logits(
    job: Job, split: str, fabric: Fabric, batch_size: int, progress: Progress = silent, stage: str = "float model"
) -> Tensor:
    """Return the float model's logits (N, classes), float32 on the CPU, on ``split`` in its order.

    They are computed in float32 and in batches of ``batch_size``. ``job.model`` must still be the float model.
    """
    samples = getattr(job.data, split)
    path = cache_root() / "logits" / f"{content_hash(_facts(job, split, fabric, batch_size))}.npy"
    kept = _read(path, len(samples))
    if processes.all_agree(kept is not None) and kept is not None:
        return torch.from_numpy(kept)
    fabric.to_device(job.model)
    logits, _ = predict(job.model, samples, batch_size, progress, f"{stage} on {split}")
    job.model.cpu()
    processes.on_first(lambda: _write(path, logits.numpy()))
    return logits


def _facts(job: Job, split: str, fabric: Fabric, batch_size: int) -> dict[str, object]:
    facts = {key: value for key, value in job.facts().items() if key != "data"}  # its sha256 says more than its path
    return facts | {
        "split": split,
        "batch_size": batch_size,
        "torch": torch.__version__,
        "device": fabric.device.type,
        "precision": f"float32 {torch.get_float32_matmul_precision()}",
    }


def _read(path: Path, count: int) -> np.ndarray | None:
    """Return sound logits, or None."""
    try:
        regular_size(path)
        found = np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: a header must not ask for memory
    except (OSError, ValueError, EOFError):
        return None
    sound = found.ndim == 2 and len(found) == count and found.dtype == np.float32
    return np.array(found) if sound else None


def _write(path: Path, logits: np.ndarray) -> None:
    """Write under a temporary name and rename; a cache that cannot be written is done without."""
    with suppress(OSError), replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, logits, allow_pickle=False)
