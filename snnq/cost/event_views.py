"""The event model as tables of text, each at most 80 columns wide. Energy in nJ per inference and sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from snnq.cost.event_records import EventCosts
from snnq.cost.quantities import ENERGY
from snnq.network.products import NOTATION, Products

R = TypeVar("R")
# Columns and rows of text.
Cells = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]


def label(events: EventCosts) -> str:
    """Return what the energies are, briefly."""
    return f"event model, per inference (T = {events.steps}) and sample, {events.cost_table}"


def sentence(events: EventCosts) -> str:
    """Return what the energies are, in full."""
    known = "" if events.attentions else " Products inside its attention are not known here and not counted."
    several = any(one.input in ("ternary", "multispikes") for one in events.layers)
    signed = " (of −1: subtracts it; of c: adds it c times)" if several else ""
    unknown = sorted({one.unpriced for one in events.neurons if one.unpriced})
    if unknown:
        known += f" The updates of {', '.join(unknown)} neurons have no price and are not counted."
    if any(one.input == "activations" for one in events.layers):
        known += " Activations of the part that does not spike are all multiplied, zeros too; so is its attention's."
    real = "as three products of 8 bits" if events.arithmetic == "integer" else "in float32"
    skips = " Zero weights are skipped." if events.skips_zeros else ""
    return (
        f"Energy: the event model, per inference of {events.steps} time steps and sample, cost table "
        f"{events.cost_table} ({events.node}), measured on {events.samples} {events.split} samples of {events.data}. "
        f"A spike adds its weight{signed}; a whole number adds a quantised weight once for each set bit and multiplies "
        f"a float32 one; real numbers multiply, {real}; every neuron is updated at every step "
        f"({events.arithmetic} arithmetic).{skips} Weight bits fetched, by reuse '{events.weight_reuse}': "
        f"{events.weight_reuse_equation}. ops: synaptic operations, firing rate · fan-out · T; adds: additions.{known}"
    )


def part_table(events: EventCosts) -> Cells:
    """Return one row a part and one of all."""
    cells = {
        "part": lambda one: one.name,
        "ops M": lambda one: _millions(one.synaptic_operations),
        "adds M": lambda one: _millions(one.accumulates),
        "compute nJ": lambda one: ENERGY.shown(one.compute_pj),
        "memory nJ": lambda one: ENERGY.shown(one.memory_pj),
        "nJ %": lambda one: _share(one.energy_pj, events),
    }
    return _cells((*events.parts, events.total), cells)


def model_table(paper_energy_pj: float, events: EventCosts) -> Cells:
    """Return the two models' energies and what each is of."""
    rows = (
        ("paper's", "one time step and sample, nothing skipped", ENERGY.shown(paper_energy_pj)),
        ("event", f"one inference (T = {events.steps}) and sample, as measured", ENERGY.shown(events.total.energy_pj)),
    )
    return ("model", "counts", "nJ"), rows


def layer_table(events: EventCosts) -> Cells:
    """Return one row a layer."""
    cells = {
        "layer": lambda one: one.name,
        "input": lambda one: one.input,
        "rate %": lambda one: f"{100 * one.firing_rate:.2f}",
        "ops M": lambda one: _millions(one.synaptic_operations),
        "nJ": lambda one: ENERGY.shown(one.energy_pj),
        "nJ %": lambda one: _share(one.energy_pj, events),
    }
    return _cells(events.layers, cells)


def step_table(events: EventCosts) -> Cells:
    """Return one row a layer with its rate at every step."""
    rates = {
        "layer": lambda one: one.name,
        "firing rate % at every step": lambda one: " ".join(f"{100 * rate:.1f}" for rate in one.firing_rates),
    }
    return _cells(events.layers, rates)


def neuron_table(events: EventCosts) -> Cells:
    """Return one row a group of neurons."""
    cells = {
        "neurons": lambda one: one.name,
        "number": lambda one: f"{one.neurons:,}",
        "rate %": lambda one: f"{100 * one.firing_rate:.2f}",
        "spikes": lambda one: f"{one.spikes:,.0f}",
        "updates": lambda one: f"{one.updates:,}",
        "nJ": lambda one: "not known" if one.unpriced else ENERGY.shown(one.energy_pj),
    }
    return _cells(events.neurons, cells)


def attention_table(events: EventCosts, products: Sequence[Products]) -> Cells:
    """Return one row an attention."""
    orders = {one.name: one for one in products}
    cells = {
        "attention": lambda one: one.name,
        "computes": lambda one: NOTATION[orders[one.name].order],
        "additions M": lambda one: _millions(one.accumulates),
        "bits": lambda one: str(orders[one.name].operand_bits),
        "most seen": lambda one: str(one.operand_largest_measured),
        "local KiB": lambda one: f"{one.local_bits / 8192:,.2f}",
        "nJ": lambda one: ENERGY.shown(one.energy_pj),
    }
    return _cells(events.attentions, cells)


def _cells(rows: Sequence[R], cells: Mapping[str, Callable[[R], str]]) -> Cells:
    """Return a column for each of ``cells``, which makes its text of a record."""
    return tuple(cells), tuple(tuple(cell(row) for cell in cells.values()) for row in rows)


def _millions(count: float) -> str:
    return f"{count / 1e6:,.3f}"


def _share(energy_pj: float, events: EventCosts) -> str:
    return f"{100 * energy_pj / events.total.energy_pj:.2f}" if events.total.energy_pj else "-"
