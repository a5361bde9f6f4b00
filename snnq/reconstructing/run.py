"""``snnq.ptq``: from a float checkpoint to a verified packed folder, without labels and without finetuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
from lightning_fabric import Fabric
from torch import nn

from snnq.assessing.measure import SAMPLES
from snnq.base.errors import UsageError
from snnq.base.progress import Progress, silent
from snnq.checkpoints.sizes import Given
from snnq.cost.table import read_table
from snnq.data.dataset import Frames
from snnq.packed.coding import Coded
from snnq.packed.folder import check_free
from snnq.packed.storage import Storage, as_storage, check_storage
from snnq.packing.finish import Destination, Finalized, finished, fold, pack
from snnq.packing.planned import open_planned
from snnq.packing.record import Reconstructed
from snnq.plan import Plan, make_plan
from snnq.plan.records import check_scheme
from snnq.reconstructing.kept import own_codes
from snnq.reconstructing.norms import divergence, logits_of, reestimated
from snnq.reconstructing.reconstruction import Reconstruction
from snnq.reconstructing.settings import KEPT, PtqSettings
from snnq.reconstructing.work import State
from snnq.structure.edits import edits_of
from snnq.structure.masked import check_masked
from snnq.training.chance import say_fit
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.job import TAKEN, Job, fingerprint, open_job
from snnq.training.loop import run_epochs
from snnq.training.run_folder import RunFolder, open_run, run_path
from snnq.training.search_runs import find_run
from snnq.training.seeding import shuffled
from snnq.training.teacher import answered, float_logits
from snnq.training.threads import keeps_threads, use_threads

EVALUATION_BATCH = 32


@keeps_threads
def ptq(
    checkpoint: str | Path | None = None,
    *,
    plan: str | Path | None = None,
    scheme: str | None = None,
    data: str | None = None,
    out: str | Path = "packed",
    settings: PtqSettings | None = None,
    storage: str = "coded",
    cost_table: str = "horowitz-45nm",
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    measure: int = SAMPLES,
    force: bool = False,
    progress: Progress = silent,
    words: Mapping[str, object] | None = None,
    **given: Unpack[Given],
) -> Finalized:
    """Quantise a float checkpoint under a plan, or with one ``scheme`` everywhere, from unlabelled training frames.

    Grids are chosen, and with the methods adaround and tesseraq rounding and scales are learned block by block, so that
    each block gives what the float model's gave; then everything is packed and verified as ``finalize`` does it. The
    method kept is for a model that is quantised already: its own grids are packed as they are. Labels
    are looked at for accuracies only: the float model's on validation at first, both models' at the end. A plan knows
    its checkpoint and data; ``given`` are the sizes that a checkpoint cannot tell. In the end firing rates are measured
    on ``measure`` validation samples, as finalize does it (0: not). ``storage`` is how model.safetensors holds its
    tensors, coded or fixed.

    Raises UsageError unless exactly one of plan and scheme is given, and for sizes beside a plan, which says them;
    PlanError if plan and checkpoint do not fit, OutputExistsError if ``out`` is there and is not from this very run
    (unless ``force``), RunChangedError, InterruptedRun after Ctrl-C, VerificationError.
    """
    compute, kept = as_compute(compute), as_storage(storage)
    fabric = _one_device(compute)
    chosen, job = _open(checkpoint, plan, scheme, data, cost_table, given, progress)
    job = answered(job, fabric, EVALUATION_BATCH, progress)
    check_storage(kept, chosen.schemes())
    behind = find_run(chosen, Path(plan)) if plan is not None else None
    task = _Task(chosen, behind, job, settings or PtqSettings(), compute, fabric, kept)
    return _quantised(task, Path(out), run, measure, force, words, progress)


def _one_device(compute: Compute) -> Fabric:
    if compute.devices * compute.nodes > 1:
        raise UsageError("ptq runs on one device", "--devices 1")
    return start_fabric(compute)


@dataclass(frozen=True)
class _Task:
    """What is quantised, under which plan (``search_run``: of its search) and how, and what it computes on."""

    plan: Plan
    search_run: Path | None
    job: Job
    settings: PtqSettings
    compute: Compute
    fabric: Fabric
    storage: Storage


def _quantised(
    task: _Task,
    out: Path,
    run: str | Path | None,
    measure: int,
    force: bool,
    words: Mapping[str, object] | None,
    progress: Progress,
) -> Finalized:
    job, settings = task.job, task.settings
    config, where = _config(task), run_path(out, run)
    config["threads"] = use_threads(task.compute, job.macs(settings.batch_size), None if force else where)
    mark = fingerprint(config)
    if out.exists() and not force and (done := finished(out, mark, measure)):
        return done
    check_free(out, force)
    folder = open_run(where, config, out=out, force=force, words=words)
    say_fit(float_logits(job, "validation", task.fabric, EVALUATION_BATCH, progress), job.data)
    samples = calibration(job, settings)
    folded, coded, record, history = (_keep if settings.method == KEPT else _choose)(folder, task, samples, progress)
    return pack(
        folded,
        coded,
        Reconstructed.model_validate(asdict(settings) | {"samples": len(samples), **record, "blocks": history}),
        Destination(out, mark, task.search_run, force, task.storage),
        plan=task.plan,
        job=job,
        fabric=task.fabric,
        batch_size=EVALUATION_BATCH,
        measure=measure,
        shorten=settings.method != KEPT,
        progress=progress,
    )


_Made = tuple[nn.Module, dict[str, Coded], State, list[State]]


def _choose(folder: RunFolder, task: _Task, samples: Frames, progress: Progress) -> _Made:
    """Return the folded model and its codes, what was found about its norms, and what became of every block."""
    made, history = _reconstruct(folder, task, samples, progress)
    folded, record = _choose_norms(made, task, samples)
    return folded, made.coded(), record, history


def _keep(folder: RunFolder, task: _Task, samples: Frames, progress: Progress) -> _Made:
    """Return the same of a model whose weights and norms stay what they are, to the last bit."""
    job, folded = task.job, fold(task.job.model, task.job)
    coded = own_codes(folded, task.plan.schemes())
    size = min(task.settings.batch_size, len(samples))
    logits = (logits_of(one, samples, size, task.fabric.device) for one in (job.model, folded))
    return folded, coded, {"divergence": divergence(*logits), "batchnorm_reestimated": False}, []


def calibration(job: Job, settings: PtqSettings) -> Frames:
    """Return the calibration samples: training frames drawn by the seed, in full batches, all their labels zero."""
    train = job.data.train
    count = min(settings.samples, len(train))
    size = min(settings.batch_size, count)
    chosen = shuffled(len(train), settings.seed, "calibration")[: count // size * size]
    frames = train.frames[np.asarray(chosen, dtype=np.int64)]
    return replace(train, frames=frames, labels=np.zeros(len(frames), dtype=np.int64))


def _open(
    checkpoint: str | Path | None,
    plan: str | Path | None,
    scheme: str | None,
    data: str | None,
    cost_table: str,
    given: Given,
    progress: Progress,
) -> tuple[Plan, Job]:
    """Return the plan, read or made, and what it is for."""
    if (plan is None) == (scheme is None):
        raise UsageError(
            "give a plan or a scheme for every layer, one of them", "--plan plan.json, or --scheme uniform-2"
        )
    if plan is not None:
        if sizes := [name for name, value in given.items() if value and name not in ("weights", "model")]:
            raise UsageError(f"{', '.join(sizes)}: the plan says what the model is", "leave it out, or give --scheme")
        chosen = Plan.read(plan)
        return chosen, open_planned(chosen, checkpoint, data, progress, given.get("weights"), plan, unlabelled=TAKEN)
    try:
        check_scheme(str(scheme))
    except ValueError as problem:
        raise UsageError(f"--scheme: {problem}") from None
    job = open_job(checkpoint or "digits", data, progress, unlabelled=TAKEN, **given)
    schemes = {layer.name: str(scheme) for layer in job.layers}
    check_masked(schemes, edits_of(job.checkpoint.config))
    table = read_table(cost_table)
    return make_plan(job.layers, schemes, model=job.model_info(), data=job.data_info(), table=table), job


def _config(task: _Task) -> State:
    """Return everything the result depends on; how much is kept in memory is none of it."""
    plan, knobs = task.plan, {key: value for key, value in asdict(task.settings).items() if key != "memory_mib"}
    storage = {} if task.storage == "coded" else {"storage": task.storage}
    return {
        "command": "ptq",
        **task.job.facts(),
        "schemes": plan.schemes(),
        "search": plan.search.fingerprint if plan.search else None,
        "cost_table_sha256": plan.cost_table.sha256,
        **knobs,
        **storage,
    }


def _reconstruct(
    run: RunFolder, task: _Task, samples: Frames, progress: Progress
) -> tuple[Reconstruction, list[State]]:
    """Quantise block after block; go on where a run was cut off."""
    job, settings = task.job, task.settings
    size = min(settings.batch_size, len(samples))
    made = Reconstruction(
        fold(job.model, job),
        job.wiring.norms,
        task.plan.schemes(),
        {layer.name: layer.group for layer in job.layers},
        [samples.__getitems__(list(range(i, i + size)))[0] for i in range(0, len(samples), size)],
        settings,
        task.fabric.device,
    )
    history = run_epochs(
        run,
        {"reconstruction": made},
        stage=settings.method,
        epochs=len(made.layout.blocks),
        batches=made.order,
        step=made.step,
        after_epoch=made.after_block,
        status=made.status,
        unit="block",
        progress=progress,
    )
    return made, history


def _choose_norms(made: Reconstruction, task: _Task, samples: Frames) -> tuple[nn.Module, State]:
    """Return the folded model, with the norms as they were learned or estimated anew, and what was found about both."""
    job, settings, device = task.job, task.settings, task.fabric.device
    folded = made.apply(fold(job.model, job))
    size = min(settings.batch_size, len(samples))
    floating = logits_of(job.model, samples, size, device)
    far = divergence(floating, logits_of(folded, samples, size, device))
    record: State = {"divergence": far, "batchnorm_reestimated": False}
    if settings.batchnorm == "off":
        return folded, record
    anew = reestimated(job, made.coded(), samples, size, settings.seed, device)
    record["divergence_reestimated"] = divergence(floating, logits_of(anew, samples, size, device))
    if settings.batchnorm == "auto" and not record["divergence_reestimated"] < far:
        return folded, record
    return anew, record | {"batchnorm_reestimated": True}
