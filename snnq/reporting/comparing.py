"""A comparison as a document: tables that fit a terminal, and figures for the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from snnq.plan.measured import NOT_MEASURED
from snnq.plan.views import kib, per_cent
from snnq.reporting.compare import Candidate, Comparison
from snnq.reporting.documents import Document, Figure
from snnq.reporting.figures.matrix import amounts, scheme_matrix
from snnq.reporting.figures.palette import letters, short_name
from snnq.reporting.figures.strip import legend
from snnq.reporting.tables import DIFFERS, YES, Table
from snnq.reporting.text import energy, nanojoules, size


def comparison_document(found: Comparison) -> Document:
    """Return the comparison's tables and figures; columns are letters, the first table says what they stand for."""
    schemes = sorted({one for layer in found.layers for one in layer.scheme.values() if one})
    rows = [(layer.name, list(layer.scheme.values()), layer.differs) for layer in found.layers]
    figures = (
        Figure("Storage by group, to one scale", _bars(found, "storage_bits")),
        Figure("Energy by group, to one scale: paper's model, per time step and sample", _bars(found, "energy_pj")),
        Figure("Formats of each layer", scheme_matrix("Formats of each layer", list(found.candidates), rows)),
        Figure("Formats; power-of-two is hatched, more bits are lighter", legend(schemes)),
    )
    tables = (_places(found), _costs(found), *_events(found), _groups(found), _layers(found), *_firing(found))
    return Document("Plans side by side", found.verdict, found.notes, tables, figures, found.to_dict(), lead=1)


def difference_document(found: Comparison) -> Document:
    """Return what two plans disagree about: totals with their change, and the layers whose scheme differs."""
    kept = replace(found, layers=tuple(layer for layer in found.layers if layer.differs))
    whole = comparison_document(kept)
    tables = (_places(kept), _changes(kept), _changed_layers(kept))
    return replace(whole, title="What two plans disagree about", tables=tables)


def _changes(found: Comparison) -> Table:
    a, b = found.candidates.values()
    rows = [
        _change("weights", a.weights, b.weights, lambda value: f"{value:,}"),
        _change("bits per weight, plan", a.avg_bits, b.avg_bits, lambda value: f"{value:.3f}"),
        *_file_bits(a, b),
        _change("storage KiB", a.storage_bits, b.storage_bits, kib),
        _change("energy nJ", a.energy_pj, b.energy_pj, nanojoules),
    ]
    if a.event_energy_pj is not None and b.event_energy_pj is not None:
        rows.append(_change("energy by events nJ", a.event_energy_pj, b.event_energy_pj, nanojoules))
    scores = (
        ("searched accuracy %", a.searched_accuracy, b.searched_accuracy),
        ("validation %", a.validation, b.validation),
        ("test %", a.test, b.test),
    )
    rows += [_points(*one) for one in scores if one[1] is not None or one[2] is not None]
    return Table("Totals", ("total", "A", "B", "change", DIFFERS), tuple(rows))


def _change(name: str, ours: Any, theirs: Any, shown: Callable[[Any], str]) -> tuple[str, ...]:
    change = f"{100 * (theirs / ours - 1):+.2f} %" if ours else "-"
    return (name, shown(ours), shown(theirs), change, _mark_two(ours, theirs))


def _points(name: str, ours: float | None, theirs: float | None) -> tuple[str, ...]:
    """Return two accuracies and the change in points; one that is missing was not measured."""
    shown = [NOT_MEASURED if one is None else per_cent(one) for one in (ours, theirs)]
    if ours is None or theirs is None:
        return (name, *shown, "-", "")
    return (name, *shown, f"{100 * (theirs - ours):+.2f} points", _mark_two(ours, theirs))


def _file_bits(a: Candidate, b: Candidate) -> list[tuple[str, ...]]:
    """Return the bits per weight of both files; plans that are not packed have none."""
    ours, theirs = a.file_avg_bits, b.file_avg_bits
    if ours is not None and theirs is not None:
        return [_change("bits per weight, file", ours, theirs, lambda value: f"{value:.3f}")]
    shown = ["-" if one is None else f"{one:.3f}" for one in (ours, theirs)]
    return [("bits per weight, file", *shown, "-", "")] if shown != ["-", "-"] else []


