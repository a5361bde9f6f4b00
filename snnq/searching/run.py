"""``snnq.search``: from a float checkpoint to a plan."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.assessing.float_activity import priced_for
from snnq.base.errors import OutputExistsError, PlanError, SnnqError
from snnq.base.placing import sweep
from snnq.base.progress import Progress, silent
from snnq.checkpoints.opening import load_model
from snnq.checkpoints.sizes import Given
from snnq.cost.table import DEFAULT_TABLE, CostTable, read_table
from snnq.data.cache import content_hash
from snnq.hardware.crossbars.target import read_target
from snnq.plan import Plan
from snnq.plan.verdict import winning_plan
from snnq.searching.bilevel import Bilevel
from snnq.searching.budget import check_budget
from snnq.searching.constraints import resolve
from snnq.searching.drift import drift
from snnq.searching.estimates import hessian, random
from snnq.searching.finishing import Found, finish
from snnq.searching.halving import halve
from snnq.searching.judging import Judge, learned, sensitivity
from snnq.searching.objective import Objective, objective
from snnq.searching.rate_search import found_rates, train_rates
from snnq.searching.rating import RateSpace, rate_space
from snnq.searching.scores import front_columns, front_rows
from snnq.searching.settings import UNTRAINED, SearchSettings
from snnq.structure.masked import masked_layers
from snnq.training import processes
from snnq.training.batches import steps_per_epoch
from snnq.training.chance import say_fit
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.job import TAKEN, Job, fingerprint, open_job
from snnq.training.loop import run_epochs
from snnq.training.run_folder import RunFolder, open_run, run_path
from snnq.training.search_runs import is_run, note_run, with_run
from snnq.training.teacher import answered, float_logits
from snnq.training.threads import keeps_threads, use_threads

if TYPE_CHECKING:
    from jaxtyping import Float

log = logging.getLogger(__name__)


@keeps_threads
def search(
    checkpoint: str | Path = "digits",
    *,
    data: str | None = None,
    out: str | Path = "plan.json",
    settings: SearchSettings | None = None,
    cost_table: str | Path = DEFAULT_TABLE,
    run: str | Path | None = None,
    compute: Compute | str = "auto",
    force: bool = False,
    progress: Progress = silent,
    words: Mapping[str, object] | None = None,
    **given: Unpack[Given],
) -> Plan:
    """Search a number format for every layer of a float checkpoint; write and return the plan.

    ``checkpoint`` is a path or the name of a built-in one; ``given`` are sizes it cannot tell (steps, heads,
    image_size, pooling). State, metrics and scores lie in ``run`` (default: ``out`` with ``.run`` added); a run that
    was cut off goes on, and a plan that is already there from the very same search is read and returned.

    ``compute`` says on which devices, how many and with how many threads (a string: on which one); the batch size
    counts the samples of all.

    Raises OutputExistsError if ``out`` holds anything else (unless ``force``), RunChangedError if the run was started
    with other settings, BudgetError before anything is trained if no plan keeps the budget, InterruptedRun after
    Ctrl-C, and what opening checkpoint, data and cost table raises.
    """
    problem = _posed(
        checkpoint, data, settings or SearchSettings(), read_table(cost_table), as_compute(compute), given, progress
    )
    return _searched(problem, Path(out), run, force, words, progress)


@dataclass(frozen=True)
class _Problem:
    """What a search is about, and what it computes on."""

    job: Job
    aim: Objective
    settings: SearchSettings
    table: CostTable
    compute: Compute
    fabric: Fabric
    rates: RateSpace | None = None


def _posed(
    checkpoint: str | Path,
    data: str | None,
    settings: SearchSettings,
    table: CostTable,
    compute: Compute,
    given: Given,
    progress: Progress,
) -> _Problem:
    fabric = start_fabric(compute)  # before the data: where there are more processes, they start from the top
    processes.check_batch_size(settings.batch_size)
    with processes.first_goes_first():
        job = open_job(checkpoint, data, progress, unlabelled=_unlabelled(settings), **given)
        job = answered(job, fabric, settings.batch_size, progress)
        table = priced_for(table, settings.budget or (), job, fabric.device, progress)
    rates = rate_space(job.model, job.layers, settings) if settings.method == "rate" else None
    choices = (
        rates.choices if rates else resolve(job.layers, settings.space, settings.constraints, masked_layers(job.model))
    )
    aim = objective(choices, settings, table)
    check_budget(aim.choices, aim.costs, aim.budget)
    return _Problem(job, aim, settings, table, compute, fabric, rates)


def _unlabelled(settings: SearchSettings) -> str:
    """Return whether data without labels are taken: by what trains nothing."""
    return TAKEN if settings.method in UNTRAINED else f"search without training: --method {UNTRAINED[0]}"


def _searched(
    problem: _Problem,
    out: Path,
    run: str | Path | None,
    force: bool,
    words: Mapping[str, object] | None,
    progress: Progress,
) -> Plan:
    job, settings, table, compute = problem.job, problem.settings, problem.table, problem.compute
    config = {"command": "search", **job.facts(), "cost_table_sha256": table.sha256, **asdict(settings)}
    config |= {"precision": compute.precision} | _priced_with(table)
    where = run_path(out, run)
    config["threads"] = use_threads(compute, job.macs(settings.batch_size), None if force else where)
    mark = fingerprint(config)
    done = processes.on_first(lambda: _finished(out, where, mark) if out.exists() and not force else None)
    if done:
        return done
    folder = open_run(where, config, out=out, force=force, words=words)
    judge, aim, found = _found(problem, folder, progress)
    kept = finish(judge, aim, found, table, mark, progress)
    plan = with_run(kept.plan, folder.path, out, mark)
    rows = front_rows(kept, table)
    front = [{key: row[key] for key in front_columns(rows)} for row in rows]
    kept_text, front_text = (json.dumps(one, allow_nan=False) for one in (kept.to_dict(), front))
    processes.on_first(lambda: folder.write_scores(kept_text, front_text))
    processes.on_first(lambda: write_winner(plan, out, force))
    processes.on_first(lambda: plan.write(out, force=force))
    processes.on_first(lambda: note_run(folder.path, mark))
    return plan


def _priced_with(table: CostTable) -> dict[str, str]:
    """Return which activity events are priced with, and which arrays; nothing where none are."""
    found = {"activity": table.floats, "arrays": table.arrays}
    known = {key: one.model_dump(mode="json") for key, one in found.items() if one is not None}
    marks = {f"{key}_sha256": content_hash({key: one}) for key, one in known.items()}
    return marks if table.arrays is None else marks | read_target(table.arrays.target).file_mark


def _found(problem: _Problem, folder: RunFolder, progress: Progress) -> tuple[Judge, Objective, Found]:
    """Return what the search ends with, the judge of plans, and what these are solved for."""
    job, aim, settings, fabric = problem.job, problem.aim, problem.settings, problem.fabric
    teacher = float_logits(job, "validation", fabric, settings.batch_size, progress)
    say_fit(teacher, job.data)
    floats = load_model(job.checkpoint).to(fabric.device)
    if problem.rates:
        moving, trained = train_rates(fabric, job, problem.rates, settings, problem.table, folder, progress)
        choices, found, grids = found_rates(moving, trained, problem.table)
        judge = Judge(job, floats, teacher, choices, settings)
        judge.nearest(found.weights).grids |= grids
        return judge, objective(choices, settings, problem.table), found
    judge = Judge(job, floats, teacher, aim.choices, settings)
    if settings.method in UNTRAINED:
        return judge, aim, Found(floats, _untrained(judge, aim, progress))
    if settings.method == "halving":
        return judge, aim, halve(fabric, judge, aim, folder, progress)
    weights, shares = _train(problem, folder, progress)
    return judge, aim, Found(weights, learned(judge, weights, shares, aim, progress), shares)


def _untrained(judge: Judge, aim: Objective, progress: Progress) -> Float[np.ndarray, "L K"]:
    """Return the scores (L, K) of a method that trains nothing."""
    scorers: dict[str, Callable[[], np.ndarray]] = {
        "sensitivity": lambda: sensitivity(judge, aim, progress),
        "hessian": lambda: hessian(judge, progress),
        "drift": lambda: drift(judge, progress),
        "random": lambda: random(judge.choices, judge.settings.seed),
    }
    return scorers[judge.settings.method]()


def _train(problem: _Problem, folder: RunFolder, progress: Progress) -> tuple[nn.Module, Float[Tensor, "L K"]]:
    """Run or resume the bi-level search; return the model with its latent weights, and the probabilities (L, K)."""
    settings, model, data = problem.settings, problem.job.model, problem.job.data
    torch.manual_seed(settings.seed)
    total = settings.epochs * steps_per_epoch(len(data.train), settings.batch_size)
    moving = Bilevel(problem.fabric, model, problem.aim, data.train, data.validation, settings, total)
    with moving.watch as watch:
        run_epochs(
            folder,
            moving.stateful(),
            stage="searching",
            epochs=settings.epochs,
            batches=moving.batches,
            step=moving.step,
            after_epoch=moving.after_epoch,
            status=moving.status,
            check=watch.check,
            progress=progress,
        )
    return model, moving.shares()


def winner_path(out: Path, name: str) -> Path:
    """Return where a search writes the simple plan that wins over its own: plan.json → plan.sensitivity.json."""
    return out.with_name(f"{out.stem}.{name}{out.suffix}")


def better_plan(plan: Plan, out: Path) -> Path:
    """Return where the plan to go on with lies: the search's own at ``out``, or the simple one that wins beside it.

    A file beside it that an earlier search left is none, not even of the same schemes: its scores are that search's.
    """
    won = winning_plan(plan)
    if won is None:
        return out
    name, due = won
    beside = winner_path(out, name)
    try:
        found = Plan.read(beside)
    except SnnqError:
        return out
    return beside if (found.schemes(), found.search) == (due.schemes(), due.search) else out


def write_winner(plan: Plan, out: Path, force: bool) -> None:
    """Write the simple plan that wins beside the search's own, if one does; a file that is there stays."""
    won = winning_plan(plan)
    if won is None:
        return
    try:
        won[1].write(winner_path(out, won[0]), force=force)
    except OutputExistsError as problem:
        log.warning("%s; it was left as it is", problem.message)


def _finished(out: Path, run: Path, mark: str) -> Plan:
    """Return the plan at ``out`` if this very search made it; otherwise refuse to overwrite it.

    A process that was killed just after writing the plan did not come to clean up and to note its run: done here.
    """
    try:
        plan = Plan.read(out)
    except PlanError:
        plan = None
    if plan is None or plan.search is None or plan.search.fingerprint != mark:
        raise OutputExistsError(
            f"{out} is already there and is not from this search", "add --force to overwrite it, or name another --out"
        )
    sweep(out)
    if is_run(run, mark):
        note_run(run, mark)
    return plan
