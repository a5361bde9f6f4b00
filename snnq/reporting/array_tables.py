"""A model on analog arrays, as sentences, tables and a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from snnq.assessing.imc import ImcMap, ImcReport
from snnq.cost.quantities import ENERGY, share_of
from snnq.hardware.crossbars.mapped import Mapped
from snnq.reporting.array_words import SECTION, notes, verdict
from snnq.reporting.figures.bars import amounts
from snnq.reporting.formats import Document, Figure
from snnq.reporting.table import Table, table_of


def array_document(found: ImcMap | ImcReport) -> Document:
    """Return everything that is known of a model on arrays: layer by layer, or by component."""
    mapped = found.mapped
    components = component_tables(mapped)
    is_report = isinstance(found, ImcReport)
    tables = (*components, *extra_tables(found)) if is_report else (*map_tables(mapped), components[0])
    said = notes(mapped)
    if is_report and not found.over_steps:
        said = (*said, f"The model runs for its {mapped.steps} steps alone: nothing is known of others.")
    return Document(
        title=f"{found.path} on {mapped.target}",
        verdict=verdict(mapped),
        notes=said,
        tables=tables,
        figures=tuple(Figure(caption, drawn) for caption, drawn in figures(mapped)),
        data=found.to_dict(),
        lead=1,
    )


def map_tables(one: Mapped) -> tuple[Table, ...]:
    """Return how every operand lies on arrays, and how often it is read and written."""
    lies = {
        "operand": lambda part: part.operand.name,
        "groups": lambda part: str(part.operand.groups),
        "rows": lambda part: f"{part.operand.inputs:,}",
        "columns": lambda part: f"{part.counts.columns:,}",
        "bits": lambda part: str(part.operand.bits),
        "slices": lambda part: str(part.counts.slices),
        "pairs": lambda part: "yes" if part.operand.signed else "no",
        "arrays": lambda part: f"{part.counts.arrays:,}",
        "PEs": lambda part: f"{part.counts.pes:,}",
        "tiles": lambda part: f"{part.counts.tiles:,}",
        "used %": lambda part: f"{100 * part.counts.utilisation:.1f}",
    }
    happens = {
        "operand": lambda part: part.operand.name,
        "bits in": lambda part: str(part.operand.planes),
        "positions": lambda part: f"{part.operand.positions:,}",
        "reads": lambda part: f"{part.counts.reads:,}",
        "conversions": lambda part: f"{part.counts.conversions:,}",
        "writes": lambda part: f"{part.counts.cell_writes:,}",
        "nJ": lambda part: ENERGY.shown(math.fsum(part.energy_pj.values())),
        "µs": lambda part: f"{part.latency_ns / 1e3:,.2f}",
    }
    return (
        table_of("Operands in cells: rows and columns of a group, slices of a number", one.operands, lies, SECTION),
        table_of(
            f"One inference (T = {one.steps}): bits of an input, reads, cells written", one.operands, happens, SECTION
        ),
    )


def component_tables(one: Mapped) -> tuple[Table, ...]:
    """Return totals, and energy and area by component."""
    arrays, tiles = (sum(getattr(part.counts, name) for part in one.operands) for name in ("arrays", "tiles"))
    reads, writes = (math.fsum(getattr(part, name) for part in one.operands) for name in ("read_ns", "write_ns"))
    totals = Table(
        "On the target",
        ("what", "amount"),
        (
            ("arrays", f"{arrays:,}"),
            ("tiles", f"{tiles:,}"),
            ("neurons", f"{one.neurons:,}"),
            ("ADC bits", str(one.adc_bits)),
            ("membrane bits", str(one.membrane_bits)),
            ("conversions", f"{sum(part.counts.conversions for part in one.operands):,}"),
            ("cells written", f"{sum(part.counts.cell_writes for part in one.operands):,}"),
            ("energy nJ", ENERGY.shown(one.total_pj)),
            ("latency µs", f"{one.latency_ns / 1e3:,.2f}"),
            ("  of reads", f"{reads / 1e3:,.2f}"),
            ("  of writes", f"{writes / 1e3:,.2f}"),
            ("area mm²", f"{one.total_um2 / 1e6:,.4f}"),
            ("EDAP µJ·ms·mm²", f"{one.edap:,.4g}"),
        ),
        SECTION,
    )
    energy = _split("Energy of an inference, nJ", one.energy_pj, ENERGY.shown)
    area = _split("Area, mm²", one.area_um2, lambda amount: f"{amount / 1e6:,.4f}")
    return totals, energy, area


def _split(title: str, parts: Mapping[str, float], shown: Callable[[float], str]) -> Table:
    whole = math.fsum(parts.values())
    ordered = sorted(parts.items(), key=lambda one: -one[1])
    rows = [(_words(name), shown(amount), f"{100 * share_of(amount, whole):.2f}") for name, amount in ordered]
    return Table(title, ("component", title.rpartition(" ")[2], "%"), (*rows, ("all", shown(whole), "100.00")), SECTION)


def _words(name: str) -> str:
    return name.replace("_", " ")


def extra_tables(found: ImcReport) -> tuple[Table, ...]:
    """Return the membranes' share of the area by their bits, and energy and time against T."""
    shares = [(str(bits), f"{100 * share:.3f}") for bits, share in found.membrane_shares.items()]
    lines = found.over_steps
    area = Table("Membranes' share of the area", ("bits", "% of area"), tuple(shares), SECTION)
    if not lines:
        return (area,)
    steps = next(iter(lines.values())).steps
    rows = [
        (str(t), f"{lines['energy_pj'].amounts[place] / 1e3:,.1f}", f"{lines['latency_ns'].amounts[place] / 1e3:,.2f}")
        for place, t in enumerate(steps)
    ]
    fits = [
        (name, f"{lines[name].slope / 1e3:,.2f}", f"{lines[name].intercept / 1e3:,.3g}", f"{lines[name].r2:.6f}")
        for name in ("energy_pj", "latency_ns")
    ]
    return (
        area,
        Table("Against time steps", ("T", "nJ", "µs"), tuple(rows), SECTION),
        Table("Straight lines through them, nJ and µs", ("of", "a step", "at T = 0", "R²"), tuple(fits), SECTION),
    )


def figures(one: Mapped) -> tuple[tuple[str, str], ...]:
    """Return captions and drawings: energy and area by component."""
    names = sorted(one.energy_pj, key=lambda name: -one.energy_pj[name])
    parts = sorted(one.area_um2, key=lambda name: -one.area_um2[name])
    energy = {f"{one.target}: {ENERGY.short(one.total_pj)}": [one.energy_pj[name] for name in names]}
    area = {f"{one.target}: {one.total_um2 / 1e6:,.3f} mm²": [one.area_um2[name] for name in parts]}
    captions = ("Energy of an inference by component", "Area by component")
    return (
        (captions[0], amounts(captions[0], [_words(name) for name in names], energy, columns=3)),
        (captions[1], amounts(captions[1], [_words(name) for name in parts], area, columns=3)),
    )
