"""Tables of what a plan costs, of the file on disk, and of the event model.

The main quantities stand side by side in the columns, every other one in a table of its own (``side_by_side``).
Columns of amounts are named by a quantity's first unit: KiB, and nJ per time step and sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields

from snnq.cost import event_views
from snnq.cost.quantities import ENERGY, Costs, Quantity, known, side_by_side
from snnq.network import products
from snnq.network.products import Products
from snnq.plan.measured import NOT_MEASURED
from snnq.plan.views import per_cent
from snnq.reporting.cost_records import LayerRow, PartCosts, PlanTotals
from snnq.reporting.records import Report
from snnq.reporting.table import Table, loss_text, table_of


def remark(quantities: Iterable[Quantity], cost_table: str = "", by: str = "column") -> str:
    """Return the end of a title: what the amounts of each quantity are that are not simply counted."""
    said = {getattr(one, by): ", ".join(filter(None, (one.counted, cost_table))) for one in quantities if one.counted}
    return "".join(f"; {name}: {words}" for name, words in said.items())


def totals_table(report: Report) -> Table:
    """Return the plan's costs beside float32's."""
    own = report.totals
    label = remark(known(own.costs), report.provenance["cost table"], "name")
    rows = (
        ("weights", f"{own.weights:,}", f"{own.weights:,}", ""),
        ("bits per weight, plan", "32.000", f"{own.avg_bits:.3f}", ""),
        ("bits per weight, file", "", f"{own.file_avg_bits:.3f}", ""),
        *(_total(one, own) for one in known(own.costs)),
        ("times smaller", "1.00", f"{own.compression:.2f}", ""),
    )
    return Table(f"Totals{label}", ("total", "float32", "this plan", "% of float32"), rows, "headline")


def _total(one: Quantity, own: PlanTotals) -> tuple[str, ...]:
    amounts = (own.costs[f"{one.key}_float"], own.costs[one.key])
    return (f"{one.name} {one.column}", *map(one.shown, amounts), per_cent(own.costs[one.fraction]))


def plans_tables(report: Report) -> list[Table]:
    """Return the plan beside simple ones: means or else amounts, % of float32, and what validation gave."""
    return [_plans(report, shelf) for shelf in side_by_side(known(report.totals.costs))]


def _plans(report: Report, shelf: Sequence[Quantity]) -> Table:
    unscored = report.plan_weights is None
    columns, rows = cost_rows({row.plan: row.costs for row in report.plans}, shelf, amounts=False)
    for row, one in zip(rows, report.plans, strict=True):
        known = one.validation_accuracy is not None or unscored
        row += [per_cent(one.validation_accuracy) if known else NOT_MEASURED, loss_text(one.validation_loss)]
    weights = f" ({report.plan_weights})" if report.plan_weights else ""
    label = remark(shelf, report.provenance["cost table"])
    title = f"Beside simple plans: val. % and loss before finetuning{weights}{label}"
    return Table(title, ("plan", *columns, "val. %", "loss"), tuple(map(tuple, rows)), "headline")


def cost_rows(
    plans: Mapping[str, Costs], shelf: Sequence[Quantity], *, amounts: bool
) -> tuple[list[str], list[list[str]]]:
    """Return columns and one row a plan: its name, means, amounts (of all, or where there is no mean), fractions."""
    columns: list[str] = []
    rows = [[name] for name in plans]
    for one in shelf:
        keys = [one.key] if amounts or not one.means else []
        columns += [*(one.unit for _ in one.means), *(one.column for _ in keys), f"{one.column} %"]
        for row, costs in zip(rows, plans.values(), strict=True):
            row += [f"{costs[key]:.3f}" for key in one.means]
            row += [*(one.shown(costs[key]) for key in keys), per_cent(costs[one.fraction])]
    return columns, rows


def front_tables(report: Report) -> list[Table]:
    """Return the search's accuracy–cost front; it has no rows where there was no search."""
    return [_front(report, shelf) for shelf in side_by_side(known(report.totals.costs))]


