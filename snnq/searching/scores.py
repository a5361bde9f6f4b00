"""A finished search's scores, kept in its run folder: plans for other budgets in seconds, without training.

``scores.json`` holds the plan that was made (model, data, layers) and, by layer and scheme, the scores that the integer
programme minimises (in nats with methods of ``LOSSES``), and what every plan that was scored made of every sample.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from snnq.assessing.float_activity import needs_activity, needs_arrays, priced_for
from snnq.base.errors import OutputExistsError, SnnqError, UsageError
from snnq.base.files import read_text, write_atomic
from snnq.base.paired import PerSample, difference
from snnq.base.progress import silent
from snnq.base.strict_json import Json, strict_json
from snnq.cost.quantities import STORAGE, known
from snnq.cost.table import CostTable, read_table
from snnq.packed.config import CONFIG_FILE, PLAN_FILE
from snnq.packing.planned import open_planned
from snnq.plan import Plan, make_plan
from snnq.plan.files import read_json
from snnq.plan.plan import parse_plan, without_costs
from snnq.plan.records import Baseline
from snnq.schemes.names import FLOAT32
from snnq.searching.budget import allocate, limit_costs, realised
from snnq.searching.constraints import Choices
from snnq.searching.settings import LOSSES
from snnq.training.run_folder import run_path
from snnq.training.search_runs import find_run, no_run, with_run

if TYPE_CHECKING:
    from jaxtyping import Float

SCORES_VERSION, POINTS = 1, 24
OWN = "this plan"
# A plan on the front: its schemes by layer, and numbers, None where they are not known; ready for JSON.
Point = Json
SCORED = ("validation_loss", "validation_accuracy")


def front_columns(rows: Sequence[Point]) -> tuple[str, ...]:
    """Return what is said of plans on the front: their costs' ratios, the predicted loss and what was measured."""
    costs = rows[0] if rows else {}
    return (*(key for one in known(costs) for key in one.ratios), "predicted_loss", *SCORED)


@dataclass(frozen=True)
class Scores:
    """What a search found out: the plan it made, its choices, and the scores (L, K), NaN where not allowed.

    ``front``: measured points (``SCORED``, the schemes and each sample). ``each``: what the plans
    that were scored made of every validation sample, by their names in the plan; its own under ``OWN``.
    """

    plan: Plan
    choices: Choices
    values: Float[np.ndarray, "L K"]
    front: tuple[Point, ...] = ()
    each: Mapping[str, PerSample] = field(default_factory=dict)

    def to_dict(self) -> Json:
        """Return plain data for JSON."""
        rows = [
            {name: float(value) for name, value in zip(self.choices.names, row, strict=True) if not np.isnan(value)}
            for row in self.values
        ]
        return {
            "schema_version": SCORES_VERSION,
            "plan": self.plan.to_dict(),
            "names": list(self.choices.names),
            "groups": list(self.choices.group),
            "scores": {layer.name: row for layer, row in zip(self.choices.layers, rows, strict=True)},
            "front": list(self.front),
            "each": {name: one.model_dump(mode="json") for name, one in self.each.items()},
        }

    def best(self, budget: Mapping[str, float], table: CostTable) -> list[int]:
        """Return the choice (L,) of least summed score under a budget; raises BudgetError if there is none."""
        costs = limit_costs(self.choices.layers, self.choices.names, table)
        return allocate(self.choices, self.values, costs, budget)

    def predicted(self, chosen: Sequence[int]) -> float | None:
        """Return ``above`` in nats; None where the search's scores are none."""
        losses = self.plan.search is not None and self.plan.search.method in LOSSES
        return self.above(chosen) if losses else None

    def above(self, chosen: Sequence[int]) -> float:
        """Return the summed score of a choice over that of each layer's best scheme."""
        rows = np.arange(len(chosen))
        return float((self.values[rows, list(chosen)] - np.nanmin(self.values, 1)).sum())


def run_of(path: Path) -> Path:
    """Return the run folder at ``path``, or that of the search behind the plan or packed folder there.

    Raises UsageError where a plan's run is not found, PlanError for a plan that cannot be read.
    """
    packed = (path / CONFIG_FILE).exists() and (path / PLAN_FILE).exists()
    plan_file = path / PLAN_FILE if packed else path
    if path.is_dir() and not packed:
        return path
    if not plan_file.exists():
        return run_path(path)
    plan = parse_plan(read_json(plan_file), str(plan_file))
    folder = find_run(plan, plan_file)
    if folder is None:
        raise no_run(plan_file, plan)
    return folder


