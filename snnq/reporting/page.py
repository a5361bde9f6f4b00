"""The report as one HTML page: everything inline, no script, nothing loaded from anywhere."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from snnq.base.errors import OutputExistsError, UsageError
from snnq.base.files import MAX_TEXT_BYTES, read_regular, write_atomic
from snnq.cost import event_views
from snnq.cost.quantities import ENERGY, Costs, Quantity, known, share_of
from snnq.packed.config import CONFIG_FILE, PAGE_FILE
from snnq.plan.views import per_cent
from snnq.reporting import array_summary, exit_tables, machine_tables, tables
from snnq.reporting.adapted import report_notes
from snnq.reporting.cost_records import LayerRow
from snnq.reporting.figures.bars import Slice, amounts, before_after
from snnq.reporting.figures.firing import firing_rows
from snnq.reporting.figures.front import accuracy_points, front_panel, loss_points
from snnq.reporting.figures.probabilities import most_contested, probability_panel
from snnq.reporting.figures.strip import layer_strip, legend
from snnq.reporting.figures.weights import weight_panel
from snnq.reporting.formats import render
from snnq.reporting.glossary import key_table
from snnq.reporting.records import Report
from snnq.reporting.table import Table

# What every page of ours has in its head, and nobody else's.
_PAGE_MARK = b"default-src 'none'; style-src 'unsafe-inline'"


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
        simulated=_simulated(report),
        exited=exit_tables.notes(report.exits) if report.exits else (),
        arrays=on_arrays(report),
        adapted=report_notes(report.adapter) if report.adapter else (),
        tables=_placed((*tables.main_tables(report), *tables.detail_tables(report))),
        keys=key_table(),
        figures=_figures(report),
    )


def _simulated(report: Report) -> tuple[str, ...]:
    """Return what is said of the machines that were simulated; nothing where there are none."""
    found = report.simulation
    return (machine_tables.verdict(found), *machine_tables.notes(found)) if found else ()


def on_arrays(report: Report) -> tuple[str, ...]:
    """Return what is said of analog arrays; nothing where none were asked for."""
    found = report.arrays
    return (found.sentence, array_summary.membranes(found), *found.notes) if found else ()


def tiles(report: Report) -> tuple[Tile, ...]:
    """Return accuracy, bits and every cost of this plan, each beside float32."""
    before, after = (row.test for row in report.accuracy)
    own = report.totals
    return (
        Tile(
            "Test accuracy" if report.measured == "Accuracy" else "Agreement with float",
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
        *(_cost_tile(one, own.costs) for one in known(own.costs)),
        *_event_tile(report),
    )


def _cost_tile(one: Quantity, costs: Costs) -> Tile:
    amount, before = costs[one.key], costs[f"{one.key}_float"]
    fraction = _fraction(costs[one.fraction], before / amount if amount else 1.0)
    return Tile(one.title, one.short(amount, before), (f"float {one.short(before)}", fraction))


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
        notes = (f"float {ENERGY.short(before.total.energy_pj)}", _fraction(share, 1 / share), *notes)
    like = before.total.energy_pj if before else None
    return (Tile("Energy per inference, by events", ENERGY.short(own.total.energy_pj, like), notes),)


def _fraction(share: float, times: float) -> str:
    return f"{per_cent(share)} %, {times:.2f} times less"


def _placed(all_tables: Iterable[Table]) -> dict[str, list[Table]]:
    """Return tables by the section of the page they stand in; none for a section that has no table."""
    found: dict[str, list[Table]] = defaultdict(list)
    for one in all_tables:
        found[one.section].append(one)
    return found


def _figures(report: Report) -> dict[str, object]:
    """Return the figures as SVG, by their place in the template."""
    epochs = tuple(one for one in report.search.epochs if one.probabilities)
    names = [layer.name for layer in report.layers]
    order = most_contested(epochs, names) if epochs else []
    schemes = {row.name: row.scheme for row in report.layers}
    levels, events = {one.layer: one.levels for one in report.levels}, report.event_energy.plan
    title = "Firing rate of each layer's inputs at every time step"
    return {
        "front": _fronts(report),
        "shares": share_figures(report),
        "strip": _strip(report),
        "plan_legend": legend(sorted(set(schemes.values()))),
        "legend": legend(report.search.space) if epochs else "",
        "probabilities": [probability_panel(name, report.search.space, epochs) for name in order],
        "firing": firing_rows(title, events.layers) if events else "",
        "events": _events(report),
        "exits": [exit_tables.figure(report.exits)] if report.exits else (),
        "machines": machine_tables.figures(report.simulation) if report.simulation else (),
        "weights": [weight_panel(one, schemes[one.layer], levels.get(one.layer, ())) for one in report.histograms],
    }


def _fronts(report: Report) -> list[tuple[str, str]]:
    losses = loss_points(report.front, report.plans)
    if not report.front or not losses:
        return []
    title = "Validation loss over bits per weight: lower is better"
    found = [(title, front_panel(title, "bits per weight", "loss in nats", losses))]
    for one in known(report.totals.costs):
        points = [] if one.per_weight else accuracy_points(report.front, report.plans, one)
        if points:
            title = f"Validation accuracy over {one.name}: higher is better"
            found.append((title, front_panel(title, f"{one.name}, % of float32", "accuracy %", points)))
    return found


def share_figures(report: Report) -> list[tuple[str, str]]:
    """Return titles and figures of every quantity by group, and by attention linear where there are any."""
    kinds = (("group", report.groups), ("attention linear (all blocks)", report.attention))
    found = []
    for what, parts in kinds:
        for one in known(parts[0].costs) if parts else ():
            title = f"{one.name.capitalize()} by {what}" + (f", {one.counted}" if one.counted else "")
            slices = [Slice(part.name, part.costs[f"{one.key}_float"], part.costs[one.key]) for part in parts]
            found.append((title, before_after(title, slices, one)))
    return found


def _events(report: Report) -> list[tuple[str, str]]:
    """Return the event model's energy by part, beside float32's where that was measured."""
    own, before = report.event_energy.plan, report.event_energy.float_model
    if own is None:
        return []
    title = f"Energy by part; {event_views.label(own)}"
    if before:
        pairs = zip(before.parts, own.parts, strict=True)
        slices = [Slice(after.name, one.energy_pj, after.energy_pj) for one, after in pairs]
        return [(title, before_after(title, slices, ENERGY))]
    names = [f"{one.name} {per_cent(share_of(one.energy_pj, own.total.energy_pj))} %" for one in own.parts]
    rows = {f"this plan: {ENERGY.short(own.total.energy_pj)}": [one.energy_pj for one in own.parts]}
    return [(title, amounts(title, names, rows, columns=2))]


def _strip(report: Report) -> str:
    title = f"Scheme, {' and '.join(one.name for one in known(report.totals.costs))} of each layer"
    return layer_strip(title, report.layers, [_float_shares(row, report) for row in report.layers])


def _float_shares(row: LayerRow, report: Report) -> list[float]:
    """Return a layer's share of every quantity in float32; its weights tell those that are a mean over weights."""
    whole = report.totals
    return [
        row.weights / whole.weights
        if one.per_weight
        else share_of(row.costs[f"{one.key}_float"], whole.costs[f"{one.key}_float"])
        for one in known(whole.costs)
    ]


def write_html(found: Report, path: str | Path) -> None:
    """Write the report as one self-contained HTML page: to a temporary name, then renamed. Raises UsageError."""
    write_page(html_page(found), path)


def write_page(text: str, path: str | Path) -> None:
    """Write a page to a temporary name, then rename it.

    Pages are made of what lies elsewhere, so one is replaced without asking. Raises OutputExistsError where anything
    else is there, UsageError where it cannot be written.
    """
    path = Path(path)
    try:
        if os.path.lexists(path) and not _is_page(path):
            raise OutputExistsError(f"{path} is there and is no page of snnq's", "name another place: --out")
        write_atomic(path, text)
    except OSError as problem:
        raise UsageError(f"{path}: cannot write the page ({problem.strerror})", "choose another place: --out") from None


def _is_page(path: Path) -> bool:
    """Return whether a file is a page of ours: by what it says, or by its place in a packed folder."""
    in_folder = path.name == PAGE_FILE and (path.parent / CONFIG_FILE).exists()
    return in_folder or _PAGE_MARK in read_regular(path, MAX_TEXT_BYTES)[:1024]
