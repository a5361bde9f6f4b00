"""What a packed folder takes on simulated machines, as sentences, tables and figures."""

from __future__ import annotations

from dataclasses import replace

from snnq.cost.quantities import ENERGY, share_of
from snnq.hardware.machine import EVENTS, OFF_CHIP
from snnq.hardware.records import Accelerated, AccelLayer, AccelMachine
from snnq.reporting.figures.bars import amounts
from snnq.reporting.table import Table, table_of

SECTION = "machines"


def verdict(found: Accelerated) -> str:
    """Return in a sentence or two what an inference takes, beside the first machine's."""
    first, *others = found.machines
    said = (
        f"An inference of {found.steps} time steps takes {first.total.cycles:,.0f} cycles "
        f"({first.microseconds:,.1f} µs) and {ENERGY.short(_whole_pj(first.total))} on {first.machine}"
    )
    beside = [
        f"{share_of(one.total.cycles, first.total.cycles):.2f} times the cycles and "
        f"{share_of(_whole_pj(one.total), _whole_pj(first.total)):.2f} times the energy on {one.machine}"
        for one in others
    ]
    return f"{'; '.join((said, *beside))}."


def notes(found: Accelerated) -> tuple[str, ...]:
    """Return what to know before comparing these numbers."""
    checked = [f"{one.checked_sums:,} sums on {one.machine}" for one in found.machines if one.checked_sums]
    said = [
        f"Means of {found.samples} {found.split} samples of {found.data}: zeros of the packed weights, spikes as these "
        "samples cause them. Layers follow one another; each takes as long as its slowest part, the elements, the "
        "cache or the memory. Weights come in anew for every inference.",
        "On the chip and off it are two devices: their energies are never of one technology.",
    ]
    if checked:
        said.append(
            f"Made match by match, too, and equal to the dense product bit for bit: {', '.join(checked)}. "
            "Exposed: the cycles if no correction could be hidden behind the next weights."
        )
    said += [f"{one.machine}: {one.notes} Not counted: {one.uncounted}." for one in found.machines if one.uncounted]
    if found.outside:
        said.append(
            "Not run on such a machine, and in none of its numbers: "
            + "; ".join(f"{one.name} ({one.what}, {one.operations:,.0f})" for one in found.outside)
            + "."
        )
    return tuple(said)


def main_tables(found: Accelerated) -> tuple[Table, ...]:
    """Return the machines side by side, where their energy goes, and what the layers multiply."""
    return (machine_table(found), energy_table(found), facts_table(found))


def detail_tables(found: Accelerated) -> tuple[Table, ...]:
    """Return what the layers multiply, and what each takes on every machine."""
    return (facts_table(found), *layer_tables(found))


def machine_table(found: Accelerated) -> Table:
    """Return one row a machine."""
    title = f"Machines: one inference (T = {found.steps}), mean of {found.samples} samples"
    cells = {
        "machine": lambda one: one.machine,
        "cycles": lambda one: f"{one.total.cycles:,.0f}",
        "exposed": lambda one: _exposed(one),
        "µs": lambda one: f"{one.microseconds:,.1f}",
        "adds k": lambda one: f"{(one.total.accumulates + one.total.corrections) / 1e3:,.1f}",
        "off KiB": lambda one: f"{_off_chip(one.total) / 1024:,.1f}",
        "cache KiB": lambda one: f"{one.total.cache_bytes / 1024:,.1f}",
    }
    return table_of(title, found.machines, cells, SECTION)


def _exposed(one: AccelMachine) -> str:
    return f"{one.total.exposed_cycles:,.0f}" if one.total.exposed_cycles != one.total.cycles else "-"


def energy_table(found: Accelerated) -> Table:
    """Return the energy of every event on every machine, in nJ; a dash where the machine has no constant for it."""
    title, columns = "Where its energy goes, nJ", ("event", *(one.machine for one in found.machines))
    totals, spent = [one.total for one in found.machines], [_spent(one) for one in found.machines]
    rows = (
        ("on the chip", *(ENERGY.shown(one.on_chip_pj) for one in totals)),
        ("off the chip", *(ENERGY.shown(one.off_chip_pj) for one in totals)),
        *(
            (event.replace("_", " "), *(ENERGY.shown(one[event]) if event in one else "-" for one in spent))
            for event in _events(found)
            if event not in OFF_CHIP
        ),
    )
    return Table(title, columns, rows, SECTION)


def _events(found: Accelerated) -> list[str]:
    """Return the events that any of the machines has a constant for."""
    known = {event for one in found.machines for event in _spent(one)}
    return [event for event in EVENTS if event in known]


def _spent(one: AccelMachine) -> dict[str, float]:
    return {part.event: part.spent_pj for part in one.events}


def facts_table(found: Accelerated) -> Table:
    """Return what each layer multiplies."""
    cells = {
        "layer": lambda one: one.name,
        "bits": lambda one: str(one.planes),
        "rows": lambda one: f"{one.rows:,}",
        "in": lambda one: f"{one.inputs:,}",
        "out": lambda one: f"{one.outputs:,}",
        "weights": lambda one: f"{100 * one.weight_density:.1f}",
        "spikes": lambda one: f"{100 * one.spike_density:.1f}",
        "awake": lambda one: f"{100 * one.awake:.1f}",
    }
    title = "What layers multiply; bits of inputs; % not zero: weights, spikes, inputs at any step"
    return table_of(title, found.layers, cells, SECTION)


def layer_tables(found: Accelerated) -> tuple[Table, ...]:
    """Return one table a machine, one row a layer."""
    cells = {
        "layer": lambda one: one.name,
        "cycles": lambda one: f"{one.cycles:,.0f}",
        "limit": lambda one: one.limited_by,
        "adds k": lambda one: f"{(one.accumulates + one.corrections) / 1e3:,.1f}",
        "off KiB": lambda one: f"{_off_chip(one) / 1024:,.2f}",
        "cache KiB": lambda one: f"{one.cache_bytes / 1024:,.1f}",
        "chip nJ": lambda one: ENERGY.shown(one.on_chip_pj),
        "off nJ": lambda one: ENERGY.shown(one.off_chip_pj),
    }
    made = [table_of(f"Layers on {one.machine}", one.layers, cells, SECTION) for one in found.machines]
    return tuple(replace(one, long=place > 0) for place, one in enumerate(made))


def figures(found: Accelerated) -> tuple[tuple[str, str], ...]:
    """Return captions and drawings: cycles, and energy by event, of every machine."""
    cycles = {f"{one.machine}: {one.total.cycles:,.0f}": [one.total.cycles] for one in found.machines}
    events = _events(found)
    energy = {
        f"{one.machine}: {ENERGY.short(_whole_pj(one.total))}": [_spent(one).get(event, 0.0) for event in events]
        for one in found.machines
    }
    names = [event.replace("_", " ") for event in events]
    captions = ("Cycles of an inference", "Energy of an inference by event")
    return (
        (captions[0], amounts(captions[0], ["cycles"], cycles)),
        (captions[1], amounts(captions[1], names, energy, columns=3)),
    )


def _off_chip(one: AccelLayer) -> float:
    return one.spike_bytes + one.weight_bytes + one.output_bytes


def _whole_pj(one: AccelLayer) -> float:
    return one.on_chip_pj + one.off_chip_pj
