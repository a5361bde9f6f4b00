"""``snnq.finalize``: from a plan to a verified packed folder."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from snnq import __version__
from snnq.checkpoints.opening import load_model
from snnq.checkpoints.sizes import sizes_again
from snnq.errors import OutputExistsError, PlanError, VerificationError
from snnq.finalizing.finetuning import Finetuning
from snnq.finalizing.quantized import Coded, encode_model, quantize_model, wholes
from snnq.finalizing.results import accuracies, activity_record, search_record, weight_records
from snnq.finalizing.settings import FinalizeSettings
from snnq.machine import machine
from snnq.measuring.run import SAMPLES
from snnq.models.folding import fold_batchnorm
from snnq.models.registry import architecture
from snnq.models.wiring import Wiring
from snnq.packed.folder import check_free, write_packed
from snnq.packed.integer_form import to_integers
from snnq.packed.loading import load_packed
from snnq.packed.verification import verify
from snnq.plan import Plan
from snnq.progress import Progress, silent
from snnq.training import processes
from snnq.training.batches import steps_per_epoch
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.evaluation import evaluate, reestimate_batchnorm
from snnq.training.job import Job, fingerprint, open_job
from snnq.training.loop import run_epochs
from snnq.training.run_folder import RunFolder, open_run, run_path
from snnq.training.teacher import float_teacher

REPORT_VERSION = 1


@dataclass(frozen=True)
class Finalized:
    """What finalize made: the packed folder and what stands in its report.json."""

    folder: Path
    results: dict[str, Any]


def finalize(
    plan: str | Path = "plan.json",
    *,
    checkpoint: str | Path | None = None,
    data: str | None = None,
    out: str | Path = "packed",
    settings: FinalizeSettings | None = None,
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    measure: int = SAMPLES,
    force: bool = False,
    progress: Progress = silent,
) -> Finalized:
    """Finetune a float checkpoint under a plan, then encode, fold, pack and verify it.

    The plan knows its checkpoint and data; ``checkpoint`` and ``data`` stand in for a plan that names none, or say
    where the same file lies now. The float model is the teacher. The best epoch by validation is kept, its BN
    statistics are estimated anew if that is no worse on validation, and the test split is used once, at the end.
    ``compute`` says on which devices and how many (a string: on which one); the batch size counts the samples of all.
    In the end firing rates are measured on ``measure`` validation samples, for the event model of energy (0: not).

    Raises PlanError if plan and checkpoint do not fit, OutputExistsError if ``out`` is there and is not from this
    very run (unless ``force``), RunChangedError, InterruptedRun after Ctrl-C, VerificationError.
    """
    settings, out, compute = settings or FinalizeSettings(), Path(out), as_compute(compute)
    chosen = Plan.read(plan)
    fabric = start_fabric(compute)  # before the data: where there are more processes, they start from the top
    processes.check_batch_size(settings.batch_size)
    with processes.first_goes_first():
        job = _open(chosen, checkpoint, data, progress)
    config = _config(chosen, job, settings, compute)
    mark = fingerprint(config)
    done = processes.on_first(lambda: _finished(out, mark) if out.exists() and not force else None)
    if done:
        return done
    processes.on_first(lambda: check_free(out, force))  # before the hours of training, not after them
    folder = open_run(run_path(out, run), config, force=force)
    moving, history = _finetune(folder, job, chosen, settings, fabric, progress)
    model = moving.model
    coded, reestimated = _freeze(model, chosen, job, moving, settings)
    wiring = architecture(chosen.model.architecture).wiring(job.checkpoint.config)
    folded = fold_batchnorm(model, wiring.norms).eval()
    exact = folded
    if isinstance(wiring, Wiring):
        exact = to_integers(deepcopy(folded), wiring, wholes(wiring, coded))
    accuracy = accuracies(job, exact, fabric, settings.batch_size, progress)
    results = {
        "schema_version": REPORT_VERSION,
        "tool": f"snnq {__version__}",
        "machine": machine(),
        "fingerprint": mark,
        "accuracy": accuracy,
        "finalize": asdict(settings)
        | {"best_epoch": moving.best.epoch, "batchnorm_reestimated": reestimated, "history": history},
        **search_record(chosen, Path(plan)),
        "weights": weight_records(job.checkpoint.state_dict, folded, chosen),
        "activity": processes.on_first(lambda: activity_record(job, exact, measure, progress)),
    }
    # The checkpoint and data that were really used.
    used = chosen.model_copy(update={"model": job.model_info(), "data": job.data_info()})
    processes.on_first(lambda: _write(out, folded, exact, used, coded, results, force, job))
    return Finalized(out, results)


def _config(plan: Plan, job: Job, settings: FinalizeSettings, compute: Compute) -> dict[str, Any]:
    """Return everything the result depends on; how many processes work on it is none of it."""
    return {
        "command": "finalize",
        **job.facts(),
        "schemes": plan.schemes(),
        "search": plan.search.fingerprint if plan.search else None,
        "cost_table_sha256": plan.cost_table.sha256,
        "precision": compute.precision,
        **asdict(settings),
    }


def _open(plan: Plan, checkpoint: str | Path | None, data: str | None, progress: Progress) -> Job:
    """Open what the plan was made for; raises PlanError where checkpoint or data are not the ones it names."""
    where, spec = checkpoint or plan.model.checkpoint, data or (plan.data.spec if plan.data else None)
    if where is None:
        raise PlanError("the plan names no float checkpoint", "name it: --checkpoint FILE")
    architecture(plan.model.architecture)  # a user's own model that a plan merely names is not imported
    job = open_job(where, spec, progress, **sizes_again(plan.model.architecture, plan.model.config))
    if plan.model.sha256 not in (None, job.checkpoint.sha256):
        raise PlanError(
            f"{where} is not the checkpoint the plan was made for: sha256 {job.checkpoint.sha256[:12]}…, "
            f"the plan says {plan.model.sha256[:12]}…",  # pyright: ignore[reportOptionalSubscript]
            "put the checkpoint back, or search again",
        )
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
    return job


def _finished(out: Path, mark: str) -> Finalized:
    """Return the folder at ``out`` if this very run made it and it is whole; otherwise refuse to overwrite it."""
    try:
        results = json.loads((out / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        results = {}
    if not isinstance(results, dict) or results.get("fingerprint") != mark:
        raise OutputExistsError(
            f"{out} is already there and is not from this plan and settings",
            "add --force to overwrite it, or name another --out",
        )
    verify(out)
    return Finalized(out, results)


def _finetune(
    run: RunFolder,
    job: Job,
    plan: Plan,
    settings: FinalizeSettings,
    fabric: Fabric,
    progress: Progress,
) -> tuple[Finetuning, list[dict[str, Any]]]:
    """Train the quantised model with the float model as teacher; leave it with the weights of its best epoch."""
    teacher = None
    if settings.distillation > 0:
        augmented = bool(settings.augment)
        teacher = float_teacher(job, fabric, settings.batch_size, augmented=augmented, progress=progress)
    torch.manual_seed(settings.seed)
    model = quantize_model(load_model(job.checkpoint), plan.schemes()).train()
    steps = settings.epochs * steps_per_epoch(len(job.data.train), settings.batch_size)
    moving = Finetuning(fabric, model, job.data, teacher, settings, steps)
    history = run_epochs(
        run,
        moving.stateful(),
        stage="finetuning",
        epochs=settings.epochs,
        batches=moving.batches,
        step=moving.step,
        after_epoch=moving.after_epoch,
        progress=progress,
    )
    model.load_state_dict(moving.best.state)
    return moving, history


def _freeze(
    model: nn.Module, plan: Plan, job: Job, moving: Finetuning, settings: FinalizeSettings
) -> tuple[dict[str, Coded], bool]:
    """Estimate BN anew if that is no worse on validation, then turn every weight into its codes."""
    before = moving.best.state
    reestimate_batchnorm(model, job.data.train, settings.batch_size, settings.seed)
    found = evaluate(model, job.data.validation, settings.batch_size)
    kept = moving.best.score is None or (found.accuracy, -found.loss) >= moving.best.score
    if not kept:
        model.load_state_dict(before)
    return encode_model(model.cpu().eval(), plan.schemes()), kept


@torch.no_grad()
def _write(
    out: Path,
    folded: nn.Module,
    exact: nn.Module,
    plan: Plan,
    coded: dict[str, Coded],
    results: dict[str, Any],
    force: bool,
    job: Job,
) -> None:
    """Write the folder, verify it, and see that what is loaded from it computes exactly what was evaluated."""
    write_packed(out, model=folded, plan=plan, layers=coded, results=results, force=force)
    verify(out)
    frames, _ = job.data.validation.__getitems__(list(range(min(8, len(job.data.validation)))))
    if not torch.equal(load_packed(out)(frames), exact(frames)):
        raise VerificationError(
            f"{out}: the loaded model's outputs differ from the evaluated ones", "please report this"
        )
