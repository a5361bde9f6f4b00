"""The event model beside the paper's: what was measured on a packed folder, priced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snnq.base.progress import Progress
from snnq.cost import event_views
from snnq.cost.activity import NeuronActivity, rate_distance
from snnq.cost.event_records import Events
from snnq.cost.events import event_energy
from snnq.cost.quantities import ENERGY, share_of
from snnq.cost.table import CostTable
from snnq.network.products import Products
from snnq.packing.record import Measurements
from snnq.plan import Plan
from snnq.reporting.records import EventEnergy, FiringRow, ModelRow, Totals
from snnq.schemes.names import FLOAT32

if TYPE_CHECKING:
    from snnq.training.devices import Compute

PAPER, EVENT = "paper's", "event"


def measure_now(
    folder: Path, samples: int, data: str | None, compute: Compute | str, progress: Progress
) -> Measurements:
    """Return what ``samples`` validation samples make a packed folder's model do, and its float checkpoint's."""
    from snnq.assessing.measure import measure_folder

    own, floats = measure_folder(folder, samples, data, compute, progress)
    return Measurements.model_construct(plan=own, float_model=floats)


def event_energies(
    plan: Plan,
    products: Sequence[Products],
    measured: Measurements | None,
    table: CostTable,
    reuse: str,
) -> EventEnergy:
    """Return the event model of what was measured; where nothing was, a sentence that says so.

    Raises PlanError for a measurement that misses a layer and UsageError for an unknown ``reuse``.
    """
    if measured is None:
        sentence = (
            "The event model's energy is not measured yet: snnq report --measure 64 measures it on the plan's data."
        )
        return EventEnergy(sentence, None, None)
    layers, schemes = plan.layer_table(), plan.schemes()
    own = event_energy(layers, schemes, measured.plan, products, table, reuse)
    floats = None
    if measured.float_model:
        floats = event_energy(layers, dict.fromkeys(schemes, FLOAT32), measured.float_model, products, table, reuse)
    return EventEnergy(event_views.sentence(own), own, floats)


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


def model_rows(totals: Totals, events: EventEnergy) -> tuple[ModelRow, ...]:
    """Return the totals of both models, each labelled with what it counts: they are of different things."""
    costs = (totals.costs[key] for key in (ENERGY.key, f"{ENERGY.key}_float", ENERGY.fraction))
    paper = ModelRow(PAPER, "one time step, dense", *costs)
    own, floats = _total(events.plan), _total(events.float_model)
    fraction = None if own is None or floats is None else share_of(own, floats)
    counts = f"one inference, {'measured' if events.plan else 'not measured'}"
    return (paper, ModelRow(EVENT, counts, own, floats, fraction))


def _total(events: Events | None) -> float | None:
    return None if events is None else events.total.energy_pj
