"""A report as tables of text, each at most 80 columns wide; terminal, markdown, csv and the page show these."""

from __future__ import annotations

from snnq.reporting import cost_tables, event_tables, making_tables
from snnq.reporting.records import Report
from snnq.reporting.table import Table


def main_tables(report: Report) -> tuple[Table, ...]:
    """Return what the terminal shows, and the long ones of the same; none without rows."""
    return _filled(
        making_tables.accuracy_table(report),
        cost_tables.totals_table(report),
        cost_tables.plans_table(report),
        making_tables.paired_table(report),
        *cost_tables.part_tables(report),
        *event_tables.both_models_tables(report),
        cost_tables.layers_table(report),
        cost_tables.disk_table(report),
    )


def detail_tables(report: Report) -> tuple[Table, ...]:
    """Return the rest: inputs and probabilities by layer, search, finetuning or blocks, where everything is from."""
    return _filled(
        making_tables.inputs_table("What each layer is", report.layers),
        making_tables.levels_table(report),
        *event_tables.events_tables(report),
        making_tables.probabilities_table(report),
        making_tables.search_table(report),
        cost_tables.front_table(report),
        making_tables.finetuning_table(report),
        making_tables.blocks_table(report),
        making_tables.classes_table(report),
        making_tables.provenance_table(report),
    )


def _filled(*tables: Table) -> tuple[Table, ...]:
    return tuple(one for one in tables if one.rows)
