"""What analog arrays take, as it stands in a report: by component and by operand, in words, tables and a figure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from snnq.assessing.imc import ImcReport
from snnq.cost.quantities import ENERGY, share_of
from snnq.hardware.crossbars.pricing import Priced
from snnq.reporting.array_words import SECTION, notes, verdict
from snnq.reporting.table import Table, table_of


@dataclass(frozen=True)
class ArrayPart:
    """A component: its energy in pJ, its area in µm²; None where it takes none."""

    name: str
    imc_energy_pj: float | None
    imc_area_um2: float | None


@dataclass(frozen=True)
class ArrayOperand:
    """A matrix in cells: how many arrays, what is converted and written, what it takes."""

    name: str
    array_count: int
    conversions: int
    cells_written: int
    imc_energy_pj: float
    imc_latency_ns: float
    imc_area_um2: float


@dataclass(frozen=True)
class MembraneShare:
    """The share of the area, 0 … 1, that membranes of so many bits are."""

    membrane_bits: int
    area_share: float


@dataclass(frozen=True)
class ArraySummary:
    """A model on a target of analog arrays, per inference of ``steps`` steps."""

    target: str
    node: str
    cells: str
    dynamic: str
    adc_bits: int
    membrane_bits: int
    steps: int
    neurons: int
    imc_energy_pj: float
    imc_latency_ns: float
    imc_area_um2: float
    edap: float
    components: tuple[ArrayPart, ...]
    operands: tuple[ArrayOperand, ...]
    membranes: tuple[MembraneShare, ...]
    sentence: str
    notes: tuple[str, ...]


def summary_of(found: ImcReport) -> ArraySummary:
    """Return what a report says of a model on arrays."""
    one = found.mapped
    names = dict.fromkeys((*one.energy_pj, *one.area_um2))
    return ArraySummary(
        target=one.target,
        node=one.node,
        cells=one.cells,
        dynamic=one.dynamic,
        adc_bits=one.adc_bits,
        membrane_bits=one.membrane_bits,
        steps=one.steps,
        neurons=one.neurons,
        imc_energy_pj=one.total_pj,
        imc_latency_ns=one.latency_ns,
        imc_area_um2=one.total_um2,
        edap=one.edap,
        components=tuple(ArrayPart(name, one.energy_pj.get(name), one.area_um2.get(name)) for name in names),
        operands=tuple(map(_operand, one.operands)),
        membranes=tuple(MembraneShare(bits, share) for bits, share in found.membrane_shares.items()),
        sentence=verdict(one),
        notes=notes(one),
    )


def _operand(one: Priced) -> ArrayOperand:
    energy, area = math.fsum(one.energy_pj.values()), math.fsum(one.area_um2.values())
    counts = one.counts
    numbers = (counts.arrays, counts.conversions, counts.cell_writes)
    return ArrayOperand(one.operand.name, *numbers, energy, one.latency_ns, area)


def tables(found: ArraySummary) -> tuple[Table, ...]:
    """Return where energy and area go, and what every operand takes."""
    parts = {
        "component": lambda one: one.name.replace("_", " "),
        "nJ": lambda one: "-" if one.imc_energy_pj is None else ENERGY.shown(one.imc_energy_pj),
        "% of energy": lambda one: _share(one.imc_energy_pj, found.imc_energy_pj),
        "mm²": lambda one: "-" if one.imc_area_um2 is None else f"{one.imc_area_um2 / 1e6:,.4f}",
        "% of area": lambda one: _share(one.imc_area_um2, found.imc_area_um2),
    }
    operands = {
        "operand": lambda one: one.name,
        "arrays": lambda one: f"{one.array_count:,}",
        "conversions": lambda one: f"{one.conversions:,}",
        "written": lambda one: f"{one.cells_written:,}",
        "nJ": lambda one: ENERGY.shown(one.imc_energy_pj),
        "µs": lambda one: f"{one.imc_latency_ns / 1e3:,.2f}",
        "mm²": lambda one: f"{one.imc_area_um2 / 1e6:,.4f}",
    }
    titles = (f"On analog arrays: {found.target}", f"Operands in cells, one inference (T = {found.steps})")
    return (
        table_of(titles[0], found.components, parts, SECTION),
        table_of(titles[1], found.operands, operands, SECTION),
    )


def _share(part: float | None, whole: float) -> str:
    return "-" if part is None else f"{100 * share_of(part, whole):.2f}"


def membranes(found: ArraySummary) -> str:
    """Return in a sentence what share of the area membranes are, by their bits."""
    said = ", ".join(f"{100 * one.area_share:.2f} % at {one.membrane_bits} bits" for one in found.membranes)
    return f"Membranes' share of the area: {said}."
