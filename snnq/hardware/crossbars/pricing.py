"""Energy, time and area of what is counted on a target, by component.

    energy    Σ events · e_event, per inference and sample: array, driver, adc, mux, shift_add, buffer, interconnect,
              neuron, membrane; and ``write``, cells written · e_write of their device
    latency   Σ operands [ vectors · t_read + rows written one after the other · t_write ]: layers and products follow
              one another, and all arrays of one work at the same time
    area      arrays and what stands around them, tiles, and one membrane for every neuron

A PE takes part in a read wherever one of its arrays does. A tile is of one operand. Written cells are a device's
energy, never added to the chip's silently: it stands as a component of its own (docs/in-memory.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snnq.hardware.crossbars.counting import ArraySizes, Operand, OperandCounts, count
from snnq.hardware.crossbars.target import ArrayTarget, Device

WRITE = "write"


@dataclass(frozen=True)
class Priced:
    """An operand on a target: its ``counts``, and energy in pJ, area in µm² by component, and time in ns."""

    operand: Operand
    device: str
    counts: OperandCounts
    energy_pj: Mapping[str, float]
    area_um2: Mapping[str, float]
    read_ns: float
    write_ns: float

    @property
    def latency_ns(self) -> float:
        """Reads and writes, one after the other."""
        return self.read_ns + self.write_ns


def array_sizes(target: ArrayTarget, device: Device) -> ArraySizes:
    """Return the sizes that operands are counted with."""
    one = target.array
    return ArraySizes(one.rows, one.columns, device.cell_bits, one.arrays_per_pe, one.pes_per_tile)


def priced(operand: Operand, target: ArrayTarget, device: str, adc_bits: int) -> Priced:
    """Return what an operand takes on a target, in cells of a device."""
    name, cells = target.device(device)
    found = count(operand, array_sizes(target, cells))
    return Priced(
        operand=operand,
        device=name,
        counts=found,
        energy_pj=_energy(found, target, cells, adc_bits),
        area_um2=_area(found, target, cells, adc_bits),
        read_ns=found.vectors * target.array.read_ns,
        write_ns=found.row_writes * cells.write_ns,
    )


def _energy(counts: OperandCounts, target: ArrayTarget, cells: Device, adc_bits: int) -> dict[str, float]:
    happened = {
        "array": counts.reads,
        "driver": counts.rows_driven,
        "mux": counts.conversions,
        "shift_add": counts.conversions,
        "buffer": counts.pe_reads,
        "interconnect": counts.pe_reads,
    }
    spent = {event: number * target.event_pj(event) for event, number in happened.items() if event in target.events}
    spent["adc"] = counts.conversions * target.converter(adc_bits)[0]
    return spent | ({WRITE: counts.cell_writes * cells.write_pj} if counts.cell_writes else {})


def _area(counts: OperandCounts, target: ArrayTarget, cells: Device, adc_bits: int) -> dict[str, float]:
    one = target.array
    converters = counts.arrays * math.ceil(one.columns / one.columns_per_adc)
    standing = {
        "driver": counts.arrays * one.rows,
        "mux": converters,
        "shift_add": converters,
        "tile_adders": counts.tiles,
        "tile_buffer": counts.tiles,
        "tile_temporary": counts.tiles,
        "tile_interconnect": counts.tiles,
    }
    area = {part: number * target.part_um2(part) for part, number in standing.items() if part in target.areas}
    return area | {"array": counts.arrays * cells.area_um2, "adc": converters * target.converter(adc_bits)[1]}


def neuron_energy(updates: int, target: ArrayTarget, membrane_bits: int) -> dict[str, float]:
    """Return what so many updates of neurons take in pJ, by component."""
    happened = {"neuron": updates, "membrane": updates * membrane_bits}
    return {event: number * target.event_pj(event) for event, number in happened.items() if event in target.events}


def membrane_area(neurons: int, target: ArrayTarget, membrane_bits: int) -> dict[str, float]:
    """Return the area in µm² of a membrane for each neuron."""
    return {"membrane": neurons * membrane_bits * target.part_um2("membrane_bit")}


def summed(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of several splits by component."""
    names = dict.fromkeys(name for one in parts for name in one)
    return {name: math.fsum(one.get(name, 0.0) for one in parts) for name in names}