def _mark_two(ours: float, theirs: float) -> str:
    return YES if ours != theirs else ""


def _changed_layers(found: Comparison) -> Table:
    rows = []
    for layer in found.layers:
        a, b = layer.scheme.values()
        kib_more, nj_more = _more(layer.storage_bits, 8192), _more(layer.energy_pj, 1000)
        more = ("-" if kib_more is None else f"{kib_more:+,.2f}", "-" if nj_more is None else f"{nj_more:+,.1f}")
        rows.append((layer.name, a or "-", b or "-", *more))
    return Table("Layers that differ", ("layer", "A", "B", "KiB more", "nJ more"), tuple(rows))


def _more(values: Mapping[str, float | None], unit: float) -> float | None:
    """Return by how many units the second value is above the first; None where a plan does not have the layer."""
    before, after = values.values()
    return None if before is None or after is None else (after - before) / unit


def _bars(found: Comparison, key: str) -> str:
    largest = max(getattr(one, key) for one in found.candidates.values())
    shown: Callable[[Any], str] = partial(size if key == "storage_bits" else energy, like=largest)
    rows = {}
    for letter, one in found.candidates.items():
        parts = [float(getattr(group, key)[letter] or 0) for group in found.groups]
        rows[f"{letter}: {shown(getattr(one, key))}"] = parts
    what = "Storage" if key == "storage_bits" else "Energy"
    return amounts(f"{what} by group", [group.name for group in found.groups], rows)


def _places(found: Comparison) -> Table:
    rows = [(letter, one.kind, one.path) for letter, one in found.candidates.items()]
    return Table("What the letters are", ("letter", "what", "path"), tuple(rows))


def _events(found: Comparison) -> tuple[Table, ...]:
    """Return the event model's energies, of those that were measured."""
    known = [
        (letter, one.event_energy_pj) for letter, one in found.candidates.items() if one.event_energy_pj is not None
    ]
    rows = tuple((letter, nanojoules(energy)) for letter, energy in known)
    return (Table("Energy by events, per inference and sample, as measured", ("plan", "nJ"), rows),) if rows else ()


def _costs(found: Comparison) -> Table:
    rows = [
        (
            letter,
            f"{one.avg_bits:.3f}",
            "-" if one.file_avg_bits is None else f"{one.file_avg_bits:.3f}",
            kib(one.storage_bits),
            per_cent(one.storage_fraction),
            nanojoules(one.energy_pj),
            per_cent(one.energy_fraction),
            per_cent(one.searched_accuracy),
            per_cent(one.validation),
            per_cent(one.test),
        )
        for letter, one in found.candidates.items()
    ]
    columns = ("plan", "bits", "file bits", "KiB", "KiB %", "nJ", "nJ %", "searched %", "val. %", "test %")
    title = "Costs (% of float32; bits per weight of plan and file) and accuracy (searched: before finetuning)"
    return Table(title, columns, tuple(rows))


def _groups(found: Comparison) -> Table:
    rows = []
    for group in found.groups:
        for what, values, shown in (
            ("bits", group.avg_bits, lambda value: f"{value:.3f}"),
            ("KiB", group.storage_bits, kib),
            ("nJ", group.energy_pj, nanojoules),
        ):
            rows.append((f"{group.name} {what}", *_cells(values, shown), _mark(values)))
    return Table("Groups", ("group", *found.candidates, DIFFERS), tuple(rows))


def _layers(found: Comparison) -> Table:
    rows = [(layer.name, *_cells(layer.scheme, short_name), YES if layer.differs else "") for layer in found.layers]
    title = f"Layers: {letters()}, and bits per weight"
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


def _cells(values: Mapping[str, Any], shown: Any) -> list[str]:
    return ["-" if value is None else shown(value) for value in values.values()]


def _mark(values: Mapping[str, Any]) -> str:
    return YES if len(set(values.values())) > 1 else ""
