"""The report as one HTML page: everything inline, no script, nothing loaded from anywhere."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from snnq.plan.views import kib, per_cent
from snnq.reporting import figures
from snnq.reporting.records import Part, Report
from snnq.reporting.tables import Table, detail_tables, energy_label, front_table, main_tables
from snnq.reporting.text import nanojoules, visible


def html_page(report: Report) -> str:
    """Return the page's text. Whatever comes from files is escaped, control characters included."""
    environment = Environment(
        loader=PackageLoader("snnq.reporting"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    tables = main_tables(report)
    front = front_table(report)
    return environment.get_template("report.html.j2").render(
        report=report,
        headline=tables[:3],
        front=front,
        costs=tables[3:-2],
        layers=tables[-2],
        disk=tables[-1],
        details=[table for table in detail_tables(report) if table != front],
        figures=_figures(report),
        numeric=numeric_columns,
    )


def numeric_columns(table: Table) -> list[bool]:
    """Return for every column whether all of its cells are numbers or empty, so that they are aligned right."""
    return [
        all(row[i][:1] in "+-0123456789" for row in table.rows) and any(row[i] for row in table.rows)
        for i in range(len(table.columns))
    ]


def _finalize(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _figures(report: Report) -> dict[str, Any]:
    """Return the figures as SVG that is safe to insert: ``figures`` escapes all text in it."""
    epochs, names = report.search.epochs, [layer.name for layer in report.layers]
    order = figures.most_contested(epochs, names) if epochs else []
    in_plan = sorted({layer.scheme for layer in report.layers})
    return {
        "strip": Markup(figures.layer_strip(report.layers)),
        "plan_legend": Markup(figures.legend(in_plan)),
        "pairs": [(title, Markup(svg)) for title, svg in _pairs(report)],
        "legend": Markup(figures.legend(report.search.space)) if epochs else "",
        "probabilities": [Markup(figures.probability_panel(name, report.search.space, epochs)) for name in order],
        "front": Markup(figures.front_panel(report.front, report.totals.avg_bits)) if report.front else "",
        "histograms": [Markup(figures.histogram_panel(one)) for one in report.histograms],
    }


def _pairs(report: Report) -> list[tuple[str, str]]:
    found = []
    kinds = (("group", "the total", report.groups), ("attention linear", "all attention linears", report.attention))
    for what, whole, parts in kinds:
        for quantity in ("storage", "energy") if parts else ():
            model = f"; {energy_label(report)}" if quantity == "energy" else ""
            title = f"{quantity.capitalize()} by {what}, shares of {whole}: float32 and this plan{model}"
            found.append((title, figures.paired_bars(title, [_pair(part, quantity) for part in parts])))
    return found


def _pair(part: Part, quantity: str) -> tuple[str, float, str, float, str]:
    shares = getattr(part, f"{quantity}_share_float"), getattr(part, f"{quantity}_share")
    if quantity == "storage":
        amounts = f"{kib(part.storage_bits_float)} KiB", f"{kib(part.storage_bits)} KiB"
    else:
        amounts = f"{nanojoules(part.energy_pj_float)} nJ", f"{nanojoules(part.energy_pj)} nJ"
    before, after = (
        f"{name} {per_cent(share)} %, {amount}"
        for name, share, amount in zip(("float32", "plan"), shares, amounts, strict=True)
    )
    return f"{part.name} ({part.avg_bits:.2f} bits)", shares[0], before, shares[1], after
