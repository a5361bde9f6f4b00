"""The report as one HTML page: everything inline, no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from snnq.cost import event_views
from snnq.plan.costing import share_of
from snnq.plan.views import per_cent
from snnq.reporting import tables
from snnq.reporting.figures.firing import Rates, firing_rows
from snnq.reporting.figures.front import accuracy_points, front_panel, loss_points
from snnq.reporting.figures.matrix import amounts
from snnq.reporting.figures.probabilities import most_contested, probability_panel
from snnq.reporting.figures.shares import Slice, before_after
from snnq.reporting.figures.strip import Costs, layer_strip, legend
from snnq.reporting.figures.weights import weight_panel
from snnq.reporting.glossary import key_table
from snnq.reporting.html import Grid, grids, render
from snnq.reporting.records import Part, Report
from snnq.reporting.text import energy, size

# Which section a table stands in, by the beginning of its title; any other one stands with the disk's.
_PLACES = {
    "headline": ("Accuracy (", "Totals", "Beside", "This plan minus"),
    "front": ("Accuracy-cost",),
    "models": ("Both energy models",),
    "dynamics": ("Firing of neurons",),
    "firing": ("Firing", "Energy by part", "Events", "Neurons", "Attention", "Inside attention"),
    "costs": ("Storage by", "Energy by"),
    "layers": ("Layers", "What each layer"),
    "search": ("What the search", "The search"),
    "weights": ("Levels",),
    "making": ("Finetuning", "Quantised block by block"),
    "provenance": ("Classes of the data", "Where it comes from"),
}


@dataclass(frozen=True)
class Tile:
    """One of the large numbers at the top of the page."""

    name: str
    value: str
    notes: tuple[str, ...]


def html_page(report: Report) -> str:
    """Return the page's text. Whatever comes from files is escaped, control characters included."""
    return render(
        "report.html.j2",
        report=report,
        tiles=tiles(report),
        tables=_placed((*tables.main_tables(report), *tables.detail_tables(report))),
        keys=grids([key_table()])[0],
        figures=_figures(report),
    )


def tiles(report: Report) -> tuple[Tile, ...]:
    """Return accuracy, bits, storage and energy of this plan, each beside float32."""
    before, after = (row.test for row in report.accuracy)
    own = report.totals
    energy_times = own.energy_pj_float / own.energy_pj if own.energy_pj else 1.0
    return (
        Tile(
            "Test accuracy",
            f"{per_cent(after)} %",
            (
                f"float {per_cent(before)} %",
                f"{100 * (after - before):+.2f} points on {report.test_samples} samples",
                *_tested(report),
            ),
        ),
        Tile(
            "Bits per weight, plan",
            f"{own.avg_bits:.3f}",
            (f"{own.file_avg_bits:.3f} in the file", "float 32", f"{own.weights:,} weights"),
        ),
        Tile(
            "Storage of weights",
            size(own.storage_bits, own.storage_bits_float),
            (f"float {size(own.storage_bits_float)}", _fraction(own.storage_fraction, own.compression)),
        ),
        Tile(
            "Energy per time step, paper's model",
            energy(own.energy_pj, own.energy_pj_float),
            (f"float {energy(own.energy_pj_float)}", _fraction(own.energy_fraction, energy_times)),
        ),
        *_event_tile(report),
    )


def _tested(report: Report) -> tuple[str, ...]:
    """Return the interval of the test accuracy's difference from float, where samples were kept."""
    one = next((row for row in report.paired if row.name == "float, test"), None)
    return (f"95 % interval {100 * one.accuracy_low:+.2f} to {100 * one.accuracy_high:+.2f}",) if one else ()


def _event_tile(report: Report) -> tuple[Tile, ...]:
    own, before = report.event_energy.plan, report.event_energy.float_model
    if own is None:
        return ()
    notes = (f"{own.steps} time steps, weights fetched once per {own.weight_reuse}",)
    if before and own.total.energy_pj:
        share = own.total.energy_pj / before.total.energy_pj
        notes = (f"float {energy(before.total.energy_pj)}", _fraction(share, 1 / share), *notes)
    like = before.total.energy_pj if before else None
    return (Tile("Energy per inference, by events", energy(own.total.energy_pj, like), notes),)


def _fraction(share: float, times: float) -> str:
    return f"{per_cent(share)} %, {times:.2f} times less"


def _placed(all_tables: Iterable[tables.Table]) -> dict[str, list[Grid]]:
    found: dict[str, list[Grid]] = {place: [] for place in (*_PLACES, "disk")}
    for one in grids(all_tables):
        found[next((place for place, starts in _PLACES.items() if one.title.startswith(starts)), "disk")].append(one)
    return found


