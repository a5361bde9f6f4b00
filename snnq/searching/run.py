"""``snnq.search``: from a float checkpoint to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from snnq.cost.energy import layer_energy, storage_bits
from snnq.cost.table import DEFAULT_TABLE, CostTable, read_table
from snnq.errors import OutputExistsError, PlanError
from snnq.layers import Layer
from snnq.plan import Plan, SearchInfo, make_plan
from snnq.plan.costing import BASELINES
from snnq.progress import Progress, silent
from snnq.schemes.names import FLOAT32
from snnq.searching.bilevel import Bilevel
from snnq.searching.mixture import Supernet
from snnq.searching.scoring import score_rounded
from snnq.searching.settings import SearchSettings
from snnq.training.batches import steps_per_epoch
from snnq.training.devices import start_fabric
from snnq.training.job import Job, fingerprint, open_job
from snnq.training.loop import run_epochs
from snnq.training.run_folder import open_run, run_path


def search(
    checkpoint: str | Path = "digits",
    *,
    data: str | None = None,
    out: str | Path = "plan.json",
    settings: SearchSettings | None = None,
    cost_table: str | Path = DEFAULT_TABLE,
    run: str | Path | None = None,
    device: str = "auto",
    force: bool = False,
    progress: Progress = silent,
    **given: Any,
) -> Plan:
    """Search a number format for every layer of a float checkpoint; write and return the plan.

    ``checkpoint`` is a path or the name of a built-in one; ``given`` are sizes it cannot tell (steps, heads,
    image_size, pooling). State and metrics lie in ``run`` (default: ``out`` with ``.run`` added); a run that was
    cut off goes on, and a plan that is already there from the very same search is read and returned.

    Raises OutputExistsError if ``out`` holds anything else (unless ``force``), RunChangedError if the run was started
    with other settings, InterruptedRun after Ctrl-C, and what opening checkpoint, data and cost table raises.
    """
    settings, out = settings or SearchSettings(), Path(out)
    table = read_table(cost_table)
    job = open_job(checkpoint, data, progress, **given)
    config = {"command": "search", **job.facts(), "cost_table_sha256": table.sha256, **asdict(settings)}
    mark = fingerprint(config)
    if out.exists() and not force:
        return _finished(out, mark)
    fabric = start_fabric(device)
    folder = open_run(run_path(out, run), config, force=force)
    moving = _start(job, settings, table, fabric)
    run_epochs(
        folder,
        moving.stateful(),
        stage="searching",
        epochs=settings.epochs,
        batches=moving.batches,
        step=moving.step,
        after_epoch=moving.after_epoch,
        status=moving.status,
        progress=progress,
    )
    plan = _scored(_plan(job, moving.shares(), settings, table, mark), job, settings, progress, checkpoint, given)
    plan.write(out, force=force)
    return plan


def _start(job: Job, settings: SearchSettings, table: CostTable, fabric: Fabric) -> Bilevel:
    """Return the search's moving parts at step 0; the job's model becomes the supernet."""
    torch.manual_seed(settings.seed)
    supernet = Supernet(job.model, [layer.name for layer in job.layers], settings.space).train()
    costs, bits = cost_matrices(job.layers, settings.space, table)
    steps = settings.epochs * steps_per_epoch(len(job.data.train), settings.batch_size)
    return Bilevel(fabric, supernet, costs, bits, job.data.train, job.data.validation, settings, steps)


def cost_matrices(layers: Sequence[Layer], space: Sequence[str], table: CostTable) -> tuple[Tensor, Tensor]:
    """Return (costs, bits), each (L, K).

    costs[l, k] = E_lk / Σ_l E_l,float32 by the paper's energy model; bits[l, k] = bits of layer l under scheme k over
    all weights, so that Σ p · bits is the expected average bits per weight.
    """
    whole = sum(layer_energy(layer, FLOAT32, table).total_pj for layer in layers)
    weights = sum(layer.weights for layer in layers)
    costs = [[layer_energy(layer, name, table).total_pj / whole for name in space] for layer in layers]
    bits = [[storage_bits(layer, name) / weights for name in space] for layer in layers]
    return torch.tensor(costs), torch.tensor(bits)


def _finished(out: Path, mark: str) -> Plan:
    """Return the plan at ``out`` if this very search made it; otherwise refuse to overwrite it."""
    try:
        plan = Plan.read(out)
    except PlanError:
        plan = None
    if plan is None or plan.search is None or plan.search.fingerprint != mark:
        raise OutputExistsError(
            f"{out} is already there and is not from this search", "add --force to overwrite it, or name another --out"
        )
    return plan


def _plan(job: Job, shares: Tensor, settings: SearchSettings, table: CostTable, mark: str) -> Plan:
    """Return the plan in which every layer takes its most probable scheme."""
    names = [layer.name for layer in job.layers]
    rows = [dict(zip(settings.space, row.tolist(), strict=True)) for row in shares.cpu()]
    chosen = {name: max(row, key=lambda key: row[key]) for name, row in zip(names, rows, strict=True)}
    return make_plan(
        job.layers,
        chosen,
        model=job.model_info(),
        data=job.data_info(),
        search=SearchInfo(
            method="differentiable",
            seed=settings.seed,
            epochs=settings.epochs,
            trade_off=settings.trade_off,
            space=settings.space,
            fingerprint=mark,
        ),
        table=table,
        probabilities=dict(zip(names, rows, strict=True)),
    )


def _scored(
    plan: Plan, job: Job, settings: SearchSettings, progress: Progress, checkpoint: str | Path, given: dict[str, Any]
) -> Plan:
    """Return the plan with the validation accuracy, before finetuning, of itself and of the uniform plans."""
    from snnq.checkpoints.opening import load_model

    model = load_model(job.checkpoint)
    choices = {"": plan.schemes()} | {name: dict.fromkeys(plan.schemes(), name) for name in BASELINES}
    found = {}
    for i, (name, schemes) in enumerate(choices.items()):
        progress("scoring plans", i, len(choices))
        score = score_rounded(model, schemes, job.data.train, job.data.validation, settings.batch_size, settings.seed)
        found[name] = score.accuracy
    progress("scoring plans", len(choices), len(choices))
    mine = found.pop("")
    search_info = plan.search.model_copy(update={"validation_accuracy": mine}) if plan.search else None
    return plan.with_accuracies(found).model_copy(update={"search": search_info})
