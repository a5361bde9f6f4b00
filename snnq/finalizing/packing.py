"""Where a finetuned and a reconstructed model meet: opening what a plan was made for, and packing what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnq import __version__
from snnq.checkpoints.container import file_sha256
from snnq.checkpoints.sizes import sizes_again
from snnq.errors import OutputExistsError, PlanError, VerificationError
from snnq.files import read_text
from snnq.finalizing.quantized import Coded, wholes
from snnq.machine import machine
from snnq.models.folding import fold_batchnorm
from snnq.models.registry import architecture
from snnq.models.wiring import Wiring
from snnq.packed.config import PLAN_FILE
from snnq.packed.folder import write_packed
from snnq.packed.integer_form import to_integers
from snnq.packed.loading import load_packed
from snnq.packed.verification import verify
from snnq.plan import Plan
from snnq.progress import Progress
from snnq.searching.runs import with_run
from snnq.strict_json import strict_json
from snnq.training import processes
from snnq.training.job import Job, check_order, checkpoint_of, open_job

REPORT_VERSION = 1
_MEND = "make the plan from this checkpoint, or correct it"


@dataclass(frozen=True)
class Finalized:
    """What finalize or ptq made: the packed folder and what stands in its report.json."""

    folder: Path
    results: dict[str, Any]


@dataclass(frozen=True)
class PackedForm:
    """A finished model: ``folded`` with the codes' weights, and ``exact``, the arithmetic of what is packed."""

    folded: nn.Module
    exact: nn.Module
    coded: Mapping[str, Coded]


def open_planned(
    plan: Plan,
    checkpoint: str | Path | None,
    data: str | None,
    progress: Progress,
    weights: str | None = None,
    file: str | Path | None = None,
) -> Job:
    """Open what the plan was made for; raises PlanError where checkpoint or data are not the ones it names.

    ``weights`` chooses among several sets in the checkpoint, where the plan names no checkpoint. ``file`` is the
    plan's, beside which its checkpoint is looked for, too.
    """
    where, spec = checkpoint or checkpoint_of(plan, file), data or (plan.data.spec if plan.data else None)
    architecture(plan.model.architecture)  # a user's own model that a plan merely names is not imported
    if Path(where).is_file():  # before sizes that are not its own are asked of it
        _refuse_other(plan, where, file_sha256(Path(where)))
    if weights is not None and plan.model.sha256 is not None and weights != plan.model.weights:
        made_for = f"for --weights {plan.model.weights}" if plan.model.weights else "for a checkpoint with one set"
        raise PlanError(f"--weights {weights}: the plan was made {made_for}", "leave --weights away, or search again")
    again = sizes_again(plan.model.architecture, plan.model.config, weights or plan.model.weights)
    job = open_job(where, spec, progress, **again)
    _refuse_other(plan, where, job.checkpoint.sha256)
    if plan.data is not None:
        check_order(plan.data, job.data, named=data is not None)
    if plan.data is not None and data is None and plan.data.sha256 != job.data.sha256:
        raise PlanError(
            f"the data behind {plan.data.spec} has changed since the plan was made: sha256 {job.data.sha256[:12]}…, "
            f"the plan says {plan.data.sha256[:12]}…",
            f"to finetune on it all the same, name it: --data {plan.data.spec}",
        )
    theirs = {layer.name: tuple(layer.shape) for layer in plan.layers}
    ours = {layer.name: layer.shape for layer in job.layers}
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            raise PlanError(
                f"layer {name}: shape {theirs.get(name, 'missing')} in the plan, "
                f"{ours.get(name, 'missing')} in {where}",
                "make the plan from this checkpoint",
            )
    _check_counts(plan, job)
    return job


def _check_counts(plan: Plan, job: Job) -> None:
    """Raise PlanError where a plan's costs are counted on other numbers than its model's."""
    ours = {layer.name: layer for layer in job.layers}
    for layer in plan.layers:
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


def finished(out: Path, mark: str) -> Finalized:
    """Return the folder at ``out`` if this very run made it and it is whole; otherwise refuse to overwrite it."""
    try:
        results = strict_json(read_text(out / "report.json"))
    except (OSError, ValueError):
        results = {}
    if not isinstance(results, dict) or results.get("fingerprint") != mark:
        raise OutputExistsError(
            f"{out} is already there and is not from this plan and settings",
            "add --force to overwrite it, or name another --out",
        )
    verify(out)
    return Finalized(out, results)


def report_head(mark: str) -> dict[str, Any]:
    """Return what every report.json begins with; ``mark`` is the run's fingerprint."""
    return {
        "schema_version": REPORT_VERSION,
        "tool": f"snnq {__version__}",
        "machine": machine() | {"threads": str(torch.get_num_threads())},
        "fingerprint": mark,
    }


def fold(model: nn.Module, job: Job) -> nn.Module:
    """Return a copy of the job's model in evaluation mode with its norms folded."""
    return fold_batchnorm(model, architecture(job.checkpoint.architecture).wiring(job.checkpoint.config).norms).eval()


def packed_form(folded: nn.Module, job: Job, coded: Mapping[str, Coded]) -> PackedForm:
    """Return the packed form of a folded model whose weights are exactly what ``coded`` decodes to."""
    wiring = architecture(job.checkpoint.architecture).wiring(job.checkpoint.config)
    exact = folded
    if isinstance(wiring, Wiring):
        exact = to_integers(deepcopy(folded), wiring, wholes(wiring, coded))
    return PackedForm(folded, exact, coded)


@torch.no_grad()
def write_verified(
    out: Path, form: PackedForm, plan: Plan, job: Job, results: dict[str, Any], force: bool, behind: Path | None
) -> None:
    """Write the folder, verify it, and see that what is loaded from it computes exactly what was evaluated.

    The plan is written with the checkpoint and data that were really used, and with the way to the run folder of the
    search behind it. Raises VerificationError.
    """
    used = plan.made_with(job.model_info(), job.data_info())
    if behind is not None:
        used = with_run(used, behind, out / PLAN_FILE)

    def write() -> None:
        write_packed(out, model=form.folded, plan=used, layers=form.coded, results=results, force=force)
        verify(out)
        frames, _ = job.data.validation.__getitems__(list(range(min(8, len(job.data.validation)))))
        if not torch.equal(load_packed(out)(frames), form.exact(frames)):
            raise VerificationError(
                f"{out}: the loaded model's outputs differ from the evaluated ones", "please report this"
            )

    processes.on_first(write)
