"""A run that makes a float checkpoint of another one: what prune, mask-silent and reuse train open, keep and write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.base.progress import Progress
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.sizes import Given
from snnq.training import processes
from snnq.training.chance import say_fit
from snnq.training.devices import Compute, start_fabric
from snnq.training.edited import Accuracies, known_result, refresh_norms, save_edited, scores
from snnq.training.finetune import Finetune
from snnq.training.finetuning import Finetuning
from snnq.training.job import Job, fingerprint, open_job
from snnq.training.run_folder import RunFolder, open_run, run_path
from snnq.training.teacher import float_logits, float_teacher
from snnq.training.threads import use_threads


@dataclass(frozen=True)
class RunPlace:
    """Where a run writes its checkpoint, ``out``, and keeps its state, and the words it was called with."""

    out: Path
    run: str | Path | None
    force: bool
    words: Config | None


@dataclass(frozen=True)
class EditRun:
    """A float model and its data, and the run that edits and finetunes it. ``config``: all that the result depends on.

    ``mark`` is the fingerprint of that, ``where`` the run folder.
    """

    job: Job
    fabric: Fabric
    finetune: Finetune
    place: RunPlace
    where: Path
    config: Json
    mark: str
    progress: Progress

    def known(self) -> Json | None:
        """Return the result of this very run where it is there; raises OutputExistsError where anything else is."""
        return processes.on_first(lambda: known_result(self.place.out, self.mark, self.place.force))

    def open(self) -> tuple[RunFolder, Tensor]:
        """Open the run folder; return it, and the float model's logits on validation (samples, classes)."""
        one = self.place
        folder = open_run(self.where, self.config, out=one.out, force=one.force, words=one.words)
        logits = float_logits(self.job, "validation", self.fabric, self.finetune.batch_size, self.progress)
        say_fit(logits, self.job.data)
        return folder, logits

    def trained(self, folder: RunFolder, stage: str, begin: Callable[..., Finetuning], rounds: int = 1) -> Finetuning:
        """Finetune what ``begin(fabric, data=…, teacher=…, …)`` makes; return it, its model that of the last step."""
        one, teacher = self.finetune, None
        if one.distillation > 0:
            teacher = float_teacher(self.job, self.fabric, one.batch_size, augmented=False, progress=self.progress)
        moving = begin(self.fabric, data=self.job.data, teacher=teacher, settings=one, epochs=one.epochs, rounds=rounds)
        moving.run(folder, stage, self.progress)
        return moving

    def refreshed(self, model: nn.Module) -> bool:
        """Estimate a model's norms anew; keep them, and return True, if that is no worse on validation."""
        return refresh_norms(self.job, model, self.finetune.batch_size, self.finetune.seed)

    def scores(self, model: nn.Module) -> tuple[Accuracies, Accuracies]:
        """Return what the checkpoint as given scores, and what the edited model scores."""
        return scores(self.job, model, self.fabric, self.finetune.batch_size, self.progress)

    def save(self, model: nn.Module, result: Json) -> None:
        """Write the edited model and its result."""
        one = self.place
        processes.on_first(lambda: save_edited(self.job, model, one.out, self.mark, result, one.force))


def open_edit(
    checkpoint: str | Path, data: str | None, compute: Compute, size: int, progress: Progress, given: Given
) -> tuple[Job, Fabric]:
    """Return the float model and its data, and the devices; raises UsageError for a batch that they cannot share."""
    fabric = start_fabric(compute)
    processes.check_batch_size(size)
    with processes.first_goes_first():
        return open_job(checkpoint, data, progress, **given), fabric


def edit_run(
    command: str,
    opened: tuple[Job, Fabric],
    finetune: Finetune,
    settings: Json,
    place: RunPlace,
    compute: Compute,
    progress: Progress,
) -> EditRun:
    """Return the run of a command under ``settings`` as they stand in JSON, those of finetuning among them."""
    job, fabric = opened
    where = run_path(place.out, place.run)
    config = {"command": command, **job.facts(), "precision": compute.precision, **settings}
    config["threads"] = use_threads(compute, job.macs(finetune.batch_size), None if place.force else where)
    return EditRun(job, fabric, finetune, place, where, config, fingerprint(config), progress)
