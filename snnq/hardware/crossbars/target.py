"""Targets: chips of analog arrays as files of sizes and constants, which a user can edit, copy and pass by path.

Every constant names its source. Those of the chip are all of one technology node, because those of different nodes must
never be added (docs/method.md §3). What writing a memory cell takes is a device's: its constants name the device, and
the energy of writes stands beside the chip's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from snnq.base.errors import MachineError, UsageError, nearest
from snnq.base.shelf import Shelf
from snnq.base.validation import Record
from snnq.hardware.machine import ConstantSource, Share

TARGETS = Path(__file__).parent / "targets"
DEFAULT_TARGET = "spikesim-65nm"
# What happens on a chip and has a price, by component; those that a target has no constant for take nothing.
EVENTS: dict[str, str] = {
    "array": "an array is read once: all its rows, one bit of each input",
    "driver": "a row of an array is driven once",
    "adc": "a column's sum is converted",
    "mux": "a column is put through to its converter",
    "shift_add": "a converted sum is shifted and added",
    "buffer": "a processing element takes part in a read: its inputs come from the tile's buffer",
    "interconnect": "a processing element takes part in a read: what it gives leaves the tile",
    "neuron": "a neuron is updated",
    "membrane": "a bit of a membrane is fetched and put back",
}
# What stands on a chip and has an area.
PARTS: dict[str, str] = {
    "driver": "the driver of a row",
    "mux": "the multiplexer of a converter",
    "shift_add": "the adder of a converter",
    "tile_adders": "a tile's adders",
    "tile_buffer": "a tile's buffer",
    "tile_temporary": "a tile's buffer of sums",
    "tile_interconnect": "a tile's wires",
    "membrane_bit": "a bit of a membrane",
}


class ArrayConstant(Record):
    """What an event takes in pJ, what a part takes in µm², or both."""

    energy_pj: float | None = Field(default=None, ge=0, le=1e12)
    area_um2: float | None = Field(default=None, ge=0, le=1e12)
    source: str

    @model_validator(mode="after")
    def _says_something(self) -> ArrayConstant:
        if self.energy_pj is None and self.area_um2 is None:
            raise ValueError("it needs energy_pj, area_um2 or both")
        return self


class ConverterCosts(Record):
    """An analog-to-digital converter of so many bits: energy of a conversion, area."""

    energy_pj: float = Field(ge=0, le=1e12)
    area_um2: float = Field(ge=0, le=1e12)
    source: str


class Device(Record):
    """A kind of memory cell.

    ``on_off``: largest by least conductance; None: the least is 0. ``write_pj``: a cell; ``write_ns``: a row, at once.
    ``area_um2``: an array of the target's size.
    """

    cell_bits: PositiveInt = Field(le=8)
    on_off: float | None = Field(default=None, gt=1)
    write_pj: float = Field(ge=0, le=1e12)
    write_ns: float = Field(ge=0, le=1e12)
    area_um2: float = Field(ge=0, le=1e12)
    source: str
    area_source: str


class ChipSizes(Record):
    """The sizes of a chip; ``read_ns``: one read of all arrays of a layer, its columns converted in turn."""

    rows: PositiveInt = Field(le=2**16)
    columns: PositiveInt = Field(le=2**16)
    columns_per_adc: PositiveInt
    arrays_per_pe: PositiveInt
    pes_per_tile: PositiveInt
    adc_bits: PositiveInt = Field(le=24)
    count_bits: PositiveInt = Field(le=12)
    float_bits: PositiveInt = Field(le=16)
    membrane_bits: PositiveInt = Field(le=64)
    read_ns: PositiveFloat


class ArrayTarget(Record):
    """A chip of analog arrays: sizes, constants, which of them each event and part takes, and its kinds of cells.

    ``sha256`` is that of the file's bytes; ``path`` is None for a target that comes with snnq.
    """

    name: str
    title: str
    year: int
    node: str
    default_device: str
    notes: str = ""
    uncounted: str = ""
    array: ChipSizes
    sources: dict[str, ConstantSource]
    constants: dict[str, ArrayConstant]
    adc: dict[Annotated[str, Field(pattern=r"^[1-9]\d?$")], ConverterCosts] = Field(min_length=1)
    events: dict[str, Share]
    areas: dict[str, Share]
    devices: dict[str, Device] = Field(min_length=1)
    sha256: str
    path: str | None

    @model_validator(mode="after")
    def _references_hold(self) -> ArrayTarget:
        _known(self.default_device, self.devices, "default_device", "device")
        for name, one in self.constants.items():
            _known(one.source, self.sources, f"constants.{name}", "source")
        for name, share in self.events.items():
            _known(name, EVENTS, "events", "event")
            self._check(share, "energy_pj", f"events.{name}")
        for name, share in self.areas.items():
            _known(name, PARTS, "areas", "part")
            self._check(share, "area_um2", f"areas.{name}")
        for bits, one in self.adc.items():
            self._check_node(one.source, f"adc.{bits}")
        for name, one in self.devices.items():
            _known(one.source, self.sources, f"devices.{name}", "source")
            self._check_node(one.area_source, f"devices.{name}.area_source")
        return self

    def _check(self, share: Share, key: str, where: str) -> None:
        _known(share.constant, self.constants, where, "constant")
        one = self.constants[share.constant]
        if getattr(one, key) is None:
            raise ValueError(f"{where}: '{share.constant}' has no {key}")
        self._check_node(one.source, where)

    def _check_node(self, source: str, where: str) -> None:
        _known(source, self.sources, where, "source")
        if self.sources[source].node != self.node:
            raise ValueError(
                f"{where}: source '{source}' is of node '{self.sources[source].node}' in a target of node "
                f"'{self.node}'; constants of different technology nodes must not be added"
            )

    def event_pj(self, event: str) -> float:
        """Return the energy in pJ of one event; 0 where the target has no constant for it."""
        share = self.events.get(event)
        return 0.0 if share is None else (self.constants[share.constant].energy_pj or 0.0) * share.part / share.of

    def part_um2(self, part: str) -> float:
        """Return the area in µm² of one part; 0 where the target has no constant for it."""
        share = self.areas.get(part)
        return 0.0 if share is None else (self.constants[share.constant].area_um2 or 0.0) * share.part / share.of

    def converter(self, bits: int) -> tuple[float, float]:
        """Return energy in pJ and area in µm² of a converter; of bits that the file lacks, a factor of 2 a bit.

        That is the figure of merit of converters: constant energy a step (Walden 1999), from the nearest bits.
        """
        known = min(map(int, self.adc), key=lambda one: (abs(one - bits), one))
        one, factor = self.adc[str(known)], 2.0 ** (bits - known)
        return one.energy_pj * factor, one.area_um2 * factor

    @property
    def file_mark(self) -> dict[str, str]:
        """What a run's fingerprint says of a target of the user's own, whose file may change under its name."""
        return {} if self.path is None else {"target_sha256": self.sha256}

    def resized(self, side: int | None, cell_bits: int | None) -> ArrayTarget:
        """Return a target of arrays of ``side`` × ``side`` cells, and of cells of so many bits; None: as they are.

        An array's energy and area go with its cells, what stands around it with its rows and columns.
        """
        cells = 1.0 if side is None else side**2 / (self.array.rows * self.array.columns)
        array = self.array if side is None else self.array.model_copy(update={"rows": side, "columns": side})
        events = dict(self.events)
        if "array" in events:
            events["array"] = events["array"].model_copy(update={"part": events["array"].part * cells})
        devices = {name: _sized(one, cells, cell_bits) for name, one in self.devices.items()}
        return self.model_copy(update={"array": array, "events": events, "devices": devices})

    def device(self, name: str | None) -> tuple[str, Device]:
        """Return a kind of cell and its name, the target's own by default; raises UsageError naming the nearest."""
        chosen = name or self.default_device
        if chosen not in self.devices:
            raise UsageError(
                f"--cells {chosen}: {self.name} has {', '.join(self.devices)}{nearest(chosen, self.devices)}"
            )
        return chosen, self.devices[chosen]


def _sized(one: Device, cells: float, cell_bits: int | None) -> Device:
    """Return a device whose arrays have ``cells`` times the cells; one of a single bit cannot hold more."""
    bits = one.cell_bits if cell_bits is None or one.cell_bits == 1 else cell_bits
    return one.model_copy(update={"area_um2": one.area_um2 * cells, "cell_bits": bits})


def _known(name: str, among: dict, where: str, what: str) -> None:
    if name not in among:
        raise ValueError(f"{where}: unknown {what} '{name}'{nearest(name, among)}; there is {', '.join(among)}")


_HINT = "compare it with a target that works: snnq imc map --toml"
_TARGETS = Shelf("target", TARGETS, ArrayTarget, MachineError, hint=_HINT, listing=_HINT)


def target_file(name_or_path: str | Path) -> Path:
    """Return the file of a target by name or path (``base.shelf``); raises MachineError naming the nearest name."""
    return _TARGETS.file(name_or_path)


def read_target(name_or_path: str | Path = DEFAULT_TARGET) -> ArrayTarget:
    """Return a target by name or path; raises MachineError naming the file and the key."""
    return _TARGETS.read(name_or_path)
