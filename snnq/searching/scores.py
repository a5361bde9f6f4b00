"""A finished search's scores, kept in its run folder: plans for other budgets in seconds, without training.

``scores.json`` holds the plan that was made (model, data, layers) and, by layer and scheme, the scores in nats that the
integer programme minimises.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snnq.cost.table import CostTable, read_table
from snnq.errors import OutputExistsError, SnnqError, UsageError
from snnq.files import read_text, write_atomic
from snnq.plan import Plan, make_plan
from snnq.schemes.names import FLOAT32
from snnq.searching.allocation import allocate
from snnq.searching.budget import QUANTITIES, quantity_costs, realised
from snnq.searching.constraints import Choices
from snnq.strict_json import strict_json

SCORES_VERSION, POINTS = 1, 24
FRONT_COLUMNS = (
    "avg_bits",
    "storage_fraction",
    "energy_fraction",
    "predicted_loss",
    "validation_loss",
    "validation_accuracy",
)


@dataclass(frozen=True)
class Scores:
    """What a search found out: the plan it made, its choices, and the scores (L, K) in nats, NaN where not allowed.

    ``front``: measured points (columns of ``FRONT_COLUMNS`` and the schemes).
    """

    plan: Plan
    choices: Choices
    values: np.ndarray
    front: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
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
        }

    def best(self, budget: Mapping[str, float], table: CostTable) -> list[int]:
        """Return the choice (L,) of least summed score under a budget; raises BudgetError if there is none."""
        costs = quantity_costs(self.choices.layers, self.choices.names, table)
        return allocate(self.choices, self.values, costs, budget)

    def predicted(self, chosen: Sequence[int]) -> float:
        """Return the summed score of a choice over that of each layer's best scheme, in nats."""
        rows = np.arange(len(chosen))
        return float((self.values[rows, list(chosen)] - np.nanmin(self.values, 1)).sum())


def read_scores(run: Path) -> Scores:
    """Return the scores of a run folder, or of the run beside a plan; raises UsageError if there are none."""
    folder = run if (run / "scores.json").exists() or run.is_dir() else run.with_name(f"{run.name}.run")
    file = folder / "scores.json"
    try:
        data = strict_json(read_text(file))
        plan = Plan.model_validate(data["plan"])
        names, groups = tuple(data["names"]), tuple(int(group) for group in data["groups"])
        layers = plan.layer_table()
        values = np.array([[data["scores"][layer.name].get(name, np.nan) for name in names] for layer in layers])
        choices = Choices(layers, names, ~np.isnan(values), groups)
        front = tuple(data["front"])
    except FileNotFoundError:
        raise UsageError(
            f"{folder} holds no finished search (no scores.json)",
            "give a search's run folder, such as plan.json.run",
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise UsageError(f"{file} cannot be read: {problem}", "search again: snnq search --force") from None
    return Scores(plan, choices, values.astype(float), front)


def solve(run: str | Path, budget: Mapping[str, float], *, cost_table: str | Path | None = None) -> Plan:
    """Return the best plan for another budget from a finished search's run folder, without training.

    ``budget`` limits quantities of ``Totals``. Raises BudgetError if no plan keeps it, UsageError for a folder without
    scores.
    """
    scores = read_scores(Path(run))
    table = _table(scores.plan, cost_table)
    chosen = scores.best(budget, table)
    return _plan(scores, chosen, dict(budget), table)


def front(run: str | Path, *, cost_table: str | Path | None = None, points: int = POINTS) -> list[dict[str, Any]]:
    """Return the accuracy–cost front of a finished search, one dict a plan (``FRONT_COLUMNS``), cheapest first.

    ``predicted_loss`` is the summed score above that of each layer's best scheme, in nats; loss and accuracy on
    validation, before finetuning, are given where the search measured that very plan.
    """
    scores = read_scores(Path(run))
    return front_rows(scores, _table(scores.plan, cost_table), points)


def front_choices(scores: Scores, table: CostTable, points: int) -> list[list[int]]:
    """Return different choices along the front, from the fewest bits to the best scores without float32, by budgets
    of average bits that grow geometrically."""
    costs = quantity_costs(scores.choices.layers, scores.choices.names, table)
    # Every group's fewest bits, and its most without float32.
    open_ = np.where(scores.choices.allowed, costs["avg_bits"], np.nan)
    lowest = float(np.nanmin(open_, 1).sum())
    quantised = open_[:, [k for k, name in enumerate(scores.choices.names) if name != FLOAT32]]
    most = np.fmax.reduce(quantised, 1)
    highest = float(np.where(np.isnan(most), np.nanmax(open_, 1), most).sum())
    found: dict[tuple[int, ...], None] = {}
    for limit in np.geomspace(lowest, max(highest, lowest), points):
        found[tuple(scores.best({"avg_bits": float(limit) * (1 + 1e-12)}, table))] = None
    return [list(chosen) for chosen in found]


def front_rows(scores: Scores, table: CostTable, points: int = POINTS) -> list[dict[str, Any]]:
    """Return ``front`` of scores at hand."""
    costs = quantity_costs(scores.choices.layers, scores.choices.names, table)
    measured = {json.dumps(point["schemes"], sort_keys=True): point for point in scores.front}
    chosen = {tuple(one): None for one in front_choices(scores, table, points)}
    for point in scores.front:
        chosen[tuple(scores.choices.names.index(point["schemes"][layer.name]) for layer in scores.choices.layers)] = (
            None
        )
    rows = []
    for one in chosen:
        schemes = scores.choices.schemes(one)
        known = measured.get(json.dumps(schemes, sort_keys=True), {})
        spent = realised(costs, one, dict.fromkeys(QUANTITIES, 0.0))
        rows.append(
            {key: spent[key] for key in FRONT_COLUMNS[:3]}
            | {"predicted_loss": scores.predicted(one)}
            | {key: known.get(key) for key in FRONT_COLUMNS[4:]}
            | {"schemes": schemes}
        )
    return sorted(rows, key=lambda row: (row["avg_bits"], row["predicted_loss"]))


def front_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return front rows as CSV text: ``FRONT_COLUMNS``, then one column a layer with its scheme."""
    layers = list(rows[0]["schemes"]) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FRONT_COLUMNS, *layers])
    for row in rows:
        numbers = ["" if row[key] is None else f"{row[key]:.6g}" for key in FRONT_COLUMNS]
        writer.writerow([*numbers, *(row["schemes"][layer] for layer in layers)])
    return text.getvalue()


def write_front(path: Path, rows: Sequence[Mapping[str, Any]], *, force: bool = False) -> None:
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
    return read_table(given or plan.cost_table.source or plan.cost_table.name)


def _plan(scores: Scores, chosen: Sequence[int], budget: dict[str, float], table: CostTable) -> Plan:
    old = scores.plan
    if old.search is None:
        raise SnnqError("the scores name no search")
    search = old.search.model_copy(
        update={
            "budget": budget,
            "trade_off": None,
            "fingerprint": None,
            "validation_accuracy": None,
            "validation_loss": None,
        }
    )
    probabilities = {layer.name: layer.probabilities for layer in old.layers if layer.probabilities}
    schemes = scores.choices.schemes(chosen)
    plan = make_plan(
        scores.choices.layers,
        schemes,
        model=old.model,
        data=old.data,
        search=search,
        table=table,
        probabilities=probabilities,
    )
    return plan.with_baselines(old.baselines, table)