def read_scores(run: Path) -> Scores:
    """Return the scores of a run folder; raises UsageError if there are none."""
    file = run / "scores.json"
    try:
        data = strict_json(read_text(file))
        told = data["plan"]
        plan = Plan.model_validate(told | {"baselines": without_costs(told, "baselines")})
        names, groups = tuple(data["names"]), tuple(int(group) for group in data["groups"])
        layers = plan.layer_table()
        values = np.array([[data["scores"][layer.name].get(name, np.nan) for name in names] for layer in layers])
        choices = Choices(layers, names, ~np.isnan(values), groups)
        front = tuple(data["front"])
        each = {name: PerSample.model_validate(one) for name, one in data.get("each", {}).items()}
    except FileNotFoundError:
        raise UsageError(
            f"{run} holds no finished search (no scores.json)", "give a search's run folder, such as plan.json.run"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UsageError(f"{file} cannot be read: {problem}", "search again: snnq search --force") from None
    return Scores(plan, choices, values.astype(float), front, each)


def solve(
    run: str | Path, budget: Mapping[str, float], *, cost_table: str | Path | None = None, out: str | Path | None = None
) -> Plan:
    """Return the best plan for another budget from a finished search, without training.

    ``run`` is its run folder, or a plan of it. ``budget`` has limits by keys of ``Totals``. A plan that goes to ``out``
    holds the way from there to the run. Raises BudgetError if no plan keeps it, UsageError for a folder without
    scores.
    """
    folder = run_of(Path(run))
    scores = read_scores(folder)
    table = _table(scores.plan, cost_table)
    missing = (table.floats is None and needs_activity(budget)) or (table.arrays is None and needs_arrays(budget))
    if missing:  # the search was asked for nothing of the kind
        job = open_planned(scores.plan, None, None, silent, file=run)
        table = priced_for(table, budget, job, torch.device("cpu"))
    plan = _plan(scores, scores.best(budget, table), dict(budget), table)
    mark = scores.plan.search.fingerprint if scores.plan.search else None
    return plan if out is None else with_run(plan, folder, Path(out), mark)


def predicted_loss(run: str | Path, plan: Plan) -> float | None:
    """Return the summed score of a plan above that of each layer's best scheme, in nats, from a finished search.

    None where its method's scores are no losses (``LOSSES``). Raises UsageError for a folder without scores, and for a
    scheme that the search did not score.
    """
    scores, schemes = read_scores(run_of(Path(run))), plan.schemes()
    try:
        return scores.predicted([scores.choices.names.index(schemes[layer.name]) for layer in scores.choices.layers])
    except (ValueError, KeyError):
        raise UsageError("the plan takes a layer or a scheme that the search did not score") from None


def front(run: str | Path, *, cost_table: str | Path | None = None) -> list[Point]:
    """Return the accuracy–cost front of a finished search, one dict a plan (``front_columns``), cheapest first.

    ``predicted_loss`` is the summed score above that of each layer's best scheme, in nats, None where the method's
    scores are no losses; loss and accuracy on validation, before finetuning, are given where the search measured that
    very plan.
    """
    scores = read_scores(run_of(Path(run)))
    return front_rows(scores, _table(scores.plan, cost_table))


def front_choices(scores: Scores, table: CostTable, points: int) -> list[list[int]]:
    """Return different choices along the front, from the fewest bits to the best scores without float32, by budgets
    of average bits that grow geometrically."""
    costs = limit_costs(scores.choices.layers, scores.choices.names, table)
    # Every group's fewest bits, and its most without float32.
    open_ = np.where(scores.choices.allowed, costs[STORAGE.relative], np.nan)
    lowest = float(np.nanmin(open_, 1).sum())
    quantised = open_[:, [k for k, name in enumerate(scores.choices.names) if name != FLOAT32]]
    most = np.fmax.reduce(quantised, 1)
    highest = float(np.where(np.isnan(most), np.nanmax(open_, 1), most).sum())
    found: dict[tuple[int, ...], None] = {}
    for limit in np.geomspace(lowest, max(highest, lowest), points):
        found[tuple(scores.best({STORAGE.relative: float(limit) * (1 + 1e-12)}, table))] = None
    return [list(chosen) for chosen in found]


def front_rows(scores: Scores, table: CostTable, points: int = POINTS) -> list[Point]:
    """Return ``front`` of scores at hand."""
    costs = limit_costs(scores.choices.layers, scores.choices.names, table)
    measured = {json.dumps(point["schemes"], sort_keys=True): point for point in scores.front}
    chosen = {tuple(one): None for one in front_choices(scores, table, points)}
    for point in scores.front:
        chosen[tuple(scores.choices.names.index(point["schemes"][layer.name]) for layer in scores.choices.layers)] = (
            None
        )
    rows = []
    for one in sorted(chosen, key=scores.above):
        schemes = scores.choices.schemes(one)
        told = measured.get(json.dumps(schemes, sort_keys=True), {})
        rows.append(
            realised(costs, one, {key: 0.0 for quantity in known(costs) for key in quantity.ratios})
            | {"predicted_loss": scores.predicted(one)}
            | {key: told.get(key) for key in SCORED}
            | {"schemes": schemes}
        )
    return sorted(rows, key=lambda row: row[STORAGE.relative])


def front_csv(rows: Sequence[Point]) -> str:
    """Return front rows as CSV text: ``front_columns``, then one column a layer with its scheme."""
    columns = front_columns(rows)
    layers = list(rows[0]["schemes"]) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *layers])
    for row in rows:
        numbers = ["" if row[key] is None else f"{row[key]:.6g}" for key in columns]
        writer.writerow([*numbers, *(row["schemes"][layer] for layer in layers)])
    return text.getvalue()


