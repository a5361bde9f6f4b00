"""Machines that can be simulated: files of sizes and energies that a user can edit, copy and pass by path.

Every constant names its source. Constants of the chip are all of its own technology node, because those of different
nodes must never be added (docs/method.md §3). Memory off the chip is another device: its constants name that device,
and its energy stands beside the chip's, never inside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from snnq.base.errors import MachineError, nearest
from snnq.base.shelf import Shelf
from snnq.base.validation import Record
from snnq.cost.table import ConstantSource

MACHINES = Path(__file__).parent / "machines"
DEFAULT_MACHINE = "loas"
Dataflow = Literal["parallel-inner-join", "inner-join", "outer-product", "gustavson"]
# What happens in a machine and has a price, by component. Those of one dataflow need not happen in another.
EVENTS: dict[str, str] = {
    "fast_prefix": "a cycle in which an element joins two bitmasks",
    "laggy_prefix": "a cycle of the slow prefix sum",
    "buffers": "a cycle in which an element is busy: its registers and queues",
    "accumulate": "a weight added to a sum, before any correction",
    "correct": "a weight added to the correction of one time step",
    "neuron": "one time step of a neuron",
    "cache": "a byte read from the cache or written to it",
    "cache_idle": "a cycle of the cache, used or not",
    "memory": "a byte read from memory off the chip or written to it",
}
OFF_CHIP = ("memory",)


class ComponentConstant(Record):
    """What a component takes: ``power_mw`` while it is active, or ``energy_pj`` for each event."""

    power_mw: float | None = Field(default=None, ge=0, le=1e9)
    energy_pj: float | None = Field(default=None, ge=0, le=1e12)
    source: str

    @model_validator(mode="after")
    def _one_of_both(self) -> ComponentConstant:
        if (self.power_mw is None) == (self.energy_pj is None):
            raise ValueError("it needs one of power_mw and energy_pj")
        return self


class Share(Record):
    """A ``part`` in ``of`` of a constant: of a power that is known for several components together."""

    constant: str
    part: PositiveFloat = 1.0
    of: PositiveFloat = 1.0


class MachineSizes(Record):
    """The sizes of a machine.

    ``elements`` work side by side, each on ``lanes`` time steps at once. ``chunk``: positions of two bitmasks that are
    joined at once; ``laggy_cycles``: what the slow prefix sum takes for them. ``radix``: fibres that an
    element merges at once. Sizes that a dataflow does not use are left out.
    """

    elements: PositiveInt
    lanes: PositiveInt
    chunk: PositiveInt | None = None
    laggy_cycles: PositiveInt | None = None
    radix: PositiveInt | None = Field(default=None, ge=2)
    accumulator_bits: PositiveInt
    pointer_bits: PositiveInt


class Memories(Record):
    """``cache_bytes`` on the chip in ``cache_banks`` of ``bank_bytes`` a cycle; ``gigabytes_per_second`` off it."""

    cache_bytes: PositiveInt
    cache_banks: PositiveInt
    bank_bytes: PositiveInt
    gigabytes_per_second: PositiveFloat


_SIZES: dict[str, tuple[str, ...]] = {
    "parallel-inner-join": ("chunk", "laggy_cycles"),
    "inner-join": ("chunk",),
    "outer-product": (),
    "gustavson": ("radix",),
}


class Machine(Record):
    """A machine: its dataflow, sizes and constants, and which constants each event of ``EVENTS`` takes.

    ``uncounted`` says what of it has no constant here. ``sha256`` is that of the file's bytes; ``path`` is None for a
    machine that comes with snnq.
    """

    name: str
    title: str
    year: int
    node: str
    dataflow: Dataflow
    megahertz: PositiveFloat
    notes: str = ""
    uncounted: str = ""
    array: MachineSizes
    memory: Memories
    sources: dict[str, ConstantSource]
    constants: dict[str, ComponentConstant]
    events: dict[str, Share]
    sha256: str
    path: str | None

    @model_validator(mode="after")
    def _sizes_are_there(self) -> Machine:
        for name in _SIZES[self.dataflow]:
            if getattr(self.array, name) is None:
                raise ValueError(f"array.{name}: this key is missing, dataflow '{self.dataflow}' needs it")
        return self

    @model_validator(mode="after")
    def _references_hold(self) -> Machine:
        for name, one in self.constants.items():
            if one.source not in self.sources:
                raise ValueError(f"constants.{name}: unknown source '{one.source}'{nearest(one.source, self.sources)}")
        for event, share in self.events.items():
            if event not in EVENTS:
                raise ValueError(
                    f"events: unknown event '{event}'{nearest(event, EVENTS)}; there is {', '.join(EVENTS)}"
                )
            if share.constant not in self.constants:
                raise ValueError(
                    f"events.{event}: unknown constant '{share.constant}'{nearest(share.constant, self.constants)}"
                )
            self._check_node(event, share)
        return self

    def _check_node(self, event: str, share: Share) -> None:
        source = self.sources[self.constants[share.constant].source]
        if event not in OFF_CHIP and source.node != self.node:
            raise ValueError(
                f"events.{event}: '{share.constant}' is of node '{source.node}' in a machine of node '{self.node}'; "
                "constants of different technology nodes must not be added"
            )

    def event_pj(self, event: str) -> float:
        """Return the energy in pJ of one event: a power is divided by the clock; 0 where it has no constant."""
        share = self.events.get(event)
        if share is None:
            return 0.0
        one = self.constants[share.constant]
        whole = one.energy_pj if one.energy_pj is not None else (one.power_mw or 0.0) * 1e3 / self.megahertz
        return whole * share.part / share.of

    @property
    def memory_bytes_per_cycle(self) -> float:
        """Bytes that come from memory off the chip in one cycle."""
        return self.memory.gigabytes_per_second * 1e3 / self.megahertz

    @property
    def cache_bytes_per_cycle(self) -> int:
        """Bytes that the cache gives or takes in one cycle."""
        return self.memory.cache_banks * self.memory.bank_bytes


_HINT = f"compare it with a machine that works: {MACHINES / DEFAULT_MACHINE}.toml"
_MACHINES = Shelf("machine", MACHINES, Machine, MachineError, hint=_HINT, listing=_HINT)


def machine_file(name_or_path: str | Path) -> Path:
    """Return the file of a machine by name or path (``base.shelf``); raises MachineError naming the nearest name."""
    return _MACHINES.file(name_or_path)


def read_machine(name_or_path: str | Path = DEFAULT_MACHINE) -> Machine:
    """Return a machine by name or path; raises MachineError naming the file and the key."""
    return _MACHINES.read(name_or_path)
