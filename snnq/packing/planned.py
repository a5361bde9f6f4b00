"""Opening what a plan was made for."""

from __future__ import annotations

import logging
from pathlib import Path

from snnq.base.errors import PlanError
from snnq.base.progress import Progress
from snnq.checkpoints.container import file_sha256
from snnq.checkpoints.sizes import sizes_again
from snnq.models.registry import architecture
from snnq.plan import Plan
from snnq.structure.edits import edits_of
from snnq.structure.masked import check_masked
from snnq.training.job import Job, check_order, checkpoint_of, open_job

log = logging.getLogger(__name__)

_MEND = "make the plan from this checkpoint, or correct it"


def open_planned(
    plan: Plan,
    checkpoint: str | Path | None,
    data: str | None,
    progress: Progress,
    weights: str | None = None,
    file: str | Path | None = None,
    *,
    unlabelled: str | None = None,
) -> Job:
    """Open what the plan was made for; raises PlanError where checkpoint or data are not the ones it names.

    ``weights`` chooses among several sets in the checkpoint, where the plan names no checkpoint. ``file`` is the
    plan's, beside which its checkpoint is looked for, too. ``unlabelled`` is ``open_job``'s.
    """
    where, spec = checkpoint or checkpoint_of(plan, file), data or (plan.data.spec if plan.data else None)
    architecture(plan.model.architecture)  # a user's own model that a plan merely names is not imported
    if Path(where).is_file():  # before sizes that are not its own are asked of it
        _refuse_other(plan, where, file_sha256(Path(where)))
    if weights is not None and plan.model.sha256 is not None and weights != plan.model.weights:
        made_for = f"for --weights {plan.model.weights}" if plan.model.weights else "for a checkpoint with one set"
        raise PlanError(f"--weights {weights}: the plan was made {made_for}", "leave --weights away, or search again")
    again = sizes_again(plan.model.architecture, plan.model.config, weights or plan.model.weights)
    job = open_job(where, spec, progress, unlabelled=unlabelled, **again)
    _refuse_other(plan, where, job.checkpoint.sha256)
    _check_data(plan, job, named=data is not None)
    _check_shapes(plan, job, where)
    _check_counts(plan, job)
    check_masked(plan.schemes(), edits_of(job.checkpoint.config))
    return job


def _check_data(plan: Plan, job: Job, *, named: bool) -> None:
    """Raise DataError for another order of classes, PlanError where unnamed data are not the plan's any more."""
    if plan.data is not None:
        check_order(plan.data, job.data, named=named)
    if plan.data is not None and not named and plan.data.sha256 != job.data.sha256:
        raise PlanError(
            f"the data behind {plan.data.spec} has changed since the plan was made: sha256 {job.data.sha256[:12]}…, "
            f"the plan says {plan.data.sha256[:12]}…",
            f"to finetune on it all the same, name it: --data {plan.data.spec}",
        )


def _check_shapes(plan: Plan, job: Job, where: str | Path) -> None:
    theirs = {layer.name: tuple(layer.shape) for layer in plan.layers}
    ours = {layer.name: layer.shape for layer in job.layers}
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            raise PlanError(
                f"layer {name}: shape {theirs.get(name, 'missing')} in the plan, "
                f"{ours.get(name, 'missing')} in {where}",
                "make the plan from this checkpoint",
            )


def _check_counts(plan: Plan, job: Job) -> None:
    """Raise PlanError where a plan's costs are counted on other numbers than its model's.

    Early versions counted a head that runs at every step at all of them together; such a plan is taken, with a note.
    """
    ours, steps = {layer.name: layer for layer in job.layers}, job.data.frames_shape[0]
    for layer in plan.layers:
        if layer.group == "head" and steps > 1 and layer.macs == steps * ours[layer.name].macs:
            log.info(
                f"The plan is of an early version, which counted {layer.name} {steps} times, once for every step; so "
                "do its costs. Search again for those of one step."
            )
            continue
        for key in ("macs", "multiplications"):
            said, due = getattr(layer, key), getattr(ours[layer.name], key)
            if said != due:
                raise PlanError(
                    f"layer {layer.name}: {key} is {said} in the plan, it is {due} of this checkpoint", _MEND
                )


def _refuse_other(plan: Plan, where: str | Path, sha256: str) -> None:
    theirs = plan.model.sha256
    if theirs not in (None, sha256):
        raise PlanError(
            f"{where} is not the checkpoint the plan was made for: sha256 {sha256[:12]}…, the plan says {theirs[:12]}…",
            "put the checkpoint back, or search again",
        )