def write_front(path: Path, rows: Sequence[Point], *, force: bool = False) -> None:
    """Write front rows as CSV; raises OutputExistsError if it is there and not ``force``, UsageError."""
    try:
        write_atomic(path, front_csv(rows), overwrite=force)
    except FileExistsError:
        raise OutputExistsError(
            f"{path} is already there", "choose another --front, or add --force to overwrite it"
        ) from None
    except OSError as problem:
        raise UsageError(f"{path}: cannot be written ({problem.strerror})", "choose another --front") from None


def _table(plan: Plan, given: str | Path | None) -> CostTable:
    return read_table(given or plan.cost_table.source or plan.cost_table.name).on(plan.activity).on_arrays(plan.arrays)


def _plan(scores: Scores, chosen: Sequence[int], budget: dict[str, float], table: CostTable) -> Plan:
    old = scores.plan
    if old.search is None:
        raise SnnqError("the scores name no search")
    schemes = scores.choices.schemes(chosen)
    known, each = _measured(scores, schemes)
    search = old.search.model_copy(update={"budget": budget, "trade_off": None, "fingerprint": None, **known})
    probabilities = {layer.name: layer.probabilities for layer in old.layers if layer.probabilities}
    plan = make_plan(
        scores.choices.layers,
        schemes,
        model=old.model,
        data=old.data,
        search=search,
        table=table,
        probabilities=probabilities,
    )
    return plan.with_baselines(beside(old.baselines, each, scores.each), table)


def beside(baselines: Sequence[Baseline], own: PerSample | None, each: Mapping[str, PerSample]) -> list[Baseline]:
    """Return baselines with the difference of a plan to them, over the samples of both."""
    return [one.model_copy(update={"difference": difference(own, each.get(one.scheme))}) for one in baselines]


def _measured(scores: Scores, schemes: Mapping[str, str]) -> tuple[dict[str, float | None], PerSample | None]:
    """Return accuracy and loss of a plan, and each sample, where the search scored that very plan; else Nones."""
    old = scores.plan
    if old.search and schemes == old.schemes():
        return {key: getattr(old.search, key) for key in SCORED}, scores.each.get(OWN)
    point = next((one for one in scores.front if one["schemes"] == schemes), None)
    if point is None:
        return dict.fromkeys(SCORED), None
    each = point.get("each")
    return {key: point[key] for key in SCORED}, each and PerSample.model_validate(each)
