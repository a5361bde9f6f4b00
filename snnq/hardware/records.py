"""What a simulated machine says of a model, as plain data: of one inference (all time steps) of one sample, the mean.

Bytes and cycles are means over the samples, energies in pJ. Densities are shares of 0 … 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from snnq.base.strict_json import Json
from snnq.hardware.machine import Machine
from snnq.hardware.operands import Operands
from snnq.hardware.simulate import LIMITS, Run, summed


@dataclass(frozen=True)
class LayerFacts:
    """What a layer multiplies, whatever the machine: ``rows`` of ``inputs`` to ``outputs``, in groups together.

    ``planes``: bits of a whole number that is no spike. Densities: weights that are not zero; spikes, of all inputs at
    all steps; inputs that are not silent, that is not zero at one step at least.
    """

    name: str
    scheme: str
    planes: int
    rows: int
    inputs: int
    outputs: int
    weights: int
    weight_density: float
    spike_density: float
    awake: float


@dataclass(frozen=True)
class AccelLayer:
    """A layer on a machine.

    ``limited_by``: what takes its cycles, the elements, the cache or the memory. ``accumulates``: weights added;
    ``corrections``: added to the correction of a step. Bytes off the chip by what they are, and of the cache.
    """

    name: str
    cycles: float
    exposed_cycles: float
    limited_by: str
    accumulates: float
    corrections: float
    spike_bytes: float
    weight_bytes: float
    output_bytes: float
    cache_bytes: float
    on_chip_pj: float
    off_chip_pj: float


@dataclass(frozen=True)
class Spent:
    """An ``event`` of the machine's file, and what all of it took."""

    event: str
    spent_pj: float


@dataclass(frozen=True)
class AccelMachine:
    """A model on one machine: its layers and their sums.

    ``events``: those that the machine's file has a constant for. ``checked_sums``: sums that were made match by match,
    too, and were those of the dense product.
    """

    machine: str
    node: str
    dataflow: str
    megahertz: float
    sha256: str
    notes: str
    uncounted: str
    lanes: int
    checked_sums: int
    microseconds: float
    total: AccelLayer
    events: tuple[Spent, ...]
    layers: tuple[AccelLayer, ...]


@dataclass(frozen=True)
class Outside:
    """What no such machine runs: a ``name``, what it is, and how many ``operations`` it takes in one inference."""

    name: str
    what: str
    operations: float


@dataclass(frozen=True)
class Accelerated:
    """What a packed folder's model takes on each machine: means over ``samples``, per inference of ``steps`` steps.

    ``layers`` are what runs there, ``outside`` what does not: it is counted, and no cycles or energy are given for it.
    ``left_out``: layers that Prosperity's network has no words for; None where none was written.
    """

    folder: str
    data: str
    simulated: bool
    split: str
    samples: int
    steps: int
    layers: tuple[LayerFacts, ...]
    outside: tuple[Outside, ...]
    machines: tuple[AccelMachine, ...]
    left_out: tuple[str, ...] | None = None

    def to_dict(self) -> Json:
        """Return plain data, ready for JSON."""
        return asdict(self)


@dataclass
class LayerTally:
    """Sums over samples of what a layer multiplied and of what that took on each machine."""

    name: str
    scheme: str
    planes: int = 0
    rows: int = 0
    bits: int = 0
    spikes: int = 0
    inputs: int = 0
    awake: int = 0
    first: Operands | None = None
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def add(self, calls: Sequence[Operands]) -> None:
        """Take up a sample's calls of the layer."""
        self.first = self.first or replace(calls[0], planes=calls[0].planes[:, :0])
        self.rows = sum(one.positions for one in calls)
        for one in calls:
            self.planes = max(self.planes, len(one.planes))
            self.bits, self.spikes = self.bits + one.planes.size, self.spikes + int(np.count_nonzero(one.planes))
            self.inputs += one.planes[0, 0].size
            self.awake += int(np.count_nonzero(one.planes.any((0, 1))))

    def facts(self) -> LayerFacts:
        """Return what the layer multiplied, over all samples."""
        assert self.first is not None
        return LayerFacts(
            name=self.name,
            scheme=self.scheme,
            planes=self.planes,
            rows=self.rows,
            inputs=self.first.weights.shape[1],
            outputs=self.first.groups * self.first.weights.shape[2],
            weights=self.first.weights.size,
            weight_density=float(self.first.mask.mean()),
            spike_density=self.spikes / self.bits,
            awake=self.awake / self.inputs,
        )

    def on(self, machine: str, samples: int) -> AccelLayer:
        """Return what the layer took on a machine, the mean over the samples."""
        return record(self.name, summed(self.runs[machine]), samples)


def record(name: str, run: Run, samples: int) -> AccelLayer:
    """Return sums over samples as means."""
    return AccelLayer(
        name=name,
        cycles=run.cycles / samples,
        exposed_cycles=run.exposed_cycles / samples,
        limited_by=LIMITS[run.limit.index(max(run.limit))],
        accumulates=run.counts.accumulates / samples,
        corrections=run.counts.corrections / samples,
        spike_bytes=run.traffic.spikes / samples,
        weight_bytes=run.traffic.weights / samples,
        output_bytes=run.traffic.outputs / samples,
        cache_bytes=run.traffic.cache / samples,
        on_chip_pj=run.on_chip_pj / samples,
        off_chip_pj=run.off_chip_pj / samples,
    )


def machine_record(machine: Machine, tallies: Sequence[LayerTally], samples: int, checked: int) -> AccelMachine:
    """Return what all layers took on a machine, one after the other."""
    name = machine.path or machine.name
    whole = summed([run for one in tallies for run in one.runs[name]])
    return AccelMachine(
        machine=name,
        node=machine.node,
        dataflow=machine.dataflow,
        megahertz=machine.megahertz,
        sha256=machine.sha256,
        notes=machine.notes,
        uncounted=machine.uncounted,
        lanes=machine.array.lanes,
        checked_sums=checked,
        microseconds=whole.cycles / samples / machine.megahertz,
        total=record("all", whole, samples),
        events=tuple(Spent(event, pj / samples) for event, pj in whole.energy_pj.items()),
        layers=tuple(one.on(name, samples) for one in tallies),
    )
