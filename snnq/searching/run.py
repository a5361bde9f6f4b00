"""``snnq.search``: from a float checkpoint to a plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from snnq.checkpoints.opening import load_model
from snnq.cost.table import DEFAULT_TABLE, CostTable, read_table
from snnq.errors import OutputExistsError, PlanError
from snnq.plan import Plan, SearchInfo, make_plan
from snnq.progress import Progress, silent
from snnq.searching import deciding
from snnq.searching.allocation import check_budget
from snnq.searching.architecture import Architecture
from snnq.searching.bilevel import Bilevel
from snnq.searching.constraints import Choices, resolve
from snnq.searching.mixture import Supernet
from snnq.searching.price import Price
from snnq.searching.scores import Scores, front_choices
from snnq.searching.settings import SearchSettings
from snnq.training import processes
from snnq.training.batches import steps_per_epoch
from snnq.training.devices import Compute, as_compute, start_fabric
from snnq.training.job import Job, fingerprint, open_job
from snnq.training.loop import run_epochs
from snnq.training.run_folder import RunFolder, open_run, run_path
from snnq.training.teacher import float_logits

FRONT_POINTS = 6


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
    **given: Any,
) -> Plan:
    """Search a number format for every layer of a float checkpoint; write and return the plan.

    ``checkpoint`` is a path or the name of a built-in one; ``given`` are sizes it cannot tell (steps, heads,
    image_size, pooling). State, metrics and scores lie in ``run`` (default: ``out`` with ``.run`` added); a run that
    was cut off goes on, and a plan that is already there from the very same search is read and returned.

    ``compute`` says on which devices and how many (a string: on which one); the batch size counts the samples of all.

    Raises OutputExistsError if ``out`` holds anything else (unless ``force``), RunChangedError if the run was started
    with other settings, BudgetError before anything is trained if no plan keeps the budget, InterruptedRun after
    Ctrl-C, and what opening checkpoint, data and cost table raises.
    """
    settings, out = settings or SearchSettings(), Path(out)
    compute, table = as_compute(compute), read_table(cost_table)
    fabric = start_fabric(compute)  # before the data: where there are more processes, they start from the top
    processes.check_batch_size(settings.batch_size)
    with processes.first_goes_first():
        job = open_job(checkpoint, data, progress, **given)
    choices = resolve(job.layers, settings.space, settings.constraints)
    aim = deciding.objective(choices, settings, table)
    check_budget(choices, aim.costs, aim.budget)
    config = {"command": "search", **job.facts(), "cost_table_sha256": table.sha256, **asdict(settings)}
    config["precision"] = compute.precision
    mark = fingerprint(config)
    done = processes.on_first(lambda: _finished(out, mark) if out.exists() and not force else None)
    if done:
        return done
    folder = open_run(run_path(out, run), config, force=force)
    teacher = float_logits(job, "validation", fabric, settings.batch_size, progress)
    judge = deciding.Judge(job, teacher, choices, settings, fabric.device)
    floats = load_model(job.checkpoint).to(fabric.device)
    found = _Found(job, choices, aim, settings, table, mark)
    if settings.method == "sensitivity":
        scores = deciding.sensitivity(judge, floats, aim, progress)
        plan = found.finish(folder, judge, floats, floats, scores, None, progress)
    else:
        weights, shares = _train(folder, fabric, job, choices, aim, settings, progress)
        scores = _scores(judge, weights, shares, aim, settings, progress)
        plan = found.finish(folder, judge, weights, floats, scores, shares, progress)
    processes.on_first(lambda: plan.write(out, force=force))
    return plan


def _train(
    folder: RunFolder,
    fabric: Fabric,
    job: Job,
    choices: Choices,
    aim: deciding.Objective,
    settings: SearchSettings,
    progress: Progress,
) -> tuple[nn.Module, Tensor]:
    """Run or resume the bi-level search; return the model with its latent weights, and the probabilities (L, K)."""
    torch.manual_seed(settings.seed)
    supernet = Supernet(job.model, [layer.name for layer in choices.layers], choices.names).train()
    bits = torch.from_numpy(aim.costs["avg_bits"]).float()
    total = settings.epochs * steps_per_epoch(len(job.data.train), settings.batch_size)
    moving = Bilevel(
        fabric,
        supernet,
        Architecture(choices),
        start_price(choices, aim, settings),
        bits,
        job.data.train,
        job.data.validation,
        settings,
        total,
    )
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
    return supernet.model, moving.shares()


def start_price(choices: Choices, aim: deciding.Objective, settings: SearchSettings) -> Price:
    """Return what cost weighs: the trade-off on energy, or a steered price of every budget."""
    if not settings.budget:
        relative = deciding.trade_offs(choices, settings) / (settings.trade_off or 1.0)
        costs = relative[:, None] * aim.costs["energy_fraction"]
        return Price(torch.from_numpy(costs[None]).float(), trade_off=settings.trade_off)
    rows = [aim.costs[name] / limit for name, limit in settings.budget.items()]
    return Price(torch.from_numpy(np.stack(rows)).float(), trade_off=None)


def _scores(
    judge: deciding.Judge,
    weights: nn.Module,
    shares: Tensor,
    aim: deciding.Objective,
    settings: SearchSettings,
    progress: Progress,
) -> np.ndarray:
    """Return the scores (L, K) of a trained mixture: measured losses at the plan it leans to, and what it learned.

    For the paper's form, −log p alone: the least sum without a budget is every layer's most probable scheme.
    """
    learned = deciding.learned_prior(shares)
    if settings.method == "paper":
        return np.where(judge.choices.allowed, learned, np.nan)
    anchor = aim.solve(learned)
    prior = learned + deciding.rounding_prior(weights, judge.choices)
    return judge.measured(weights, anchor, aim.solve, progress, "measuring layers", prior)


class _Found:
    """Turns scores into a plan with everything beside it, and keeps them in the run folder."""

    def __init__(
        self,
        job: Job,
        choices: Choices,
        aim: deciding.Objective,
        settings: SearchSettings,
        table: CostTable,
        mark: str,
    ) -> None:
        self.job, self.choices, self.aim, self.settings = job, choices, aim, settings
        self.table, self.mark = table, mark

    def finish(
        self,
        folder: RunFolder,
        judge: deciding.Judge,
        weights: nn.Module,
        floats: nn.Module,
        scores: np.ndarray,
        shares: Tensor | None,
        progress: Progress,
    ) -> Plan:
        """Return the plan of scores (L, K), scored beside the simple plans; write the scores into the run folder."""
        paper = self.settings.method == "paper"
        chosen = allocate_paper(scores, self.choices) if paper else self.aim.solve(scores)
        rival = None
        if shares is not None:
            same = deciding.same_cost(self.aim, chosen)
            rival = self.choices.schemes(same.solve(deciding.sensitivity(judge, floats, same, progress)))
        beside = deciding.simple_plans(judge, weights, floats, rival, progress)
        plan = self._plan(chosen, shares).with_baselines(beside, self.table)
        plan = self._scored(plan, judge, weights)
        kept = Scores(plan, self.choices, scores)
        front = [] if paper else self._front(kept, judge, weights, progress)
        kept = Scores(plan, self.choices, scores, tuple(front))
        processes.on_first(lambda: folder.write_scores(json.dumps(kept.to_dict(), allow_nan=False)))
        return plan

    def _front(
        self, kept: Scores, judge: deciding.Judge, weights: nn.Module, progress: Progress
    ) -> list[dict[str, Any]]:
        points = front_choices(kept, self.table, FRONT_POINTS)
        found = []
        for i, point in enumerate(points):
            progress("scoring the front", i, len(points))
            schemes = self.choices.schemes(point)
            score = judge.score(weights, schemes)
            found.append({"schemes": schemes, "validation_loss": score.loss, "validation_accuracy": score.accuracy})
        progress("scoring the front", len(points), len(points))
        return found

    def _scored(self, plan: Plan, judge: deciding.Judge, weights: nn.Module) -> Plan:
        score = judge.score(weights, plan.schemes())
        if plan.search is None:
            return plan
        measured = {"validation_accuracy": score.accuracy, "validation_loss": score.loss}
        return plan.model_copy(update={"search": plan.search.model_copy(update=measured)})

    def _plan(self, chosen: Sequence[int], shares: Tensor | None) -> Plan:
        one, names = self.settings, self.choices.names
        rows = None
        if shares is not None:
            rows = {
                layer.name: dict(zip(names, row.tolist(), strict=True))
                for layer, row in zip(self.choices.layers, shares.cpu(), strict=True)
            }
        return make_plan(
            self.job.layers,
            self.choices.schemes(chosen),
            model=self.job.model_info(),
            data=self.job.data_info(),
            search=SearchInfo(
                method=one.method,
                seed=one.seed,
                epochs=0 if shares is None else one.epochs,
                trade_off=None if one.budget else one.trade_off,
                budget=one.budget or None,
                space=names,
                fingerprint=self.mark,
            ),
            table=self.table,
            probabilities=rows,
        )


def allocate_paper(scores: np.ndarray, choices: Choices) -> list[int]:
    """Return every layer's most probable scheme (L,): tied layers have the same scores."""
    return [int(k) for k in np.where(choices.allowed, scores, np.inf).argmin(1)]


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
