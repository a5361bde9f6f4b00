"""A plan's costs beside the same model in float32 and in one scheme everywhere: in total, by part and by layer.

And the event model beside the paper's: what was measured on a packed folder, priced.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from snnq.assessing.exit_records import Exits
from snnq.base.progress import Progress
from snnq.cost import event_views
from snnq.cost.activity import NeuronActivity, rate_distance
from snnq.cost.event_records import EventCosts
from snnq.cost.events import event_energy, planned_events
from snnq.cost.quantities import ENERGY, EVENT_ENERGY, STORAGE, Amount, Costs, known, share_of
from snnq.cost.table import CostTable, read_table
from snnq.hardware.records import Accelerated
from snnq.network.layers import GROUPS
from snnq.network.products import Products
from snnq.packed.sizes import file_bits
from snnq.packing.record import Measurements
from snnq.plan import Plan
from snnq.plan.costing import amount_of, event_limit, part_costs, weights_of
from snnq.plan.measured import edited_layers
from snnq.plan.records import Baseline, PlanLayer, SearchInfo
from snnq.reporting.cost_records import EventEnergy, FiringRow, LayerRow, ModelRow, PartCosts, PlanRow, PlanTotals
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme

if TYPE_CHECKING:
    from snnq.training.devices import Compute

THIS_PLAN = "this plan"
Bits = TypeVar("Bits", float, float | None)


def table_of(plan: Plan) -> CostTable:
    """Return the cost table that the plan is costed with; raises CostTableError."""
    return read_table(Path(plan.cost_table.source) if plan.cost_table.source else plan.cost_table.name)


def everywhere(plan: Plan, scheme: str) -> Plan:
    """Return the plan with ``scheme`` in every layer, costed with the plan's own table."""
    return plan.with_schemes(dict.fromkeys(plan.schemes(), scheme))


def plan_costs(plan: Plan) -> dict[str, Amount]:
    """Return what a plan costs in total by the keys of every quantity."""
    return {key: getattr(plan.totals, key) for one in plan.quantities for key in one.keys}


def with_file_bits(costs: Costs, bits: Bits) -> dict[str, Amount | Bits]:
    """Return costs with the bits per weight of the packed file, None without one, behind those of the plan."""
    return {STORAGE.relative: costs[STORAGE.relative], "file_avg_bits": bits, **costs}


def totals(plan: Plan, floats: Plan, file_bytes: int) -> PlanTotals:
    """Return the plan's totals beside ``floats``, the same model in float32, and the bits of its packed file."""
    own, costs = plan.totals, {}
    for one in plan.quantities:
        costs |= {key: getattr(own, key) for key in (*one.means, one.key)}
        costs |= {f"{one.key}_float": getattr(floats.totals, one.key), one.fraction: getattr(own, one.fraction)}
        costs |= {"compression": own.compression} if one is STORAGE else {}
    return PlanTotals(own.weights, with_file_bits(costs, file_bits(file_bytes, own.weights)))


def plan_rows(plan: Plan) -> tuple[PlanRow, ...]:
    """Return the plan and its baselines; accuracies and losses are those the search measured, before finetuning."""
    rows: list[tuple[str, Plan, SearchInfo | Baseline | None]] = [(THIS_PLAN, plan, plan.search)]
    rows += [
        (b.scheme, everywhere(plan, b.scheme) if b.schemes is None else plan.with_schemes(b.schemes), b)
        for b in plan.baselines
    ]
    return tuple(
        PlanRow(
            plan=name,
            costs=plan_costs(one),
            validation_accuracy=found.validation_accuracy if found else None,
            validation_loss=found.validation_loss if found else None,
        )
        for name, one, found in rows
    )


def group_parts(plan: Plan, floats: Plan) -> tuple[PartCosts, ...]:
    """Return every group of layers; shares are of the whole model."""
    return _parts({layer.name: layer.group for layer in plan.layers}, GROUPS, plan, floats)


def attention_parts(plan: Plan, floats: Plan) -> tuple[PartCosts, ...]:
    """Return the kinds of attention linear (q, k, v, proj), each over all blocks; shares are of all attention."""
    kinds = {layer.name: layer.name.rpartition(".")[2] for layer in plan.layers if layer.group == "attention"}
    return _parts(kinds, tuple(dict.fromkeys(kinds.values())), plan, floats)


