"""Tables of the event model: both models' totals, and what layers, neurons and attentions do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from snnq.cost import event_views
from snnq.cost.quantities import ENERGY
from snnq.network import products
from snnq.network.products import Products
from snnq.plan.views import per_cent
from snnq.reporting.records import Report
from snnq.reporting.table import Table


def both_models_tables(report: Report) -> tuple[Table, ...]:
    """Return both energy models' totals, what attentions compute and, where measured, the event model by part."""
    rows = [
        (
            row.model,
            row.counts,
            *("-" if energy is None else ENERGY.shown(energy) for energy in (row.energy_pj_float, row.energy_pj)),
            per_cent(row.energy_fraction),
        )
        for row in report.energies
    ]
    title = f"Both energy models, per sample; nJ: {report.provenance['cost table']}"
    found = [Table(title, ("model", "of what", "float nJ", "nJ", "% of float"), tuple(rows), "models")]
    if own := _products(report):
        found.append(Table(products.TITLE, products.COLUMNS, tuple(products.rows(own)), "firing", long=True))
    found += _dynamics(report)
    events = report.event_energy.plan
    if events:
        title = f"Energy by part; nJ: {event_views.label(events)}"
        found.append(Table(title, event_views.PART_COLUMNS, tuple(event_views.part_rows(events)), "firing"))
        title = f"Events by layer; nJ: {event_views.label(events)}"
        rows = tuple(event_views.layer_rows(events))
        found.append(Table(title, event_views.LAYER_COLUMNS, rows, "firing", long=True))
    return tuple(found)


def _dynamics(report: Report) -> tuple[Table, ...]:
    """Return how the neurons fire, packed and float, where that was measured."""
    rows = [
        (
            one.name,
            _both(one.firing_rate, one.firing_rate_float, per_cent),
            "-" if one.distance is None else f"{one.distance:.4f}",
            _both(one.dead, one.dead_float, lambda count: f"{count:,}"),
            _both(one.saturated, one.saturated_float, lambda count: f"{count:,}"),
        )
        for one in report.firing
    ]
    title = "Firing of neurons, packed (float); distance: earth mover's, of rates 0 … 1"
    columns = ("neurons", "rate %", "distance", "dead", "saturated")
    return (Table(title, columns, tuple(rows), "dynamics"),) if rows else ()


def _both(packed: float | None, floats: float | None, shown: Callable[[Any], str]) -> str:
    if packed is None:
        return "-"
    return shown(packed) if floats is None else f"{shown(packed)} ({shown(floats)})"


def events_tables(report: Report) -> tuple[Table, ...]:
    """Return the measured rates at every step, and what neurons and attentions do."""
    events = report.event_energy.plan
    if events is None:
        return ()
    label, own = event_views.label(events), _products(report)
    found = [
        ("Firing rates by step", event_views.STEP_COLUMNS, event_views.step_rows(events)),
        (f"Neurons; nJ: {label}", event_views.NEURON_COLUMNS, event_views.neuron_rows(events)),
    ]
    if own:
        rows = event_views.attention_rows(events, own)
        found.append((f"Attention, measured; nJ: {label}", event_views.ATTENTION_COLUMNS, rows))
    return tuple(Table(title, columns, tuple(rows), "firing") for title, columns, rows in found)


def _products(report: Report) -> tuple[Products, ...]:
    keys = [field.name for field in fields(Products)]
    return tuple(Products(**{key: row[key] for key in keys}) for row in report.attention_products)
