"""The event model of energy: what a network really did on real inputs, priced with a cost table (docs/method.md §3).

Per inference (all T time steps) and sample, with the means of ``snnq.cost.activity``:

    E = Σ layers [ N_acc · e_accumulate(scheme) + N_mac · e_op(scheme) + N_shift · e_shift + N_bits · e_bit ]
      + Σ neurons [ neurons · T · e_neuron ]
      + Σ attentions [ N_add · e_add + N_scale · e_scale + 2 · N_local · e_local_bit ]

- Layer. Activations of a network that does not spike are all multiplied, zeros too: N_mac is every pair of them and an
  output, priced as whole numbers where they are quantised and as float32 where they are not. Else, synaptic operations
  are firing rate · fan-out · T. A spike adds its weight: no multiplication. A spike of −1 subtracts it, at the same
  price, and one of c, of a neuron that may fire D times in a step, adds it in c of D binary sub-steps (Luo et al. 2024,
  arXiv:2407.20708). A whole number (the sum of spikes, an event count) adds a quantised weight once for each set bit of
  its value, and doubles every sum once for each further bit of the largest value (N_shift); float32 weights multiply. A
  real number multiplies and adds: in float32 beside neurons of floating-point numbers; beside those of whole ones it is
  a fixed-point number of up to 24 bits (docs/method.md §5), and a product with a quantised weight is three of 8 bits
  [ours]. Zero inputs cost nothing. Zero weights cost nothing where the table's machine
  ``skips_zeros``: N_acc and N_mac then count the pairs whose weight is not zero.
- Fetched bits of weights, by reuse: ``inference``, N_bits = weights · bits, every weight fetched once per inference and
  kept; ``step``, N_bits = weights · bits · T, fetched anew every step (the head runs once); ``event``, N_bits =
  synaptic operations · bits, read from local memory for every one (at e_local_bit), zero weights where they are not
  skipped. The bits of a rated scheme are its rate: such a machine decodes what it fetches.
- Neuron: every one is updated at every step, spike or not, its norm included. Only IF and LIF neurons and their kin
  have a price (``snnq.network.neurons.PRICED``); the updates of others are not counted, and named.
- Attention with a softmax: N · N · d products twice, of float32; its operand is written and read, its exponentials are
  not counted, nor are the norms and activation functions of a network that does not spike.
- Attention: a pair of spikes that meets counts an entry of the operand up by one; a spike then adds the entries, not
  zero, it selects. The operand, ``operand_bits`` an entry, and the Q that waits are written to local memory and read.

A plan is priced before there is a packed model: with the activity of the float model, with the neurons that the packed
one will have, and with the share of zeros that a scheme's fit makes of the float weights, or at a rate, and where these
were not looked at, of Gaussian weights (``snnq.schemes.zeros``); with the float model's own share where that is larger.
What neurons and attentions take is no layer's: it stands beside them.

Not counted: routing of spikes, max-pooling, residual additions, membrane potentials in memory, idle power.
Sources: Horowitz 2014 (energies); synaptic operations as in NeuroBench (Yik et al. 2025) and SpikingJelly's op_counter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TypeVar

from snnq.base.errors import PlanError, UsageError, nearest
from snnq.cost.activity import Activity, Arithmetic, AttentionActivity, LayerActivity, NeuronActivity
from snnq.cost.energy import operation_of, storage_bits
from snnq.cost.event_records import AttentionEvents, EventCosts, LayerEvents, NeuronEvents, PartEvents
from snnq.cost.table import REUSES, CostTable
from snnq.network.layers import GROUPS, Layer
from snnq.network.neurons import PRICED
from snnq.network.products import Products
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import Scheme
from snnq.schemes.scheme import scheme as scheme_of
from snnq.schemes.zeros import expected_zeros

EXPECTED = "expected_event_energy_pj"  # the key of the quantity in pJ
INSIDE, NEURONS, ALL = "QKV products", "neurons", "all"  # parts that are no group of layers
Named = TypeVar("Named", LayerActivity, AttentionActivity)
FIXED_POINT_BYTES = 3  # of potentials, means and pixels in whole-number arithmetic


def event_energy(
    layers: Sequence[Layer],
    schemes: Mapping[str, str],
    activity: Activity,
    products: Sequence[Products],
    table: CostTable,
    reuse: str | None = None,
    *,
    predicted: bool = False,
) -> EventCosts:
    """Return the events and energies of a model whose layers have ``schemes``, with the activity measured on it.

    ``reuse`` is the table's unless given. ``predicted``: the activity is the float model's, so the zeros that the
    schemes make are those expected. Raises PlanError where a layer or attention was not measured, UsageError for an
    unknown ``reuse``.
    """
    reuse = table.events.weight_reuse if reuse is None else reuse
    if reuse not in REUSES:
        raise UsageError(f"--weight-reuse is '{reuse}', there is {', '.join(REUSES)}{nearest(reuse, REUSES)}")
    measured = _measured(activity.layers, [layer.name for layer in layers])
    mixed = _measured(activity.attentions, [one.name for one in products])
    found = tuple(
        _layer(layer, schemes[layer.name], measured[layer.name], table, reuse, activity.arithmetic, predicted=predicted)
        for layer in layers
    )
    neurons = tuple(_neurons(one, activity.arithmetic, table) for one in activity.neurons)
    attentions = tuple(_attention(one, mixed[one.name], activity.arithmetic, table) for one in products)
    return _together(activity, table, reuse, found, neurons, attentions)


def _together(
    activity: Activity,
    table: CostTable,
    reuse: str,
    layers: tuple[LayerEvents, ...],
    neurons: tuple[NeuronEvents, ...],
    attentions: tuple[AttentionEvents, ...],
) -> EventCosts:
    parts = _parts(layers, neurons, attentions)
    return EventCosts(
        cost_table=table.name,
        node=table.node,
        weight_reuse=reuse,
        weight_reuse_equation=REUSES[reuse],
        skips_zeros=table.events.skips_zeros,
        data=activity.data,
        split=activity.split,
        samples=activity.samples,
        steps=activity.steps,
        arithmetic=activity.arithmetic,
        layers=layers,
        neurons=neurons,
        attentions=attentions,
        parts=parts,
        total=_sum(ALL, parts),
    )


def planned_events(
    layers: Sequence[Layer], schemes: Mapping[str, str], table: CostTable, reuse: str | None = None
) -> EventCosts | None:
    """Return what a plan's events are expected to be, by the float model that the table is ``on``; None without one.

    A plan that leaves every layer in float32 is the float model itself.
    """
    floats = table.floats
    if floats is None:
        return None
    arithmetic = _arithmetic_of(table, any(name != FLOAT32 for name in schemes.values()))
    activity = floats.activity.model_copy(update={"arithmetic": arithmetic})
    return event_energy(layers, schemes, activity, floats.products, table, reuse, predicted=True)


def event_costs(layer: Layer, scheme: str, table: CostTable) -> dict[str, float]:
    """Return a layer's expected event energy in pJ by its key; nothing where the table is on no float model."""
    if table.floats is None:
        return {}
    seen = _measured(table.floats.activity.layers, [layer.name])[layer.name]
    arithmetic = _arithmetic_of(table, scheme != FLOAT32)
    found = _layer(layer, scheme, seen, table, table.events.weight_reuse, arithmetic, predicted=True)
    return {EXPECTED: found.energy_pj}


