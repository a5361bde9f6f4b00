"""The event model beside the paper's: what was measured on a packed folder, priced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snnq.cost import event_views
from snnq.cost.event_records import Events
from snnq.cost.events import event_energy
from snnq.cost.table import CostTable
from snnq.plan import Plan
from snnq.plan.costing import share_of
from snnq.products import Products
from snnq.progress import Progress
from snnq.reporting.records import EventEnergy, ModelRow, Totals
from snnq.reporting.results import Measurements
from snnq.schemes.names import FLOAT32

if TYPE_CHECKING:
    from snnq.training.devices import Compute

PAPER, EVENT = "paper's", "event"


def measure_now(
    folder: Path, samples: int, data: str | None, compute: Compute | str, progress: Progress
) -> Measurements:
    """Return what ``samples`` validation samples make a packed folder's model do, and its float checkpoint's."""
    from snnq.measuring.run import measure_folder

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


def model_rows(totals: Totals, events: EventEnergy) -> tuple[ModelRow, ...]:
    """Return the totals of both models, each labelled with what it counts: they are of different things."""
    paper = ModelRow(
        PAPER,
        "one time step, dense",
        totals.energy_pj,
        totals.energy_pj_float,
        totals.energy_fraction,
    )
    own, floats = _total(events.plan), _total(events.float_model)
    fraction = None if own is None or floats is None else share_of(own, floats)
    counts = f"one inference, {'measured' if events.plan else 'not measured'}"
    return (paper, ModelRow(EVENT, counts, own, floats, fraction))


def _total(events: Events | None) -> float | None:
    return None if events is None else events.total.energy_pj
