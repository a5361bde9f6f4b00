"""The event model as tables of text, each at most 80 columns wide. Energy in nJ per inference and sample."""

from __future__ import annotations

from collections.abc import Sequence

from snnq.cost.event_records import Events
from snnq.cost.quantities import ENERGY
from snnq.network.products import NOTATION, Products

Rows = list[tuple[str, ...]]

PART_COLUMNS = ("part", "ops M", "adds M", "compute nJ", "memory nJ", "nJ %")
LAYER_COLUMNS = ("layer", "input", "rate %", "ops M", "nJ", "nJ %")
NEURON_COLUMNS = ("neurons", "number", "rate %", "spikes", "updates", "nJ")
ATTENTION_COLUMNS = ("attention", "computes", "additions M", "bits", "most seen", "local KiB", "nJ")
MODEL_COLUMNS = ("model", "counts", "nJ")
STEP_COLUMNS = ("layer", "firing rate % at every step")


def label(events: Events) -> str:
    """Return what the energies are, briefly."""
    return f"event model, per inference (T = {events.steps}) and sample, {events.cost_table}"


def sentence(events: Events) -> str:
    """Return what the energies are, in full."""
    known = "" if events.attentions else " Products inside its attention are not known here and not counted."
    several = any(one.input in ("ternary", "multispikes") for one in events.layers)
    signed = " (of −1: subtracts it; of c: adds it c times)" if several else ""
    unknown = sorted({one.unpriced for one in events.neurons if one.unpriced})
    if unknown:
        known += f" The updates of {', '.join(unknown)} neurons have no price and are not counted."
    return (
        f"Energy: the event model, per inference of {events.steps} time steps and sample, cost table "
        f"{events.cost_table} ({events.node}), measured on {events.samples} {events.split} samples of {events.data}. "
        f"A spike adds its weight{signed}; a whole number adds a quantised weight once for each set bit and multiplies "
        "a float32 one; real numbers multiply; every neuron is updated at every step "
        f"({events.arithmetic} arithmetic). Weight bits fetched, by reuse '{events.weight_reuse}': "
        f"{events.weight_reuse_equation}. ops: synaptic operations, firing rate · fan-out · T; adds: additions.{known}"
    )


def part_rows(events: Events) -> Rows:
    """Return one row a part and one of all, for ``PART_COLUMNS``."""
    return [
        (
            part.name,
            _millions(part.synaptic_operations),
            _millions(part.accumulates),
            ENERGY.shown(part.compute_pj),
            ENERGY.shown(part.memory_pj),
            _share(part.energy_pj, events),
        )
        for part in (*events.parts, events.total)
    ]


def model_rows(paper_energy_pj: float, events: Events) -> Rows:
    """Return the two models' energies and what each is of, for ``MODEL_COLUMNS``."""
    return [
        ("paper's", "one time step and sample, nothing skipped", ENERGY.shown(paper_energy_pj)),
        ("event", f"one inference (T = {events.steps}) and sample, as measured", ENERGY.shown(events.total.energy_pj)),
    ]


def layer_rows(events: Events) -> Rows:
    """Return one row a layer, for ``LAYER_COLUMNS``."""
    return [
        (
            one.name,
            one.input,
            f"{100 * one.firing_rate:.2f}",
            _millions(one.synaptic_operations),
            ENERGY.shown(one.energy_pj),
            _share(one.energy_pj, events),
        )
        for one in events.layers
    ]


def step_rows(events: Events) -> Rows:
    """Return one row a layer with its rate at every step, for ``STEP_COLUMNS``."""
    return [(one.name, " ".join(f"{100 * rate:.1f}" for rate in one.firing_rates)) for one in events.layers]


def neuron_rows(events: Events) -> Rows:
    """Return one row a group of neurons, for ``NEURON_COLUMNS``."""
    return [
        (
            one.name,
            f"{one.neurons:,}",
            f"{100 * one.firing_rate:.2f}",
            f"{one.spikes:,.0f}",
            f"{one.updates:,}",
            "not known" if one.unpriced else ENERGY.shown(one.energy_pj),
        )
        for one in events.neurons
    ]


def attention_rows(events: Events, products: Sequence[Products]) -> Rows:
    """Return one row an attention, for ``ATTENTION_COLUMNS``."""
    orders = {one.name: one for one in products}
    return [
        (
            one.name,
            NOTATION[orders[one.name].order],
            _millions(one.accumulates),
            str(orders[one.name].operand_bits),
            str(one.operand_largest_measured),
            f"{one.local_bits / 8192:,.2f}",
            ENERGY.shown(one.energy_pj),
        )
        for one in events.attentions
    ]


def _millions(count: float) -> str:
    return f"{count / 1e6:,.3f}"


def _share(energy_pj: float, events: Events) -> str:
    return f"{100 * energy_pj / events.total.energy_pj:.2f}" if events.total.energy_pj else "-"
