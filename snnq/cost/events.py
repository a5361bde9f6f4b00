"""The event model of energy: what a network really did on real inputs, priced with a cost table (docs/method.md §3).

Per inference (all T time steps) and sample, with the means of ``snnq.cost.activity``:

    E = Σ layers [ N_acc · e_accumulate(scheme) + N_mac · e_op(scheme) + N_shift · e_shift + N_bits · e_bit ]
      + Σ neurons [ neurons · T · e_neuron ]
      + Σ attentions [ N_add · e_add + N_scale · e_scale + 2 · N_local · e_local_bit ]

- Layer. Synaptic operations are firing rate · fan-out · T. A spike adds its weight: no multiplication. A spike of −1
  subtracts it, at the same price, and one of c, of a neuron that may fire D times in a step, adds it in c of D binary
  sub-steps (Luo et al. 2024, arXiv:2407.20708). A whole number (the sum of spikes, an event count) adds a quantised
  weight once for each set bit of its value, and doubles every sum once for each further bit of the largest value
  (N_shift); float32 weights multiply. A real number multiplies and adds. Zero inputs cost nothing; zero weights are not
  skipped.
- Fetched bits of weights, by reuse: ``inference``, N_bits = weights · bits, every weight fetched once per inference and
  kept; ``step``, N_bits = weights · bits · T, fetched anew every step (the head runs once); ``event``, N_bits =
  synaptic operations · bits, read from local memory for every one (at e_local_bit).
- Neuron: every one is updated at every step, spike or not, its norm included. Only IF and LIF neurons and their kin
  have a price (``snnq.network.neurons.PRICED``); the updates of others are not counted, and named.
- Attention: a pair of spikes that meets counts an entry of the operand up by one; a spike then adds the entries, not
  zero, it selects. The operand, ``operand_bits`` an entry, and the Q that waits are written to local memory and read.

Not counted: routing of spikes, max-pooling, residual additions, membrane potentials in memory, idle power.
Sources: Horowitz 2014 (energies); synaptic operations as in NeuroBench (Yik et al. 2025) and SpikingJelly's op_counter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

from snnq.base.errors import PlanError, UsageError, nearest
from snnq.cost.activity import Activity, AttentionActivity, LayerActivity, NeuronActivity
from snnq.cost.energy import storage_bits
from snnq.cost.event_records import AttentionEvents, Events, LayerEvents, NeuronEvents, PartEvents
from snnq.cost.table import CostTable
from snnq.network.layers import GROUPS, Layer
from snnq.network.neurons import PRICED
from snnq.network.products import Products
from snnq.schemes.scheme import scheme as scheme_of

REUSES: dict[str, str] = {
    "inference": "weights · bits: every weight fetched once per inference, then kept",
    "step": "weights · bits · T: every weight fetched anew at every time step",
    "event": "synaptic operations · bits: a weight read from local memory for every one",
}
DEFAULT_REUSE = "inference"
INSIDE, NEURONS, ALL = "QKV products", "neurons", "all"  # parts that are no group of layers


def event_energy(
    layers: Sequence[Layer],
    schemes: Mapping[str, str],
    activity: Activity,
    products: Sequence[Products],
    table: CostTable,
    reuse: str = DEFAULT_REUSE,
) -> Events:
    """Return the events and energies of a model whose layers have ``schemes``, with the activity measured on it.

    Raises PlanError where a layer or attention was not measured, UsageError for an unknown ``reuse``.
    """
    if reuse not in REUSES:
        raise UsageError(f"--weight-reuse is '{reuse}', there is {', '.join(REUSES)}{nearest(reuse, REUSES)}")
    measured = {one.name: one for one in activity.layers}
    mixed = {one.name: one for one in activity.attentions}
    _check_measured([layer.name for layer in layers], measured)
    _check_measured([one.name for one in products], mixed)
    found = tuple(_layer(layer, schemes[layer.name], measured[layer.name], table, reuse) for layer in layers)
    neurons = tuple(_neurons(one, activity.arithmetic, table) for one in activity.neurons)
    attentions = tuple(_attention(one, mixed[one.name], activity.arithmetic, table) for one in products)
    parts = _parts(found, neurons, attentions)
    return Events(
        cost_table=table.name,
        node=table.node,
        weight_reuse=reuse,
        weight_reuse_equation=REUSES[reuse],
        data=activity.data,
        split=activity.split,
        samples=activity.samples,
        steps=activity.steps,
        arithmetic=activity.arithmetic,
        layers=found,
        neurons=neurons,
        attentions=attentions,
        parts=parts,
        total=_sum(ALL, parts),
    )


def _check_measured(names: Sequence[str], measured: Mapping[str, object]) -> None:
    for name in names:
        if name not in measured:
            raise PlanError(f"'{name}' was not measured, its events are not known", "measure: snnq cost measure PATH")


def _layer(layer: Layer, scheme: str, seen: LayerActivity, table: CostTable, reuse: str) -> LayerEvents:
    one, operations = scheme_of(scheme), math.fsum(seen.synaptic_operations)
    operation = one.format.operation
    accumulates, multiplications, shifts = _arithmetic(layer, seen, one.is_float)
    compute = (
        accumulates * table.accumulate_pj(operation)
        + multiplications * table.operation_pj(operation)
        + shifts * table.whole_pj("shift")
    )
    fetched, bit_pj = float(storage_bits(layer, scheme)), table.weight_bit_pj
    if reuse == "step":
        fetched *= len(seen.nonzero)
    elif reuse == "event":
        fetched, bit_pj = operations * one.bits, table.local_bit_pj
    return LayerEvents(
        name=layer.name,
        group=layer.group,
        input=layer.input,
        scheme=scheme,
        firing_rate=seen.rate,
        firing_rates=seen.rates,
        synaptic_operations=operations,
        accumulates=accumulates,
        multiplications=multiplications,
        shifts=shifts,
        weight_bits_fetched=fetched,
        compute_pj=compute,
        memory_pj=fetched * bit_pj,
        energy_pj=compute + fetched * bit_pj,
    )


def _arithmetic(layer: Layer, seen: LayerActivity, is_float: bool) -> tuple[float, float, float]:
    """Return a layer's additions, its multiplications and the shifts of its sums, by what it is given."""
    spikes = layer.input in ("spikes", "ternary", "multispikes")
    if layer.input == "reals" or seen.reals or (is_float and not spikes):
        return 0.0, math.fsum(seen.synaptic_operations), 0.0
    planes = 0 if spikes else int(seen.largest).bit_length()
    return math.fsum(seen.additions), 0.0, float(max(0, planes - 1) * seen.outputs * len(seen.nonzero))