def _parts(part_of: dict[str, str], order: Sequence[str], plan: Plan, floats: Plan) -> tuple[PartCosts, ...]:
    """Return the sums over the layers of every part; a layer that is in no part is left out of the shares too."""
    ours = [layer for layer in plan.layers if layer.name in part_of]
    theirs = [layer for layer in floats.layers if layer.name in part_of]
    rows = []
    for name in order:
        mine = [layer for layer in ours if part_of[layer.name] == name]
        mine_float = [layer for layer in theirs if part_of[layer.name] == name]
        if mine:
            costs = _beside(part_costs(mine, ours), part_costs(mine_float, theirs))
            rows.append(PartCosts(name, len(mine), weights_of(mine), costs))
    return tuple(rows)


def _beside(own: Costs, floats: Costs) -> dict[str, Amount]:
    """Return a part's costs with those in float32 behind each; the mean over its weights has none."""
    costs: dict[str, Amount] = {}
    for one in known(own):
        costs |= {key: own[key] for key in one.means}
        for key in (one.key, one.share):
            costs |= {key: own[key], f"{key}_float": floats[key]}
    return costs


def layer_rows(plan: Plan, floats: Plan) -> tuple[LayerRow, ...]:
    """Return every layer beside ``floats``, all in float32; ``edited``: its scheme is not what the search chose."""
    edited = edited_layers(plan.layers)
    return tuple(
        LayerRow(
            name=layer.name,
            group=layer.group,
            kind=layer.kind,
            shape=layer.shape,
            input=layer.input,
            weights=math.prod(layer.shape),
            scheme=layer.scheme,
            bits=scheme(layer.scheme).bits,
            costs=_layer_costs(plan, layer, before),
            probabilities=layer.probabilities,
            edited=layer.name in edited,
        )
        for layer, before in zip(plan.layers, floats.layers, strict=True)
    )


def _layer_costs(plan: Plan, layer: PlanLayer, before: PlanLayer) -> dict[str, Amount]:
    """Return a layer's amounts, those in float32 unless its weights tell them, and its shares of the plan."""
    costs: dict[str, Amount] = {}
    for one in plan.quantities:
        amount = getattr(layer, one.key)
        floats = {} if one.per_weight else {f"{one.key}_float": getattr(before, one.key)}
        costs |= {one.key: amount} | floats | {one.share: share_of(amount, amount_of(one, plan.layers))}
    return costs


PAPER, EVENT = "paper's", "event"


def measure_now(
    folder: Path, samples: int, data: str | None, compute: Compute | str, progress: Progress
) -> Measurements:
    """Return what ``samples`` validation samples make a packed folder's model do, and its float checkpoint's."""
    from snnq.assessing.measure import measure_folder

    own, floats = measure_folder(folder, samples, data, compute, progress)
    return Measurements.model_construct(plan=own, float_model=floats)


def simulate_now(
    folder: Path,
    machines: str | Path | Sequence[str | Path],
    data: str | None,
    compute: Compute | str,
    progress: Progress,
) -> Accelerated:
    """Return what a packed folder's model takes on machines, on a few validation samples that are run now."""
    from snnq.assessing.accel import accel

    return accel(folder, target=machines, data=data, compute=compute, progress=progress)


def exits_now(
    folder: Path,
    entropy: float | str,
    loss: float,
    cost_table: str | None,
    weight_reuse: str | None,
    data: str | None,
    compute: Compute | str,
    progress: Progress,
) -> Exits | None:
    """Return what dynamic time steps do on a packed folder's test split: on the integer engine where it runs there."""
    from snnq.assessing.eval import eval as evaluate
    from snnq.packed.config import read_config
    from snnq.packed.wired import wiring_of

    engine = "integer" if "integer" in wiring_of(read_config(folder)).engines else "torch"
    words = {"exit_entropy": entropy, "exit_loss": loss, "cost_table": cost_table, "weight_reuse": weight_reuse}
    return evaluate(folder, data=data, engine=engine, compute=compute, progress=progress, **words).exits


def event_energies(
    plan: Plan,
    products: Sequence[Products],
    measured: Measurements | None,
    table: CostTable,
    reuse: str | None = None,
    budget: Mapping[str, float] | None = None,
) -> EventEnergy:
    """Return the event model of what was measured, beside what was expected of a plan that was priced by events.

    Where nothing was measured, a sentence says so. ``reuse`` is the table's unless given; ``budget`` is what finetuning
    kept, where that was asked for anything beside the search.

    Raises PlanError for a measurement that misses a layer and UsageError for an unknown ``reuse``.
    """
    if measured is None:
        sentence = (
            "The event model's energy is not measured yet: snnq report --measure 64 measures it on the plan's data."
        )
        return EventEnergy(sentence, None, None, None, None)
    layers, schemes = plan.layer_table(), plan.schemes()
    expected = planned_events(layers, schemes, table.on(plan.activity), reuse)
    own = event_energy(layers, schemes, measured.plan, products, table, reuse)
    floats = None
    if measured.float_model:
        floats = event_energy(layers, dict.fromkeys(schemes, FLOAT32), measured.float_model, products, table, reuse)
    if expected is None:
        return EventEnergy(event_views.sentence(own), own, floats, None, None)
    apart = share_of(own.total.energy_pj, expected.total.energy_pj) - 1
    said = f"{event_views.sentence(own)} {_expected_words(plan, own, expected, apart, budget)}"
    return EventEnergy(said, own, floats, expected.total.energy_pj, apart)


