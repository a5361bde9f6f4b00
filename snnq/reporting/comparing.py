"""A comparison as a document: tables that fit a terminal, and figures for the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from snnq.cost.quantities import ENERGY, Quantity, side_by_side
from snnq.plan.measured import NOT_MEASURED
from snnq.plan.views import per_cent
from snnq.reporting.compare import ComparedPlan, Comparison
from snnq.reporting.cost_tables import cost_rows, remark
from snnq.reporting.figures.bars import amounts, scheme_matrix
from snnq.reporting.figures.palette import letters, short_name
from snnq.reporting.figures.strip import legend
from snnq.reporting.formats import Document, Figure
from snnq.reporting.table import DIFFERS, YES, Table

Value = TypeVar("Value")


def comparison_document(found: Comparison) -> Document:
    """Return the comparison's tables and figures; columns are letters, the first table says what they stand for."""
    rows = [(layer.name, list(layer.scheme.values()), layer.differs) for layer in found.layers]
    figures = (
        *(_bars(found, one) for one in found.quantities),
        Figure("Formats of each layer", scheme_matrix("Formats of each layer", list(found.candidates), rows)),
        Figure("Formats; power-of-two is hatched, more bits are lighter", legend(_schemes(found))),
    )
    shelves = side_by_side(found.quantities)
    costs = (_costs(found, shelf) for shelf in shelves)
    tables = (_places(found), *costs, *_events(found), _groups(found), _layers(found), *_firing(found))
    return Document("Plans side by side", found.verdict, found.notes, tables, figures, found.to_dict(), lead=1)


def _schemes(found: Comparison) -> list[str]:
    return sorted({one for layer in found.layers for one in layer.scheme.values() if one})


def difference_document(found: Comparison) -> Document:
    """Return what two plans disagree about: totals with their change, and the layers whose scheme differs."""
    kept = replace(found, layers=tuple(layer for layer in found.layers if layer.differs))
    whole = comparison_document(kept)
    layers = (_changed_layers(kept, shelf) for shelf in side_by_side(kept.quantities))
    tables = (_places(kept), _changes(kept), *layers)
    return replace(whole, title="What two plans disagree about", tables=tables)


def _changes(found: Comparison) -> Table:
    a, b = found.candidates.values()
    rows = [
        _change("weights", a.weights, b.weights, lambda value: f"{value:,}"),
        _change("bits per weight, plan", a.avg_bits, b.avg_bits, lambda value: f"{value:.3f}"),
        *_file_bits(a, b),
        *(_change(f"{q.name} {q.column}", a.costs[q.key], b.costs[q.key], q.shown) for q in found.quantities),
    ]
    if a.event_energy_pj is not None and b.event_energy_pj is not None:
        rows.append(_change("energy by events nJ", a.event_energy_pj, b.event_energy_pj, ENERGY.shown))
    scores = (
        ("searched accuracy %", a.searched_accuracy, b.searched_accuracy),
        ("validation %", a.validation, b.validation),
        ("test %", a.test, b.test),
    )
    rows += [_points(*one) for one in scores if one[1] is not None or one[2] is not None]
    return Table("Totals", ("total", "A", "B", "change", DIFFERS), tuple(rows))


def _change(name: str, ours: float, theirs: float, shown: Callable[[float], str]) -> tuple[str, ...]:
    change = f"{100 * (theirs / ours - 1):+.2f} %" if ours else "-"
    return (name, shown(ours), shown(theirs), change, _mark_two(ours, theirs))


def _points(name: str, ours: float | None, theirs: float | None) -> tuple[str, ...]:
    """Return two accuracies and the change in points; one that is missing was not measured."""
    shown = [NOT_MEASURED if one is None else per_cent(one) for one in (ours, theirs)]
    if ours is None or theirs is None:
        return (name, *shown, "-", "")
    return (name, *shown, f"{100 * (theirs - ours):+.2f} points", _mark_two(ours, theirs))


def _file_bits(a: ComparedPlan, b: ComparedPlan) -> list[tuple[str, ...]]:
    """Return the bits per weight of both files; plans that are not packed have none."""
    ours, theirs = a.file_avg_bits, b.file_avg_bits
    if ours is not None and theirs is not None:
        return [_change("bits per weight, file", ours, theirs, lambda value: f"{value:.3f}")]
    shown = ["-" if one is None else f"{one:.3f}" for one in (ours, theirs)]
    return [("bits per weight, file", *shown, "-", "")] if shown != ["-", "-"] else []