def _neurons(seen: NeuronActivity, arithmetic: str, table: CostTable) -> NeuronEvents:
    spikes, priced = math.fsum(seen.spikes), seen.kind in (None, *PRICED)
    return NeuronEvents(
        name=seen.name,
        neurons=seen.neurons,
        firing_rate=spikes / seen.updates,
        spikes=spikes,
        updates=seen.updates,
        energy_pj=seen.updates * table.neuron_pj(arithmetic) if priced else 0.0,
        unpriced=None if priced else seen.kind,
    )


def _attention(one: Products, seen: AttentionActivity, arithmetic: str, table: CostTable) -> AttentionEvents:
    accumulates = math.fsum(seen.first) + math.fsum(seen.second)
    # Where neurons compare whole numbers, the constant is folded into their threshold.
    scalings = 0.0 if arithmetic == "integer" else float(one.scalings)
    multiplications, shifts = (0.0, scalings) if one.scale_is_shift else (scalings, 0.0)
    compute = (
        accumulates * table.whole_pj("accumulate")
        + multiplications * table.whole_pj("multiply")
        + shifts * table.whole_pj("shift")
    )
    memory = 2 * one.local_bits * table.local_bit_pj
    return AttentionEvents(
        name=one.name,
        accumulates=accumulates,
        multiplications=multiplications,
        shifts=shifts,
        operand_largest_measured=seen.largest,
        local_bits=one.local_bits,
        compute_pj=compute,
        memory_pj=memory,
        energy_pj=compute + memory,
    )


def _parts(
    layers: Sequence[LayerEvents], neurons: Sequence[NeuronEvents], attentions: Sequence[AttentionEvents]
) -> tuple[PartEvents, ...]:
    """Return the sums of every group that has layers, of the attentions' products and of the neurons."""
    own = [[one for one in layers if one.group == group] for group in GROUPS]
    parts = [_sum(group, members) for group, members in zip(GROUPS, own, strict=True) if members]
    if attentions:
        parts.append(_sum(INSIDE, attentions))
    updates = [PartEvents(one.name, energy_pj=one.energy_pj, compute_pj=one.energy_pj) for one in neurons]
    return (*parts, _sum(NEURONS, updates))


def _sum(name: str, parts: Sequence[LayerEvents | AttentionEvents | PartEvents]) -> PartEvents:
    keys = [key.name for key in fields(PartEvents) if key.name != "name"]
    return PartEvents(name, **{key: math.fsum(getattr(part, key, 0.0) for part in parts) for key in keys})
