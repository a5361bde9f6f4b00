"""``snnq.reuse_train``: the patterns of a plan on a share of the data, and the best of them in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Unpack

import torch
from lightning_fabric import Fabric
from torch import nn

from snnq.base.errors import PlanError, UsageError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.opening import load_model
from snnq.checkpoints.sizes import Given
from snnq.reusing.records import Candidate, ReuseCosts, ReusePlan, TargetInfo, read_reuse_plan
from snnq.reusing.settings import ReuseSettings
from snnq.structure.edits import apply_edits, edits_of
from snnq.training import processes
from snnq.training.chance import say_fit
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.edited import Accuracies, known_result, refresh_norms, save_edited, scores
from snnq.training.finetuning import Finetuning
from snnq.training.job import Job, fingerprint, open_job
from snnq.training.loop import Best, run_epochs
from snnq.training.run_folder import RunFolder, open_run, run_path
from snnq.training.seeding import shuffled
from snnq.training.teacher import Teacher, float_logits, float_teacher
from snnq.training.threads import keeps_threads, use_threads


@dataclass(frozen=True)
class Tried:
    """A pattern after training on a share of the data: accuracy (0 … 1) and loss (nats) on validation."""

    pattern: str
    validation: float
    validation_loss: float
    best_epoch: int


@dataclass(frozen=True)
class Reused:
    """A written checkpoint, and what it came to.

    ``tried``: every pattern, where there were several. ``whole`` and ``costs``: what the plan says the checkpoint and
    this model take on its target.
    """

    out: str
    pattern: str
    attentions: dict[str, str]
    tried: tuple[Tried, ...]
    before: Accuracies
    after: Accuracies
    best_epoch: int
    batchnorm_reestimated: bool
    target: TargetInfo
    whole: ReuseCosts
    costs: ReuseCosts

    def to_dict(self) -> Json:
        """Return plain data, ready for JSON."""
        records = {name: getattr(self, name).model_dump(mode="json") for name in ("target", "whole", "costs")}
        return {**dict(asdict(self).items()), **records}

    @classmethod
    def from_dict(cls, plain: Json) -> Reused:
        """Return what ``to_dict`` gave."""
        parts: Json = {name: Accuracies(**plain[name]) for name in ("before", "after")}
        parts["tried"] = tuple(Tried(**one) for one in plain["tried"])
        parts["target"] = TargetInfo.model_validate(plain["target"])
        parts |= {name: ReuseCosts.model_validate(plain[name]) for name in ("whole", "costs")}
        return cls(**(plain | parts))


@keeps_threads
def reuse_train(
    checkpoint: str | Path,
    plan: str | Path,
    *,
    data: str | None = None,
    out: str | Path,
    settings: ReuseSettings,
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    force: bool = False,
    progress: Progress = silent,
    words: Config | None = None,
    **given: Unpack[Given],
) -> Reused:
    """Train each pattern of a plan on a share of the data, and the best on validation in full; write it.

    The checkpoint is the teacher. State and metrics lie in ``run`` (default: ``out`` with ``.run`` added), and those of
    each pattern beside it, in ``<run>.<pattern>``; a run that was cut off goes on. The test split is used once, at the
    end.

    Raises PlanError for a plan of another checkpoint, or in which nothing reuses, OutputExistsError if ``out`` is there
    and is not from this very run (unless ``force``), RunChangedError, InterruptedRun after Ctrl-C, and what opening
    raises.
    """
    compute, out = as_compute(compute), Path(out)
    wanted = read_reuse_plan(plan)
    fabric, size = start_fabric(compute), settings.finetune.batch_size
    processes.check_batch_size(size)
    with processes.first_goes_first():
        job = open_job(checkpoint, data, progress, **given)
    _check_plan(wanted, str(plan), job)
    config = {"command": "reuse_train", **job.facts(), "precision": compute.precision, **asdict(settings)}
    config["candidates"] = [{"pattern": one.pattern, "attentions": one.attentions} for one in wanted.candidates]
    where = run_path(out, run)
    config["threads"] = use_threads(compute, job.macs(size), None if force else where)
    mark = fingerprint(config)
    known = processes.on_first(lambda: known_result(out, mark, force))
    if known is not None:
        return _on_target(Reused.from_dict(known), wanted)
    folder = open_run(where, config, out=out, force=force, words=words)
    say_fit(float_logits(job, "validation", fabric, size, progress), job.data)
    task = _Task(job, settings, config, where, fabric, force, progress)
    tried = [task.tried(one) for one in wanted.candidates] if len(wanted.candidates) > 1 else []
    chosen = _best(wanted.candidates, tried)
    model, epoch = task.trained(chosen, folder)
    new = refresh_norms(job, model, size, settings.finetune.seed)
    before, after = scores(job, model, fabric, size, progress)
    made = Reused(
        out=str(out),
        pattern=chosen.pattern,
        attentions=chosen.attentions,
        tried=tuple(tried),
        before=before,
        after=after,
        best_epoch=epoch,
        batchnorm_reestimated=new,
        target=wanted.target,
        whole=wanted.whole,
        costs=chosen.costs,
    )
    processes.on_first(lambda: save_edited(job, model, out, mark, made.to_dict(), force))
    return made


def _check_plan(plan: ReusePlan, file: str, job: Job) -> None:
    if not plan.candidates:
        raise PlanError(f"{file}: no attention reuses in this plan", "ask for less: snnq reuse plan --delay 0.6")
    if plan.checkpoint_sha256 != job.checkpoint.sha256:
        said = f"{file}: it was made for another checkpoint ({plan.checkpoint}) than {job.checkpoint.path}"
        raise PlanError(said, f"snnq reuse plan {job.checkpoint.path}")
    if edits_of(job.checkpoint.config):
        raise UsageError(f"{job.checkpoint.path} was edited before", "reuse first, and then the rest")
    for one in plan.candidates:
        apply_edits(load_model(job.checkpoint), [_edit(one)])


def _on_target(known: Reused, plan: ReusePlan) -> Reused:
    """Return what is known of a run, with the costs of this plan: its patterns may be planned for other targets."""
    costs = next(one.costs for one in plan.candidates if one.attentions == known.attentions)
    return replace(known, target=plan.target, whole=plan.whole, costs=costs)


def _edit(one: Candidate) -> Json:
    return {"edit": "reused", "attentions": dict(one.attentions)}


def _best(candidates: Sequence[Candidate], tried: Sequence[Tried]) -> Candidate:
    """Return the pattern of the highest accuracy on validation, then of the lowest loss; of equal ones the first."""
    if not tried:
        return candidates[0]
    place = max(range(len(tried)), key=lambda i: (tried[i].validation, -tried[i].validation_loss, -i))
    return candidates[place]


@dataclass(frozen=True)
class _Task:
    """What every training of a pattern has in common."""

    job: Job
    settings: ReuseSettings
    config: Json
    run: Path
    fabric: Fabric
    force: bool
    progress: Progress

    def tried(self, one: Candidate) -> Tried:
        """Train a pattern on the share of the training samples, the same ones for every pattern."""
        count, seed = len(self.job.data.train), self.settings.finetune.seed
        least = min(count, self.settings.finetune.batch_size)
        chosen = sorted(shuffled(count, seed, "reuse", "partial")[: max(least, round(self.settings.partial * count))])
        config = {**self.config, "pattern": one.pattern, "samples": len(chosen)}
        path = self.run.with_name(f"{self.run.name}.{one.pattern}")
        folder = open_run(path, config, force=self.force)
        best = self._epochs(one, folder, chosen)[1]
        assert best.score is not None
        accuracy, loss = best.score
        return Tried(one.pattern, accuracy, -loss, best.epoch)

    def trained(self, one: Candidate, folder: RunFolder) -> tuple[nn.Module, int]:
        """Return a pattern's model of the best epoch on all training samples, and that epoch."""
        model, best = self._epochs(one, folder, None)
        model.load_state_dict(best.state)
        return model, best.epoch

    def _epochs(self, one: Candidate, folder: RunFolder, chosen: Sequence[int] | None) -> tuple[nn.Module, Best]:
        settings, data = self.settings.finetune, self.job.data
        torch.manual_seed(settings.seed)
        model = apply_edits(load_model(self.job.checkpoint), [_edit(one)]).train()
        words: Json = {"chosen": chosen, "name": "reuse"}
        moving = Finetuning(self.fabric, model, data, self._teacher(), settings, settings.epochs, 1, **words)
        with moving.watch as watch:
            run_epochs(
                folder,
                moving.stateful(),
                stage=f"{one.pattern}, {'in full' if chosen is None else 'partly'}",
                epochs=settings.epochs,
                batches=moving.batches,
                step=moving.step,
                after_epoch=moving.after_epoch,
                check=watch.check,
                progress=self.progress,
            )
        return model, moving.best

    def _teacher(self) -> Teacher | None:
        one = self.settings.finetune
        if not one.distillation:
            return None
        return float_teacher(self.job, self.fabric, one.batch_size, augmented=False, progress=self.progress)
