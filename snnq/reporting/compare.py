"""``snnq report A B …``: plans and packed folders side by side, as plain data. Everything is keyed by a letter."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnq.base.errors import PlanError, UsageError
from snnq.base.parsing import is_calibration
from snnq.base.strict_json import Json
from snnq.base.version import __version__
from snnq.cost.event_records import EventCosts
from snnq.cost.quantities import STORAGE, Amount, Quantity, declared, known
from snnq.cost.table import CostTable, read_table
from snnq.models.registry import attention_table
from snnq.packed.config import MODEL_FILE, PLAN_FILE
from snnq.packed.sizes import file_bits
from snnq.packed.verification import verify
from snnq.packing.record import Results, SplitScores, read_results
from snnq.plan import Plan
from snnq.plan.records import GroupCost, PlanLayer
from snnq.reporting.cost_records import cost_of
from snnq.reporting.costs import event_energies, plan_costs, table_of, with_file_bits
from snnq.reporting.differences import ranked
from snnq.reporting.records import plain

COMPARISON_SCHEMA = 1
PACKED, PLAN = "packed folder", "plan"


@dataclass(frozen=True)
class ComparedPlan:
    """One of the plans compared; accuracies are from 0 to 1, those of a packed folder after finetuning, else None.

    ``costs``: ``avg_bits`` are the plan's, ``file_avg_bits`` those of a packed folder's whole file over the weights.
    ``searched_accuracy`` is what the search measured on validation before finetuning. ``event_energy_pj`` is the event
    model's energy per inference and sample, of what finalize measured, else None.
    """

    path: str
    kind: str
    architecture: str
    data: str | None
    cost_table: str
    weights: int
    costs: Mapping[str, Any]
    searched_accuracy: float | None
    validation: float | None
    test: float | None
    event_energy_pj: float | None
    __getattr__ = cost_of


@dataclass(frozen=True)
class GroupCosts:
    """A group of layers under each letter; None where a candidate has no such layers."""

    name: str
    costs: dict[str, dict[str, Amount | None]]
    __getattr__ = cost_of


@dataclass(frozen=True)
class LayerChoice:
    """A layer's scheme and costs under each letter; None where a candidate does not have the layer.

    ``firing_rate``: the share of its inputs that are not zero, as finalize measured it, else None.
    """

    name: str
    scheme: dict[str, str | None]
    costs: dict[str, dict[str, Amount | None]]
    firing_rate: dict[str, float | None]
    differs: bool
    __getattr__ = cost_of


@dataclass(frozen=True)
class Comparison:
    """Candidates by letter, and their groups and layers side by side."""

    schema_version: int
    tool: str
    verdict: str
    notes: tuple[str, ...]
    candidates: dict[str, ComparedPlan]
    groups: tuple[GroupCosts, ...]
    layers: tuple[LayerChoice, ...]

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The quantities that are known of every candidate."""
        return _common([one.costs for one in self.candidates.values()])

    def to_dict(self) -> Json:
        """Return the comparison as plain data, keys in the order above."""
        return plain(self)


def compare(paths: Sequence[str | Path], *, cost_table: str | None = None) -> Comparison:
    """Return plans (files) and packed folders side by side, each costed with ``cost_table`` or the table it names.

    Packed folders are verified first. Raises UsageError for fewer than two or more than 26, and what reading a plan or
    a packed folder raises.
    """
    if not 2 <= len(paths) <= len(string.ascii_uppercase):
        raise UsageError(
            f"{len(paths)} plans cannot be compared, from 2 to 26 can", "snnq report plan.json other.json packed"
        )
    table = read_table(cost_table) if cost_table else None
    opened = dict(zip(string.ascii_uppercase, (_open(Path(path), table) for path in paths), strict=False))
    plans = {letter: plan for letter, (_, plan, _) in opened.items()}
    events = {letter: _events(plan, results) for letter, (_, plan, results) in opened.items()}
    candidates = {letter: _candidate(*one, events[letter]) for letter, one in opened.items()}
    layers = _layers(plans, events)
    return Comparison(
        schema_version=COMPARISON_SCHEMA,
        tool=f"snnq {__version__}",
        verdict=_verdict(candidates, layers, one_table=_one_table(plans), tests=_tests(opened)),
        notes=_notes(plans, candidates),
        candidates=candidates,
        groups=_groups(plans),
        layers=layers,
    )


def _open(path: Path, table: CostTable | None) -> tuple[Path, Plan, Results | None]:
    if path.is_dir():
        verify(path)
        return path, Plan.read(path / PLAN_FILE, table), read_results(path)
    if not path.exists():
        raise PlanError(f"{path}: there is no such plan or packed folder", "snnq report plan.json packed")
    return path, Plan.read(path, table), None


def _candidate(path: Path, plan: Plan, results: Results | None, events: EventCosts | None) -> ComparedPlan:
    tuned = results.accuracy.plan if results else None
    in_file = file_bits((path / MODEL_FILE).stat().st_size, plan.totals.weights) if results else None
    return ComparedPlan(
        path=str(path),
        kind=PACKED if results else PLAN,
        architecture=plan.model.architecture,
        data=plan.data.spec if plan.data else None,
        cost_table=plan.cost_table.name,
        weights=plan.totals.weights,
        costs=with_file_bits(plan_costs(plan), in_file),
        searched_accuracy=plan.search.validation_accuracy if plan.search else None,
        validation=tuned.validation if tuned else None,
        test=tuned.test if tuned else None,
        event_energy_pj=events.total.energy_pj if events else None,
    )


