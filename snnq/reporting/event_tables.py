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
from snnq.reporting.table import Table, table_of


def both_models_tables(report: Report) -> list[Table]:
    """Return both energy models' totals, what attentions compute and, where measured, the event model by part."""
    cells = {
        "model": lambda row: row.model,
        "of what": lambda row: row.counts,
        "float nJ": lambda row: "-" if row.energy_pj_float is None else ENERGY.shown(row.energy_pj_float),
        "nJ": lambda row: "-" if row.energy_pj is None else ENERGY.shown(row.energy_pj),
        "% of float": lambda row: per_cent(row.energy_fraction),
    }
    title = f"Both energy models, per sample; nJ: {report.provenance['cost table']}"
    own = tuple(products.rows(_products(report)))
    found = [
        table_of(title, report.energies, cells, "models"),
        Table(products.TITLE, products.COLUMNS, own, "firing", long=True),
        _dynamics(report),
    ]
    if events := report.event_energy.plan:
        label = event_views.label(events)
        found.append(Table(f"Energy by part; nJ: {label}", *event_views.part_table(events), "firing"))
        found.append(Table(f"Events by layer; nJ: {label}", *event_views.layer_table(events), "firing", long=True))
    return found


def _dynamics(report: Report) -> Table:
    """Return how the neurons fire, packed and float, where that was measured."""
    cells = {
        "neurons": lambda one: one.name,
        "rate %": lambda one: _both(one.firing_rate, one.firing_rate_float, per_cent),
        "distance": lambda one: "-" if one.distance is None else f"{one.distance:.4f}",
        "dead": lambda one: _both(one.dead, one.dead_float, "{:,}".format),
        "saturated": lambda one: _both(one.saturated, one.saturated_float, "{:,}".format),
    }
    title = "Firing of neurons, packed (float); distance: earth mover's, of rates 0 … 1"
    return table_of(title, report.firing, cells, "dynamics")


def _both(packed: float | None, floats: float | None, shown: Callable[[Any], str]) -> str:
    if packed is None:
        return "-"
    return shown(packed) if floats is None else f"{shown(packed)} ({shown(floats)})"


def events_tables(report: Report) -> list[Table]:
    """Return the measured rates at every step, and what neurons and attentions do."""
    events = report.event_energy.plan
    if events is None:
        return []
    label, attentions = event_views.label(events), event_views.attention_table(events, _products(report))
    return [
        Table("Firing rates by step", *event_views.step_table(events), "firing"),
        Table(f"Neurons; nJ: {label}", *event_views.neuron_table(events), "firing"),
        Table(f"Attention, measured; nJ: {label}", *attentions, "firing"),
    ]


def _products(report: Report) -> tuple[Products, ...]:
    keys = [field.name for field in fields(Products)]
    return tuple(Products(**{key: row[key] for key in keys}) for row in report.attention_products)
