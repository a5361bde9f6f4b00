"""Finetuning a control as ``snnq reuse train`` finetunes its winner: the same teacher, steps and order of samples."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from snnq.checkpoints.opening import save_checkpoint
from snnq.training.devices import as_compute, start_fabric
from snnq.training.edited import Accuracies, refresh_norms, scores
from snnq.training.finetune import Finetune
from snnq.training.finetuning import Finetuning
from snnq.training.job import open_job
from snnq.training.loop import run_epochs
from snnq.training.run_folder import open_run, run_path
from snnq.training.teacher import float_teacher
from snnq.training.threads import use_threads


def finetune(checkpoint: str, data: str | None, model: nn.Module, out: Path, *, seed: int, epochs: int) -> Accuracies:
    """Train a model with a checkpoint as its teacher, write it, and return what its best epoch scores.

    A run that was cut off goes on. ``model`` may be any of the checkpoint's sizes of frames and classes.
    """
    compute, settings = as_compute("auto"), Finetune(epochs=epochs, seed=seed)
    fabric, size = start_fabric(compute), settings.batch_size
    job = open_job(checkpoint, data)
    use_threads(compute, job.macs(size))
    config = {"command": "control", **job.facts(), **asdict(settings), "structure": getattr(model, "structure", ())}
    folder = open_run(run_path(out), config, out=out)
    torch.manual_seed(seed)
    teacher = float_teacher(job, fabric, size, augmented=False)
    moving = Finetuning(fabric, model.train(), job.data, teacher, settings, epochs, 1, name="reuse")
    with moving.watch as watch:
        run_epochs(
            folder,
            moving.stateful(),
            stage="control",
            epochs=epochs,
            batches=moving.batches,
            step=moving.step,
            after_epoch=moving.after_epoch,
            check=watch.check,
        )
    model.load_state_dict(moving.best.state)
    refresh_norms(job, model, size, seed)
    _, after = scores(job, model, fabric, size, lambda *_, **__: None)
    facts = {"data": job.data.spec}
    save_checkpoint(out, model.cpu(), architecture=job.checkpoint.architecture, facts=facts)
    return after