def _mark_two(ours: float, theirs: float) -> str:
    return YES if ours != theirs else ""


def _changed_layers(found: Comparison, shelf: Sequence[Quantity]) -> Table:
    rows = []
    for layer in found.layers:
        a, b = layer.scheme.values()
        rows.append((layer.name, a or "-", b or "-", *(_more(one, layer.costs[one.key]) for one in shelf)))
    columns = ("layer", "A", "B", *(f"{one.column} more" for one in shelf))
    return Table("Layers that differ", columns, tuple(rows))


def _more(quantity: Quantity, values: Mapping[str, float | None]) -> str:
    """Return by how much the second amount is above the first; a dash where a plan does not have the layer."""
    before, after = values.values()
    return "-" if before is None or after is None else quantity.shown(after - before, sign="+")


def _bars(found: Comparison, one: Quantity) -> Figure:
    largest = max(plan.costs[one.key] for plan in found.candidates.values())
    rows = {
        f"{letter}: {one.short(plan.costs[one.key], largest)}": [
            float(group.costs[one.key][letter] or 0) for group in found.groups
        ]
        for letter, plan in found.candidates.items()
    }
    title = f"{one.name.capitalize()} by group"
    caption = f"{title}, to one scale" + (f": {one.counted}" if one.counted else "")
    return Figure(caption, amounts(title, [group.name for group in found.groups], rows))


def _places(found: Comparison) -> Table:
    rows = [(letter, one.kind, one.path) for letter, one in found.candidates.items()]
    return Table("What the letters are", ("letter", "what", "path"), tuple(rows))


def _events(found: Comparison) -> tuple[Table, ...]:
    """Return the event model's energies, of those that were measured."""
    known = [
        (letter, one.event_energy_pj) for letter, one in found.candidates.items() if one.event_energy_pj is not None
    ]
    rows = tuple((letter, ENERGY.shown(energy)) for letter, energy in known)
    return (Table("Energy by events, per inference and sample, as measured", ("plan", "nJ"), rows),) if rows else ()


def _costs(found: Comparison, shelf: Sequence[Quantity]) -> Table:
    plans = {letter: one.costs for letter, one in found.candidates.items()}
    columns, rows = cost_rows(plans, shelf, amounts=True)
    if not shelf[0].main:
        title = f"Costs{remark(shelf)}"
        return Table(title, ("plan", *columns), tuple(map(tuple, rows)))
    columns.insert(1, "file bits")
    for row, one in zip(rows, found.candidates.values(), strict=True):
        row.insert(2, "-" if one.file_avg_bits is None else f"{one.file_avg_bits:.3f}")
        row += map(per_cent, (one.searched_accuracy, one.validation, one.test))
    title = "Costs (% of float32; bits per weight of plan and file) and accuracy (searched: before finetuning)"
    return Table(title, ("plan", *columns, "searched %", "val. %", "test %"), tuple(map(tuple, rows)))


def _groups(found: Comparison) -> Table:
    rows = []
    for group in found.groups:
        for one in found.quantities:
            rows += [_group(f"{group.name} {one.unit}", group.costs[key], "{:.3f}".format) for key in one.means]
            rows.append(_group(f"{group.name} {one.column}", group.costs[one.key], one.shown))
    return Table("Groups", ("group", *found.candidates, DIFFERS), tuple(rows))


def _group(name: str, values: Mapping[str, float | None], shown: Callable[[float], str]) -> tuple[str, ...]:
    return (name, *_cells(values, shown), YES if len(set(values.values())) > 1 else "")


def _layers(found: Comparison) -> Table:
    rows = [(layer.name, *_cells(layer.scheme, short_name), YES if layer.differs else "") for layer in found.layers]
    title = f"Layers: {letters(_schemes(found))}, and bits per weight"
    return Table(title, ("layer", *found.candidates, DIFFERS), tuple(rows))


def _firing(found: Comparison) -> tuple[Table, ...]:
    """Return how often layers' inputs are not zero, under the letters that it was measured for."""
    known = [
        letter for letter in found.candidates if any(layer.firing_rate[letter] is not None for layer in found.layers)
    ]
    rows = tuple(
        (layer.name, *_cells({letter: layer.firing_rate[letter] for letter in known}, per_cent))
        for layer in found.layers
    )
    return (Table("Firing rates: inputs that are not zero, %, as measured", ("layer", *known), rows),) if known else ()


def _cells(values: Mapping[str, Value | None], shown: Callable[[Value], str]) -> list[str]:
    return ["-" if value is None else shown(value) for value in values.values()]