def event_costs_beside(table: CostTable, quantised: bool) -> dict[str, float]:
    """Return the expected event energy of neurons and attentions, which belongs to no layer, in pJ by its key.

    ``quantised``: of the packed model, else of the float one.
    """
    floats = table.floats
    if floats is None:
        return {}
    arithmetic = _arithmetic_of(table, quantised)
    mixed = _measured(floats.activity.attentions, [one.name for one in floats.products])
    energies = [_neurons(one, arithmetic, table).energy_pj for one in floats.activity.neurons]
    energies += [_attention(one, mixed[one.name], arithmetic, table).energy_pj for one in floats.products]
    return {EXPECTED: math.fsum(energies)}


def _arithmetic_of(table: CostTable, quantised: bool) -> Arithmetic:
    assert table.floats is not None
    return table.floats.arithmetic if quantised else table.floats.activity.arithmetic


def _measured(found: Sequence[Named], names: Sequence[str]) -> dict[str, Named]:
    """Return what was measured by name; raises PlanError where one of ``names`` was not."""
    measured = {one.name: one for one in found}
    for name in names:
        if name not in measured:
            raise PlanError(f"'{name}' was not measured, its events are not known", "measure: snnq cost measure PATH")
    return measured


def _layer(
    layer: Layer,
    scheme: str,
    seen: LayerActivity,
    table: CostTable,
    reuse: str,
    arithmetic: Arithmetic,
    *,
    predicted: bool,
) -> LayerEvents:
    one = scheme_of(scheme)
    operation = one.format.operation
    operations, additions = _met(seen, one.name, table, predicted=predicted)
    if layer.input == "activations":
        operations, operation = _all_products(layer, seen, operations), operation_of(layer, scheme)
    accumulates, multiplications, shifts = _arithmetic(layer, seen, one.is_float, operations, additions)
    compute = (
        accumulates * table.accumulate_pj(operation)
        + multiplications * _product_pj(layer, one.is_float, operation, arithmetic, table)
        + shifts * table.whole_pj("shift")
    )
    fetched, bit_pj = _fetched(layer, one, seen, operations, table, reuse)
    return LayerEvents(
        name=layer.name,
        group=layer.group,
        input=layer.input,
        scheme=scheme,
        firing_rate=seen.rate,
        firing_rates=seen.rates,
        synaptic_operations=math.fsum(seen.synaptic_operations),
        accumulates=accumulates,
        multiplications=multiplications,
        shifts=shifts,
        weight_bits_fetched=fetched,
        compute_pj=compute,
        memory_pj=fetched * bit_pj,
        energy_pj=compute + fetched * bit_pj,
    )


