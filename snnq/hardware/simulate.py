"""One layer on one machine: cycles, bytes and energy of one inference of one sample.

Cycles are those of whatever takes longest: the elements, the cache, or memory off the chip, which work at the same
time. Layers follow one another. Energy is Σ events · e_event of the machine's file; what has no constant there takes
none, and the file says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from snnq.base.errors import VerificationError
from snnq.hardware.dataflows import DataflowCounts, count
from snnq.hardware.inner_join import join, spike_fibre, weight_fibre
from snnq.hardware.machine import OFF_CHIP, Machine
from snnq.hardware.operands import Operands, passes
from snnq.hardware.traffic import Traffic, group_traffic, output_bits, spike_bits

LIMITS = ("elements", "cache", "memory")
# Outputs of a layer that are made by going through the fibres, too, and compared.
CHECKED = 4


@dataclass(frozen=True)
class Run:
    """What one layer takes: ``counts`` of its elements, ``traffic`` in bytes, ``neuron_steps`` behind it, cycles.

    ``exposed_cycles``: if corrections could not be hidden. ``limit``: the cycles of each of ``LIMITS``.
    """

    counts: DataflowCounts
    traffic: Traffic
    neuron_steps: int
    cycles: int
    exposed_cycles: int
    limit: tuple[int, ...]
    energy_pj: dict[str, float]

    @property
    def on_chip_pj(self) -> float:
        """Energy of the chip."""
        return math.fsum(pj for event, pj in self.energy_pj.items() if event not in OFF_CHIP)

    @property
    def off_chip_pj(self) -> float:
        """Energy of memory off the chip: another device, another technology."""
        return math.fsum(pj for event, pj in self.energy_pj.items() if event in OFF_CHIP)


def run_layer(machine: Machine, calls: Sequence[Operands], outputs: Sequence[np.ndarray] = ()) -> Run:
    """Return what a layer takes on a machine in one inference.

    ``calls``: what it multiplies, one after the other, with the same weights: one, or one for each segment, image or
    call. ``outputs``: spikes (T, neurons), bool, of each group of neurons that fires after it.
    """
    counts, traffic = DataflowCounts(), Traffic(spikes=sum(spike_bits(machine, one.rows) for one in calls) / 8)
    for group, mask in enumerate(calls[0].mask):
        for place, call in enumerate(calls):
            planes = call.of_group(group)
            one = count(machine, planes, mask)
            counts += one
            traffic += group_traffic(machine, planes, mask, call.value_bits, one, kept=place > 0)
    written = sum(output_bits(machine, one) for one in outputs) / 8
    traffic += Traffic(outputs=written, cache=written)
    limit = (
        counts.cycles,
        math.ceil(traffic.cache / machine.cache_bytes_per_cycle),
        math.ceil(traffic.off_chip / machine.memory_bytes_per_cycle),
    )
    cycles, neurons = max(limit), sum(one.size for one in outputs)
    exposed = max(counts.exposed_cycles, *limit[1:])
    return Run(counts, traffic, neurons, cycles, exposed, limit, _energy(machine, counts, traffic, neurons, cycles))


def _energy(machine: Machine, counts: DataflowCounts, traffic: Traffic, neurons: int, cycles: int) -> dict[str, float]:
    """Return the energy in pJ of every event that the machine has a constant for."""
    happened = {
        "fast_prefix": counts.busy,
        "laggy_prefix": counts.laggy,
        "buffers": counts.busy,
        "accumulate": counts.accumulates + counts.partial,
        "correct": counts.corrections,
        "neuron": neurons,
        "cache": traffic.cache,
        "cache_idle": cycles,
        "memory": traffic.off_chip,
    }
    return {event: number * machine.event_pj(event) for event, number in happened.items() if event in machine.events}


def check_sums(machine: Machine, operands: Operands, outputs: int = CHECKED) -> int:
    """Make a few outputs of every group as an element does, match by match, and compare; return how many sums.

    Weights that are no whole numbers have whole ones with the same zeros in their place, because sums of real numbers
    depend on their order. Raises VerificationError where a sum is not that of the dense product, or a counter not that
    of ``count``.
    """
    if machine.dataflow != "parallel-inner-join":
        return 0
    checked = 0
    for group, weights in enumerate(_whole(operands)):
        planes = operands.of_group(group)
        rows, columns = (_some(size, outputs) for size in (planes.shape[2], weights.shape[1]))
        for row, column in zip(rows, np.resize(columns, len(rows)), strict=True):
            for steps in passes(planes, machine.array.lanes):
                if not _is_exact(machine, steps[:, row], weights[:, column]):
                    raise VerificationError(
                        f"layer {operands.name}: the inner join of row {row}, output {column} is not the dense product",
                        "please report this",
                    )
                checked += len(steps)
    return checked


def _whole(operands: Operands) -> np.ndarray:
    """Return the weights, or whole ones of the same signs and zeros, the largest about a thousand."""
    weights = operands.weights
    if not operands.exact:
        weights = np.sign(weights) * np.ceil(1000 * np.abs(weights) / max(np.abs(weights).max(initial=0), 1e-300))
    return weights.astype(np.int64)


def _some(size: int, most: int) -> np.ndarray:
    """Return at most so many places of ``size``, spread evenly."""
    return np.unique(np.linspace(0, size - 1, most).astype(int))


def _is_exact(machine: Machine, spikes: np.ndarray, weights: np.ndarray) -> bool:
    """Return whether one output, of spikes (L, K) and whole weights (K,), has the sums and counters it should."""
    array = machine.array
    assert array.chunk is not None
    assert array.laggy_cycles is not None
    made = join(spike_fibre(spikes), weight_fibre(weights), len(spikes), array.chunk, array.laggy_cycles)
    counted = count(machine, spikes[None, :, None], weights[:, None] != 0)
    due = DataflowCounts(made.busy, made.exposed, made.busy, made.laggy, made.accumulates, made.corrections)
    return made.sums == tuple((spikes.astype(np.int64) @ weights).tolist()) and counted == due


def summed(values: Sequence[Run]) -> Run:
    """Return the sum of runs, as of one layer over several samples."""
    first = values[0]
    counts, traffic = DataflowCounts(), Traffic()
    for one in values:
        counts, traffic = counts + one.counts, traffic + one.traffic
    totals = {
        one.name: sum(getattr(value, one.name) for value in values)
        for one in fields(Run)
        if one.name in ("neuron_steps", "cycles", "exposed_cycles")
    }
    return Run(
        counts=counts,
        traffic=traffic,
        limit=tuple(sum(value.limit[place] for value in values) for place in range(len(LIMITS))),
        energy_pj={event: math.fsum(value.energy_pj[event] for value in values) for event in first.energy_pj},
        **totals,
    )