def _front(report: Report, shelf: Sequence[Quantity]) -> Table:
    columns = [name for one in shelf for name in (*(one.unit for _ in one.means), f"{one.column} %")]
    rows = [
        (
            *(_ratio(key, one, point.costs[key]) for one in shelf for key in one.ratios),
            loss_text(point.predicted_loss),
            loss_text(point.validation_loss),
            per_cent(point.validation_accuracy),
        )
        for point in report.front
    ]
    title = "Accuracy-cost front of the search, before finetuning"
    return Table(title, (*columns, "predicted loss", "val. loss", "val. %"), tuple(rows), "front")


def _ratio(key: str, one: Quantity, value: float | None) -> str:
    """Return a mean or a fraction; what was not declared when the search ran is not known of its front."""
    return f"{value:.3f}" if key in one.means and value is not None else per_cent(value)


def part_tables(report: Report) -> list[Table]:
    """Return every quantity by group and by attention linear, beside float32's."""
    kinds = (("group", "group", report.groups), ("attention linear", "linear", report.attention))
    return [
        _parts(one, what, column, parts, report)
        for what, column, parts in kinds
        for one in (known(parts[0].costs) if parts else ())
    ]


def _parts(one: Quantity, what: str, column: str, parts: Sequence[PartCosts], report: Report) -> Table:
    columns = [column, *(["weights", one.unit] if one.means else [])]
    rows = []
    for part in parts:
        row = [part.name]
        for key in one.means:
            row += [f"{part.weights:,}", f"{part.costs[key]:.3f}"]
        for end in ("", "_float"):
            row += [one.shown(part.costs[f"{one.key}{end}"]), per_cent(part.costs[f"{one.share}{end}"])]
        rows.append(tuple(row))
    label = f"; {one.counted}, {report.provenance['cost table']}" if one.counted else ""
    columns += [one.column, "share %", f"float {one.column}", "float %"]
    title = f"{one.name.capitalize()} by {what}{label}"
    return Table(title, tuple(columns), tuple(rows), "costs", long=column == "linear")


def layers_tables(report: Report) -> list[Table]:
    """Return every layer's scheme, amounts and shares of the plan."""
    return [_layers(report, shelf) for shelf in side_by_side(known(report.totals.costs))]


def _layers(report: Report, shelf: Sequence[Quantity]) -> Table:
    rows = [(row.name, row.scheme, *layer_cells(row, shelf)) for row in report.layers]
    title = f"Layers{remark(shelf, report.provenance['cost table'])}"
    return Table(title, ("layer", "scheme", *layer_columns(shelf)), tuple(rows), "layers", long=True)


def layer_columns(shelf: Sequence[Quantity]) -> list[str]:
    """Return the columns of ``layer_cells``."""
    return [name for one in shelf for name in (one.column, f"{one.column} %")]


def layer_cells(row: LayerRow | PartCosts, shelf: Sequence[Quantity]) -> list[str]:
    """Return the amount and the share of every quantity of a shelf."""
    return [cell for q in shelf for cell in (q.shown(row.costs[q.key]), per_cent(row.costs[q.share]))]


def disk_table(report: Report) -> Table:
    """Return where the bits of the weights file go."""
    disk = report.disk
    rows = [("weights, as the plan claims", disk.plan_bits), ("weights, in the file", disk.weights_bits)]
    rows += [(part.kind, part.bits) for part in disk.overhead]
    known, whole = disk.weights_bits + disk.overhead_bits, disk.file_bytes * 8
    rows += [("weights and overhead together", known), ("the file", whole)]
    shown = [(name, f"{round(bits, 2):,}", f"{bits / 8:,.1f}", per_cent(bits / whole)) for name, bits in rows]
    shown.append(("file over weights and overhead", f"{disk.ratio:.4f}", "", ""))
    shown.append(("bits per weight, plan", f"{report.totals.avg_bits:.4f}", "", ""))
    shown.append(("bits per weight, file", f"{report.totals.file_avg_bits:.4f}", "", ""))
    columns = ("what", "bits", "bytes", "% of file")
    return Table(f"Size of {disk.file} on disk", columns, tuple(shown), "disk", long=True)


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


def _both(packed: float | None, floats: float | None, shown: Callable[[float], str]) -> str:
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