def _fetched(
    layer: Layer, scheme: Scheme, seen: LayerActivity, operations: float, table: CostTable, reuse: str
) -> tuple[float, float]:
    """Return how many bits of weights are fetched, and the energy of one in pJ."""
    if reuse == "event":
        return operations * scheme.bits, table.local_bit_pj
    times = len(seen.nonzero) if reuse == "step" else 1
    return float(storage_bits(layer, scheme.name)) * times, table.weight_bit_pj


def _met(seen: LayerActivity, scheme: str, table: CostTable, *, predicted: bool) -> tuple[float, float]:
    """Return the synaptic operations and additions that a layer does: all, or those with weights that are not zero."""
    whole = (math.fsum(seen.synaptic_operations), math.fsum(seen.additions))
    if not table.events.skips_zeros:
        return whole
    if not seen.effective_operations:
        hint = "measure anew: snnq report --measure 64"
        raise PlanError(f"'{seen.name}' was measured by a version that did not look for zero weights", hint)
    own = (math.fsum(seen.effective_operations), math.fsum(seen.effective_additions))
    if not predicted:
        return own
    looked_at = table.floats.zeros.get(seen.name, {}) if table.floats else {}
    kept = 1 - (looked_at[scheme] if scheme in looked_at else expected_zeros(scheme))
    return min(own[0], kept * whole[0]), min(own[1], kept * whole[1])


def dense_products(layer: Layer, seen: LayerActivity) -> int:
    """Return a layer's products in an inference, zero inputs and zero weights among them."""
    return layer.weights // layer.rows * seen.outputs * len(seen.nonzero)


def _all_products(layer: Layer, seen: LayerActivity, met: float) -> float:
    """Return a layer's products, zero inputs among them; of weights that are not zero where only such are ``met``."""
    whole = math.fsum(seen.synaptic_operations)
    return dense_products(layer, seen) * (met / whole if whole else 1.0)


def _product_pj(layer: Layer, is_float: bool, operation: str, arithmetic: Arithmetic, table: CostTable) -> float:
    """Return the energy in pJ of a weight times what a layer is given, where these are multiplied."""
    if is_float or layer.input == "activations":
        return table.operation_pj(operation)
    if arithmetic == "float":
        return table.operation_pj(scheme_of(FLOAT32).format.operation)
    return FIXED_POINT_BYTES * table.operation_pj(operation)


def _arithmetic(
    layer: Layer, seen: LayerActivity, is_float: bool, operations: float, additions: float
) -> tuple[float, float, float]:
    """Return a layer's additions, its multiplications and the shifts of its sums, by what it is given."""
    spikes = layer.input in ("spikes", "ternary", "multispikes")
    if layer.input in ("reals", "activations") or seen.reals or (is_float and not spikes):
        return 0.0, operations, 0.0
    planes = 0 if spikes else int(seen.largest).bit_length()
    return additions, 0.0, float(max(0, planes - 1) * seen.outputs * len(seen.nonzero))


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
    if one.order == "softmax":
        return _real_attention(one, seen, table)
    accumulates = math.fsum(seen.first) + math.fsum(seen.second)
    # Where neurons compare whole numbers, the constant is folded into their threshold.
    scalings = 0.0 if arithmetic == "integer" else float(one.scalings)
    multiplications, shifts = (0.0, scalings) if one.scale_is_shift else (scalings, 0.0)
    compute = (
        accumulates * table.whole_pj("accumulate")
        + multiplications * table.whole_pj("multiply")
        + shifts * table.whole_pj("shift")
    )
    return _priced(one, seen, (accumulates, multiplications, shifts), compute, table)


def _real_attention(one: Products, seen: AttentionActivity, table: CostTable) -> AttentionEvents:
    products = math.fsum(seen.first) + math.fsum(seen.second)
    compute = products * table.operation_pj(scheme_of(FLOAT32).format.operation)
    return _priced(one, seen, (0.0, products, 0.0), compute, table)


def _priced(
    one: Products, seen: AttentionActivity, operations: tuple[float, float, float], compute: float, table: CostTable
) -> AttentionEvents:
    """Return an attention's energy: of its accumulates, multiplications and shifts, and of what it keeps."""
    accumulates, multiplications, shifts = operations
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