def _events(plan: Plan, results: Results | None) -> EventCosts | None:
    """Return the event model of what finalize measured."""
    if results is None:
        return None
    products = attention_table(plan.model.architecture, plan.model.config)
    return event_energies(plan, products, results.activity, table_of(plan)).plan


def _layers(plans: dict[str, Plan], events: dict[str, EventCosts | None]) -> tuple[LayerChoice, ...]:
    rates = {
        letter: {one.name: one.firing_rate for one in seen.layers} if seen else {} for letter, seen in events.items()
    }
    found = {letter: {layer.name: layer for layer in plan.layers} for letter, plan in plans.items()}
    rows, quantities = [], _common([plan.totals for plan in plans.values()])
    for name in dict.fromkeys(layer.name for plan in plans.values() for layer in plan.layers):
        ours = {letter: layers.get(name) for letter, layers in found.items()}
        scheme = {letter: layer and layer.scheme for letter, layer in ours.items()}
        costs = _by_letter([one.key for one in quantities], ours)
        differs = len({layer and (layer.scheme, layer.shape) for layer in ours.values()}) > 1
        rows.append(LayerChoice(name, scheme, costs, {letter: rates[letter].get(name) for letter in ours}, differs))
    return tuple(rows)


def _groups(plans: dict[str, Plan]) -> tuple[GroupCosts, ...]:
    names = dict.fromkeys(name for plan in plans.values() for name in plan.groups)
    quantities = _common([plan.totals for plan in plans.values()])
    keys = [key for one in quantities for key in (*one.means, one.key)]
    ours = {name: {letter: plan.groups.get(name) for letter, plan in plans.items()} for name in names}
    return tuple(GroupCosts(name, _by_letter(keys, groups)) for name, groups in ours.items())


def _by_letter(
    keys: Sequence[str], ours: Mapping[str, PlanLayer | GroupCost | None]
) -> dict[str, dict[str, Amount | None]]:
    """Return the costs of a layer or group by key and letter; None where a candidate does not have it."""
    return {key: {letter: one and getattr(one, key) for letter, one in ours.items()} for key in keys}


def _one_table(plans: dict[str, Plan]) -> bool:
    return len({plan.cost_table.sha256 for plan in plans.values()}) == 1


def _one_data(plans: dict[str, Plan], candidates: dict[str, ComparedPlan]) -> bool:
    tested = [plans[letter].data for letter, one in candidates.items() if one.test is not None]
    return len({data and data.sha256 for data in tested}) <= 1


def _tests(opened: dict[str, tuple[Path, Plan, Results | None]]) -> dict[str, tuple[SplitScores, int]]:
    """Return the scores of the packed folders and their number of test samples, where all are on the same data."""
    packed = {letter: (plan.data, results.accuracy) for letter, (_, plan, results) in opened.items() if results}
    if len({(data and data.sha256, one.test_samples) for data, one in packed.values()}) != 1:
        return {}
    return {letter: (one.plan, one.test_samples) for letter, (_, one) in packed.items()}


def _verdict(
    candidates: dict[str, ComparedPlan],
    layers: Sequence[LayerChoice],
    *,
    one_table: bool,
    tests: dict[str, tuple[SplitScores, int]],
) -> str:
    """Return one line: how many layers differ, and which is best in what, of what can be compared."""
    said = [f"{sum(layer.differs for layer in layers)} of {len(layers)} layers differ"]
    common = _common([one.costs for one in candidates.values()])
    priced = [one for one in common if one_table or not one.model]
    for one in priced:
        values = {letter: row.costs[one.key] for letter, row in candidates.items()}
        said.append(f"{_letters(values)} {'smallest' if one is STORAGE else f'lowest in {one.name}'}")
    if len(tests) > 1:
        said.append(ranked(tests))
    return "; ".join(said) + "."


def _common(costs: Sequence[object]) -> tuple[Quantity, ...]:
    """Return the quantities that all these records or mappings of costs know."""
    return tuple(one for one in declared() if all(one in known(each) for each in costs))


def _letters(values: Mapping[str, Amount]) -> str:
    """Return which letters have the least amount."""
    top = min(values.values())
    found = [letter for letter, value in values.items() if math.isclose(value, top, rel_tol=1e-12)]
    return f"{' and '.join(found)} {'are' if len(found) > 1 else 'is'}"


def _notes(plans: dict[str, Plan], candidates: dict[str, ComparedPlan]) -> tuple[str, ...]:
    first, notes = next(iter(plans.values())), []
    tables = {plan.cost_table.name for plan in plans.values()}
    if not _one_table(plans):
        notes.append(
            f"The energies are from different cost tables ({', '.join(sorted(tables))}) and cannot be compared; "
            f"--cost-table {first.cost_table.name} costs all of them alike."
        )
    else:
        notes.append(
            f"Energy: the paper's model, per time step and sample, cost table {first.cost_table.name}; fractions are "
            "of the same model in float32."
        )
    if len({plan.model.architecture for plan in plans.values()}) > 1:
        notes.append("The plans are for different architectures.")
    blind = [letter for letter, one in candidates.items() if one.test is not None and is_calibration(one.data)]
    if blind:
        notes.append(
            f"Of {' and '.join(blind)}, validation and test are agreement with the float model on synthetic data, no "
            "accuracies."
        )
    if not _one_data(plans, candidates):
        notes.append("The accuracies are on different data and cannot be compared.")
    return tuple(notes)
