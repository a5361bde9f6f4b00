"""From scores to a plan with everything beside it: the simple plans, the front, all scored with the same weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from snnq.base.errors import BudgetError
from snnq.base.paired import PerSample
from snnq.base.progress import Progress
from snnq.cost.table import CostTable
from snnq.plan import Plan, SearchInfo, make_plan
from snnq.plan.costing import BASELINES, TRAINED_FLOAT
from snnq.plan.records import Baseline
from snnq.schemes.holding import has_zero
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import RATE_DECIMALS, rated, scheme
from snnq.searching.judging import Judge, sensitivity
from snnq.searching.objective import Objective, same_cost
from snnq.searching.scores import OWN, Point, Scores, beside, front_choices
from snnq.searching.settings import UNTRAINED
from snnq.structure.masked import masked_layers

if TYPE_CHECKING:
    from jaxtyping import Float

FRONT_POINTS = 6
# The rates at which the sensitivity plan beside a search of rates is measured.
MEASURED = (0.1, 0.3, 0.65, 1.0, 1.5, 2.5)


@dataclass(frozen=True)
class Found:
    """What a search ends with: weights to score plans with, scores (L, K), probabilities (L, K) if it trained any.

    ``chosen`` (L,): the plan, where the search has made it itself; otherwise it is solved from the scores.
    """

    weights: nn.Module
    scores: Float[np.ndarray, "L K"]
    shares: Float[Tensor, "L K"] | None = None
    chosen: list[int] | None = None


def finish(judge: Judge, aim: Objective, found: Found, table: CostTable, mark: str, progress: Progress) -> Scores:
    """Return the plan of a search, scored beside the simple plans, with the scores it was solved from."""
    paper = judge.settings.method == "paper"
    chosen = most_probable(judge, found) if paper else found.chosen or aim.solve(found.scores)
    rival = None
    if judge.settings.method != "sensitivity":
        same = same_cost(aim, chosen)
        measured = coarser(judge)
        same = replace(same, choices=measured.choices)
        # Rates that were trained may be lower than all that are measured.
        with suppress(BudgetError):
            rival = judge.choices.schemes(same.solve(sensitivity(measured, same, progress)))
    plan = _plan(judge, chosen, found, table, mark)
    own = judge.score(found.weights, plan.schemes())
    measured = {"validation_accuracy": own.accuracy, "validation_loss": own.loss, "samples": own.samples}
    plan = plan.model_copy(update={"search": plan.search and plan.search.model_copy(update=measured)})
    simple, each = simple_plans(judge, found.weights, rival, plan.totals.avg_bits, progress)
    plan = plan.with_baselines(beside(simple, own.each, each), table)
    kept = Scores(plan, judge.choices, found.scores, each=each | ({OWN: own.each} if own.each else {}))
    return kept if paper else replace(kept, front=_front(kept, judge, found.weights, table, progress))


def coarser(judge: Judge) -> Judge:
    """Return a judge who measures layers at ``MEASURED`` rates only where all rates are open: each takes its time."""
    if judge.settings.method != "rate":
        return judge
    choices, narrow = judge.choices, copy.copy(judge)
    allowed = choices.allowed.copy()
    for row in allowed:
        open_ = {choices.names[k] for k in np.flatnonzero(row)}
        few = {rated(scheme(name).grid_name, rate) for name in open_ for rate in MEASURED}
        few = {name for name in few if scheme(name).rate is not None}
        if few <= open_:  # locked layers, and those of a few rates, keep all they have
            row &= [name in few for name in choices.names]
    narrow.choices = replace(choices, allowed=allowed)
    return narrow


def most_probable(judge: Judge, found: Found) -> list[int]:
    """Return every layer's most probable scheme (L,), the paper's choice: tied layers have the same scores."""
    return [int(k) for k in np.where(judge.choices.allowed, found.scores, np.inf).argmin(1)]


def simple_plans(
    judge: Judge, weights: nn.Module, rival: dict[str, str] | None, bits: float, progress: Progress
) -> tuple[list[Baseline], dict[str, PerSample]]:
    """Return the uniform plans and the sensitivity plan, scored with the search's weights, and each sample of them.

    float32 is the checkpoint as given; with the search's weights it stands beside that, where they are others. A
    candidate of a family that no baseline is of is one everywhere, too: ternary, where it is searched; so is a grid
    whose rates are searched, at the plan's ``bits`` a weight.
    """
    names = [layer.name for layer in judge.choices.layers]
    families = {scheme(name).family for name in BASELINES}
    everywhere = [*BASELINES, *(name for name in judge.choices.names if scheme(name).family not in families)]
    everywhere = list(dict.fromkeys((*everywhere, *_one_rate(judge.choices.names, bits))))
    if masked_layers(judge.floats):
        everywhere = [name for name in everywhere if has_zero(name)]
    plans = {name: dict.fromkeys(names, name) for name in everywhere}
    if weights is not judge.floats:
        plans[TRAINED_FLOAT] = dict.fromkeys(names, FLOAT32)
    if rival is not None:
        plans["sensitivity"] = rival
    found, each = [], {}
    for i, (name, schemes) in enumerate(plans.items()):
        progress("scoring simple plans", i, len(plans))
        score = judge.score(judge.floats if name == FLOAT32 else weights, schemes)
        mixed = None if name in everywhere else schemes
        found.append(
            Baseline(scheme=name, schemes=mixed, validation_accuracy=score.accuracy, validation_loss=score.loss)
        )
        if score.each:
            each[name] = score.each
    progress("scoring simple plans", len(plans), len(plans))
    return found, each


def _one_rate(names: Sequence[str], bits: float) -> list[str]:
    """Return every grid that has rates among ``names``, at so many bits a weight, rounded down; none below a rate."""
    grids = dict.fromkeys(scheme(name).grid_name for name in names if scheme(name).rate is not None)
    down = math.floor(bits * 10**RATE_DECIMALS) / 10**RATE_DECIMALS
    return [rated(grid, down) for grid in grids if 0 < down < scheme(grid).code_width]


def _front(kept: Scores, judge: Judge, weights: nn.Module, table: CostTable, progress: Progress) -> tuple[Point, ...]:
    points, found = front_choices(kept, table, FRONT_POINTS), []
    for i, point in enumerate(points):
        progress("scoring the front", i, len(points))
        schemes = judge.choices.schemes(point)
        score = judge.score(weights, schemes)
        point = {"schemes": schemes, "validation_loss": score.loss, "validation_accuracy": score.accuracy}
        found.append(point | ({"each": score.each.model_dump(mode="json")} if score.each else {}))
    progress("scoring the front", len(points), len(points))
    return tuple(found)


def _plan(judge: Judge, chosen: Sequence[int], found: Found, table: CostTable, mark: str) -> Plan:
    """Return the plan of a choice (L,), with what the search thought of each scheme."""
    one, choices, rows = judge.settings, judge.choices, None
    if found.shares is not None:
        rows = {
            layer.name: dict(zip(choices.names, row.tolist(), strict=True))
            for layer, row in zip(choices.layers, found.shares.cpu(), strict=True)
        }
    search = SearchInfo(
        method=one.method,
        seed=one.seed,
        epochs=0 if one.method in UNTRAINED else one.epochs,
        trade_off=None if one.budget else one.trade_off,
        budget=one.budget or None,
        space=one.space if one.method == "rate" else choices.names,  # whose rates are most of the names
        options=one.words(),
        fingerprint=mark,
        data_sha256=judge.job.data.sha256,
    )
    return make_plan(
        judge.job.layers,
        choices.schemes(chosen),
        model=judge.job.model_info(),
        data=judge.job.data_info(),
        search=search,
        table=table,
        probabilities=rows,
    )