def _expected_words(
    plan: Plan, own: EventCosts, expected: EventCosts, apart: float, budget: Mapping[str, float] | None
) -> str:
    """Return in a sentence or two how far the packed model's energy is from what its plan was priced at."""
    floats, table = plan.activity, expected.cost_table
    assert floats is not None
    said = (
        f"Before training {ENERGY.short(expected.total.energy_pj)} were expected, by the float model's activity on "
        f"{floats.activity.samples} {floats.activity.split} samples; measured are {ENERGY.short(own.total.energy_pj)}, "
        f"{100 * apart:+.2f} %."
    )
    limit = event_limit(plan.totals, {**(plan.totals.asked.budget or {}), **(budget or {})})
    if limit is None or (table, own.weight_reuse) != (plan.cost_table.name, table_of(plan).events.weight_reuse):
        return said
    over = share_of(own.total.energy_pj, limit) - 1
    kept = "kept" if over <= 0 else "exceeded"
    return f"{said} The budget of {ENERGY.short(limit)} is {kept} by what is measured, {100 * over:+.2f} % of it."


def firing_rows(measured: Measurements | None) -> tuple[FiringRow, ...]:
    """Return how the packed model's neurons fire beside the float model's of the same path."""
    if measured is None:
        return ()
    floats = {one.name: one for one in measured.float_model.neurons} if measured.float_model else {}
    return tuple(_firing(one, floats.get(one.name)) for one in measured.plan.neurons)


def _firing(own: NeuronActivity, before: NeuronActivity | None) -> FiringRow:
    rate, dead, saturated = (before.rate, before.dead, before.saturated) if before else (None, None, None)
    distance = rate_distance(own, before) if before else None
    return FiringRow(own.name, own.neurons, own.rate, rate, distance, own.dead, dead, own.saturated, saturated)


def dynamics(rows: Sequence[FiringRow]) -> str:
    """Return in a sentence or two how far the packed model fires from the float one."""
    if not rows:
        return "How the neurons fire is not measured yet: snnq report --measure 64 measures it on the plan's data."
    known = [row for row in rows if row.distance is not None]
    if not known:
        return "How far the neurons fire from the float model's is not measured: snnq report --measure 64 measures it."
    furthest = max(known, key=lambda row: row.distance or 0.0)
    mean = sum((row.distance or 0.0) * row.neurons for row in known) / sum(row.neurons for row in known)
    said = [
        f"{sum(getattr(row, key) or 0 for row in known):,} {what} "
        f"(float: {sum(getattr(row, f'{key}_float') or 0 for row in known):,})"
        for key, what in (("dead", "never fire"), ("saturated", "fire at every step"))
    ]
    return (
        f"Firing rates of {len(known)} groups of neurons are {mean:.4f} from the float model's on average, "
        f"{furthest.distance:.4f} at most ({furthest.name}): earth mover's distance over the neurons, of rates from 0 "
        f"to 1. Of {sum(row.neurons for row in known):,} neurons {said[0]} and {said[1]} on the measured samples."
    )


def model_rows(totals: PlanTotals, events: EventEnergy) -> tuple[ModelRow, ...]:
    """Return the totals of both models, each labelled with what it counts: they are of different things."""
    costs = (totals.costs[key] for key in (ENERGY.key, f"{ENERGY.key}_float", ENERGY.fraction))
    paper = ModelRow(PAPER, "one time step, dense", *costs)
    own, floats = _total(events.plan), _total(events.float_model)
    fraction = None if own is None or floats is None else share_of(own, floats)
    counts = f"one inference, {'measured' if events.plan else 'not measured'}"
    rows = (paper, ModelRow(EVENT, counts, own, floats, fraction))
    if events.expected_pj is None:
        return rows
    keys = (EVENT_ENERGY.key, f"{EVENT_ENERGY.key}_float", EVENT_ENERGY.fraction)
    return (*rows, ModelRow(EVENT, "one inference, expected", *(totals.costs.get(key) for key in keys)))


def _total(events: EventCosts | None) -> float | None:
    return None if events is None else events.total.energy_pj
