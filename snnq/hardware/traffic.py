"""What a machine moves for one layer: bits of its formats, to and from its cache and the memory off the chip.

Formats, of spikes in rows of C inputs (R rows, P planes, T steps) and of weights (K, N):

===================== ==================================================== ===========================================
dataflow              spikes                                               weights
===================== ==================================================== ===========================================
parallel-inner-join   a fibre a row: C bits, a pointer, and a word of      a fibre a column: K bits, a pointer,
                      ``lanes`` bits for each input that is not silent     and every value that is not zero
inner-join            one bit each: the mask is the value                  the same
outer-product         the row of each spike, a pointer a column and step   a fibre a row: a pointer; values and columns
gustavson             the column of each spike, a pointer a row and step   the same
===================== ==================================================== ===========================================

Off the chip: spikes come in once, outputs leave once. Weights come once where they take at most half the cache, and
again for every tile of work otherwise. The cache: inner joins read a row's fibre once and a column's for every tile of
``elements`` rows and every pass; an outer product reads all weights for every tile whose sums fill half the cache, and
reads and writes a sum for every weight added; Gustavson's order reads a row of weights for every spike, and writes and
reads what it merges a second time. Which half of the cache holds what is ours; the rest follows from the dataflows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from snnq.hardware.dataflows import DataflowCounts
from snnq.hardware.machine import Machine
from snnq.hardware.operands import passes


@dataclass(frozen=True)
class Traffic:
    """Bytes of one layer: off the chip by what they are, and to and from the cache."""

    spikes: float = 0.0
    weights: float = 0.0
    outputs: float = 0.0
    cache: float = 0.0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def off_chip(self) -> float:
        """All bytes off the chip."""
        return self.spikes + self.weights + self.outputs


def index_bits(count: int) -> int:
    """Return the bits that tell one of ``count`` places."""
    return max(1, (count - 1).bit_length())


def spike_bits(machine: Machine, rows: np.ndarray) -> int:
    """Return what spikes (P, T, R, C) take in the machine's format."""
    planes, steps, count, width = rows.shape
    array = machine.array
    if machine.dataflow == "parallel-inner-join":
        together = passes(rows, array.lanes)
        words = sum(len(one) * int(np.count_nonzero(one.any(0))) for one in together)
        return len(together) * count * (width + array.pointer_bits) + words
    if machine.dataflow == "inner-join":
        return rows.size
    outer = machine.dataflow == "outer-product"
    lists, places = (width, count) if outer else (count, width)
    return int(np.count_nonzero(rows)) * index_bits(places) + planes * steps * lists * array.pointer_bits


def weight_bits(machine: Machine, mask: np.ndarray, value_bits: int) -> int:
    """Return what weights (K, N) take whose ``mask`` says which are not zero."""
    inputs, outputs = mask.shape
    values, pointer = int(np.count_nonzero(mask)), machine.array.pointer_bits
    if machine.dataflow in ("parallel-inner-join", "inner-join"):
        return outputs * (inputs + pointer) + values * value_bits
    return inputs * pointer + values * (value_bits + index_bits(outputs))


def group_traffic(
    machine: Machine,
    planes: np.ndarray,
    mask: np.ndarray,
    value_bits: int,
    counts: DataflowCounts,
    *,
    kept: bool = False,
) -> Traffic:
    """Return the bytes of weights and of the cache for what one group multiplies: spikes (P, T, M, K), a mask (K, N).

    Spikes off the chip are not in it: they are stored by rows of the input, not by windows. ``kept``: an earlier call
    of the inference has brought the weights, which come again only where they do not fit.
    """
    stored = weight_bits(machine, mask, value_bits)
    fits = stored <= 4 * machine.memory.cache_bytes  # half of it, in bits
    once = 0 if kept else stored
    read = spike_bits(machine, planes)
    if machine.dataflow in ("parallel-inner-join", "inner-join"):
        tiles = -(-planes.shape[2] // machine.array.elements)
        again = tiles * len(passes(planes, machine.array.lanes))
        return Traffic(weights=(once if fits else again * stored) / 8, cache=(read + again * stored) / 8)
    entry = value_bits + index_bits(mask.shape[1])
    sums = machine.array.accumulator_bits
    if machine.dataflow == "outer-product":
        tiles = _tiles(machine, planes.shape[1] * planes.shape[2] * mask.shape[1])
        moved = tiles * stored + 2 * sums * counts.accumulates
        return Traffic(weights=(once if fits else tiles * stored) / 8, cache=(read + moved) / 8)
    moved = counts.accumulates * entry + 2 * counts.partial * (sums + index_bits(mask.shape[1]))
    loaded = once if fits else _united(machine, planes, mask) * entry
    return Traffic(weights=loaded / 8, cache=(read + moved) / 8)


def _tiles(machine: Machine, sums: int) -> int:
    """Return how many parts the sums of an outer product are made in: half the cache holds one."""
    return -(-sums * machine.array.accumulator_bits // (4 * machine.memory.cache_bytes))


def _united(machine: Machine, planes: np.ndarray, mask: np.ndarray) -> int:
    """Return the weights of all rows that are fetched where elements that work together share what they fetch."""
    rows, elements = planes.reshape(-1, planes.shape[-1]), machine.array.elements
    padded = np.zeros((-(-len(rows) // elements) * elements, rows.shape[1]), bool)
    padded[: len(rows)] = rows
    return int(padded.reshape(-1, elements, rows.shape[1]).any(1).sum(0) @ mask.sum(1))


def output_bits(machine: Machine, spikes: np.ndarray) -> int:
    """Return what spikes that neurons put out, (T, neurons), bool, take in the machine's format."""
    steps, neurons = spikes.shape
    if machine.dataflow == "parallel-inner-join":
        lanes = machine.array.lanes
        parts = [spikes[start : start + lanes] for start in range(0, steps, lanes)]
        return sum(neurons + len(one) * int(np.count_nonzero(one.any(0))) for one in parts)
    if machine.dataflow == "inner-join":
        return spikes.size
    return int(np.count_nonzero(spikes)) * index_bits(neurons)
