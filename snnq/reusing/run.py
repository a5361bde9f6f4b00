"""``snnq.reuse_train``: the patterns of a plan on a share of the data, and the best of them in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Unpack

import torch
from torch import nn

from snnq.base.errors import PlanError, UsageError
from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Config, Json
from snnq.checkpoints.opening import load_model
from snnq.checkpoints.sizes import Given
from snnq.hardware.crossbars.variation import Variation
from snnq.reusing.noise import in_cells, taken_out
from snnq.reusing.records import ReuseCosts, ReusePattern, ReusePlan, TargetInfo, read_reuse_plan
from snnq.reusing.settings import ReuseSettings
from snnq.structure.edits import apply_edits, edits_of
from snnq.training.devices import Compute, as_compute
from snnq.training.edit_run import EditRun, RunPlace, edit_run, open_edit
from snnq.training.edited import Accuracies
from snnq.training.finetuning import Finetuning
from snnq.training.job import Job
from snnq.training.loop import Best
from snnq.training.run_folder import RunFolder, open_run
from snnq.training.seeding import shuffled
from snnq.training.threads import keeps_threads


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
    compute, one, place = as_compute(compute), settings.finetune, RunPlace(Path(out), run, force, words)
    wanted = read_reuse_plan(plan)
    opened = open_edit(checkpoint, data, compute, one.batch_size, progress, given)
    _check_plan(wanted, str(plan), opened[0])
    patterns = [{"pattern": one.pattern, "attentions": one.attentions} for one in wanted.candidates]
    target = wanted.target.target if wanted.target.kind == "arrays" else None
    noise = settings.variation(target)
    said = asdict(settings) | {"candidates": patterns}
    if noise is not None:
        said |= {"noise_target": str(noise.arrays.target)} | noise.arrays.chip().file_mark
    edit = edit_run("reuse_train", opened, one, said, place, compute, progress)
    if (known := edit.known()) is not None:
        return _on_target(Reused.from_dict(known), wanted)
    made, model = _made(wanted, _Task(edit, settings, noise))
    edit.save(model, made.to_dict())
    return made


def _made(plan: ReusePlan, task: _Task) -> tuple[Reused, nn.Module]:
    """Try the patterns, where there are several, and train the best one; return what came of it, and its model."""
    edit, (folder, _) = task.edit, task.edit.open()
    tried = [task.tried(one) for one in plan.candidates] if len(plan.candidates) > 1 else []
    chosen = _best(plan.candidates, tried)
    model, epoch = task.trained(chosen, folder)
    new = task.noise is None and edit.refreshed(model)  # a model that was trained on chips keeps what norms see there
    before, after = edit.scores(model)
    made = Reused(
        out=str(edit.place.out),
        pattern=chosen.pattern,
        attentions=chosen.attentions,
        tried=tuple(tried),
        before=before,
        after=after,
        best_epoch=epoch,
        batchnorm_reestimated=new,
        target=plan.target,
        whole=plan.whole,
        costs=chosen.costs,
    )
    return made, model


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


def _edit(one: ReusePattern) -> Json:
    return {"edit": "reused", "attentions": dict(one.attentions)}


def _best(candidates: Sequence[ReusePattern], tried: Sequence[Tried]) -> ReusePattern:
    """Return the pattern of the highest accuracy on validation, then of the lowest loss; of equal ones the first."""
    if not tried:
        return candidates[0]
    place = max(range(len(tried)), key=lambda i: (tried[i].validation, -tried[i].validation_loss, -i))
    return candidates[place]


@dataclass(frozen=True)
class _Task:
    """What every training of a pattern has in common."""

    edit: EditRun
    settings: ReuseSettings
    noise: Variation | None

    def tried(self, one: ReusePattern) -> Tried:
        """Train a pattern on the share of the training samples, the same ones for every pattern."""
        edit, seed = self.edit, self.settings.finetune.seed
        count = len(edit.job.data.train)
        least = min(count, self.settings.finetune.batch_size)
        chosen = sorted(shuffled(count, seed, "reuse", "partial")[: max(least, round(self.settings.partial * count))])
        config = {**edit.config, "pattern": one.pattern, "samples": len(chosen)}
        folder = open_run(edit.where.with_name(f"{edit.where.name}.{one.pattern}"), config, force=edit.place.force)
        best = self._epochs(one, folder, chosen)[1]
        assert best.score is not None
        accuracy, loss = best.score
        return Tried(one.pattern, accuracy, -loss, best.epoch)

    def trained(self, one: ReusePattern, folder: RunFolder) -> tuple[nn.Module, int]:
        """Return a pattern's model of the best epoch on all training samples, and that epoch."""
        model, best = self._epochs(one, folder, None)
        model.load_state_dict(best.state)
        if self.noise is not None:  # another model, whose attentions multiply without cells again
            state, model = taken_out(model), apply_edits(load_model(self.edit.job.checkpoint), [_edit(one)])
            model.load_state_dict(state)
        return model, best.epoch

    def _epochs(self, one: ReusePattern, folder: RunFolder, chosen: Sequence[int] | None) -> tuple[nn.Module, Best]:
        torch.manual_seed(self.settings.finetune.seed)
        job, edits = self.edit.job, [_edit(one)]
        model, words = apply_edits(load_model(job.checkpoint), edits), {}
        if self.noise is not None:
            words["at"] = in_cells(model, job, edits, self.noise, self.settings.finetune.seed).at
        begin = partial(Finetuning, model=model.train(), chosen=chosen, name="reuse", **words)
        stage = f"{one.pattern}, {'in full' if chosen is None else 'partly'}"
        return model, self.edit.trained(folder, stage, begin).best