def _figures(report: Report) -> dict[str, Any]:
    """Return the figures as SVG that is safe to insert: they escape all text in them."""
    epochs, names = report.search.epochs, [layer.name for layer in report.layers]
    order = most_contested(epochs, names) if epochs else []
    schemes = {row.name: row.scheme for row in report.layers}
    levels = {one.layer: one.levels for one in report.levels}
    return {
        "front": [(title, Markup(svg)) for title, svg in _fronts(report)],
        "shares": [(title, Markup(svg)) for title, svg in share_figures(report)],
        "strip": Markup(_strip(report)),
        "plan_legend": Markup(legend(sorted(set(schemes.values())))),
        "legend": Markup(legend(report.search.space)) if epochs else "",
        "probabilities": [Markup(probability_panel(name, report.search.space, epochs)) for name in order],
        "firing": Markup(_firing(report)) if report.event_energy.plan else "",
        "events": [(title, Markup(svg)) for title, svg in _events(report)],
        "weights": [
            Markup(weight_panel(one, schemes[one.layer], levels.get(one.layer, ()))) for one in report.histograms
        ],
    }


def _fronts(report: Report) -> list[tuple[str, str]]:
    if not report.front:
        return []
    loss, accuracy = loss_points(report.front, report.plans), accuracy_points(report.front, report.plans)
    found = []
    title = "Validation loss over bits per weight: lower is better"
    found.append((title, front_panel(title, "bits per weight", "loss in nats", loss)))
    if accuracy:
        title = "Validation accuracy over energy: higher is better"
        found.append((title, front_panel(title, "energy, % of float32", "accuracy %", accuracy)))
    return found


def share_figures(report: Report) -> list[tuple[str, str]]:
    """Return titles and figures of storage and energy by group, and by attention linear where there are any."""
    kinds = (("group", report.groups), ("attention linear (all blocks)", report.attention))
    found = []
    for what, parts in kinds:
        for quantity in ("storage", "energy") if parts else ():
            each = ", paper's model, per time step and sample" if quantity == "energy" else ""
            title = f"{quantity.capitalize()} by {what}{each}"
            found.append((title, _share_figure(title, quantity, parts)))
    return found


def _share_figure(title: str, quantity: str, parts: tuple[Part, ...]) -> str:
    key, unit = ("storage_bits", size) if quantity == "storage" else ("energy_pj", energy)
    before, after = (sum(getattr(part, f"{key}{suffix}") for part in parts) for suffix in ("_float", ""))
    shown = partial(unit, like=before)
    slices = [
        Slice(
            part.name,
            getattr(part, f"{quantity}_share_float"),
            getattr(part, f"{quantity}_share"),
            shown(getattr(part, f"{key}_float")),
            shown(getattr(part, key)),
        )
        for part in parts
    ]
    fraction = share_of(after, before)
    said = f"{shown(after)} ({per_cent(fraction)} %)"
    return before_after(title, slices, min(fraction, 1.0), shown(before), said)


def _firing(report: Report) -> str:
    events = report.event_energy.plan
    rows = [Rates(one.name, one.input, one.firing_rate, one.firing_rates) for one in events.layers] if events else []
    return firing_rows("Firing rate of each layer's inputs at every time step", rows)


def _events(report: Report) -> list[tuple[str, str]]:
    """Return the event model's energy by part, beside float32's where that was measured."""
    own, before = report.event_energy.plan, report.event_energy.float_model
    if own is None:
        return []
    like = before.total.energy_pj if before else None
    title, said = f"Energy by part; {event_views.label(own)}", energy(own.total.energy_pj, like)
    if before is None:
        names = [f"{one.name} {per_cent(share_of(one.energy_pj, own.total.energy_pj))} %" for one in own.parts]
        rows = {f"this plan: {said}": [one.energy_pj for one in own.parts]}
        return [(title, amounts(title, names, rows, columns=2))]
    slices = [
        Slice(
            after.name,
            share_of(one.energy_pj, before.total.energy_pj),
            share_of(after.energy_pj, own.total.energy_pj),
            energy(one.energy_pj, like),
            energy(after.energy_pj, like),
        )
        for one, after in zip(before.parts, own.parts, strict=True)
    ]
    fraction = share_of(own.total.energy_pj, before.total.energy_pj)
    whole = energy(before.total.energy_pj)
    return [(title, before_after(title, slices, min(fraction, 1.0), whole, f"{said} ({per_cent(fraction)} %)"))]


def _strip(report: Report) -> str:
    weights, energies = report.totals.weights, report.totals.energy_pj_float
    floats = [
        Costs(row.weights / weights, row.energy_pj_float / energies if energies else 0.0) for row in report.layers
    ]
    return layer_strip("Scheme, storage and energy of each layer", report.layers, floats)
