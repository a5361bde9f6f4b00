"""How whole numbers are multiplied by arrays of written cells: what is read, converted, counted and added up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Generator, Tensor

from snnq.assessing.array_kernel import OperandWiring, read_arrays
from snnq.hardware.crossbars.analog import Cells, Sliced, Written
from snnq.runtime.workers import Workers

PIECE = 2**12  # inputs that are read in one piece; what is drawn at a read depends on it


@dataclass(frozen=True)
class Converter:
    """A converter of ``bits`` (None: one that does nothing to a sum), whose ``step`` is so many levels."""

    bits: int | None = None
    step: int = 1


@dataclass
class ReadTally:
    """What was counted while an operand was read; ``sums`` is a histogram of column sums, where it is asked for."""

    conversions: int = 0
    clipped: int = 0
    signal: float = 0.0
    noise: float = 0.0
    sums: Tensor | None = None

    @property
    def clipped_share(self) -> float:
        """The share of conversions whose sum was larger than the converter's largest, 0 … 1."""
        return self.clipped / self.conversions if self.conversions else 0.0

    @property
    def snr_db(self) -> float | None:
        """10 · log10 of Σ sum² / Σ (sum − what came of it)², in dB; None where there is no noise, or no signal."""
        return 10 * math.log10(self.signal / self.noise) if self.signal and self.noise else None


@dataclass
class Reading:
    """How operands are read: ``rows`` of an array, its converters, and what is drawn; ``tally`` counts.

    ``groups``: of an operand, of which ``together`` share an array: their cells of 0 conduct into each other's columns.
    ``columns``: of an array, without its reference; None: as many as an operand has. ``collect``: column sums are
    counted up, too.
    """

    rows: int
    converter: Converter
    cells: Cells
    draw: Generator
    tally: ReadTally = field(default_factory=ReadTally)
    groups: int = 1
    together: int = 1
    columns: int | None = None
    collect: bool = False

    def wiring(self, planes: int, written: Written, how: Sliced, signed: bool) -> OperandWiring:
        """Return what the compiled loop is told."""
        return OperandWiring(
            planes=planes,
            signs=2 if signed else 1,
            rows=self.rows,
            groups=self.groups,
            together=min(self.together, self.groups),
            slices=how.slices,
            base=2**how.cell_bits,
            paired=how.signed,
            columns=self.columns or written.cells.shape[2],
            zero=np.float32(written.zero),
            whole=self.cells.quiet,
            step=np.float32(self.converter.step),
            top=-1 if self.converter.bits is None else 2**self.converter.bits - 1,
            sigma=np.float32(self.cells.read_noise),
        )


@cache
def _workers(threads: int) -> Workers:
    return Workers(threads)


def multiply(values: Tensor, planes: int, written: Written, how: Sliced, reading: Reading, signed: bool) -> Tensor:
    """Return x · W as arrays make it, float64 (B, M, N), of whole x (B, M, K) of so many ``planes`` a sign.

    ``signed``: inputs below zero have planes of their own.
    """
    wiring, tally = reading.wiring(planes, written, how, signed), reading.tally
    batch, count, inputs = values.shape
    columns, down = written.cells.shape[2], math.ceil(inputs / reading.rows)
    arrays = batch // reading.groups * math.ceil(reading.groups / wiring.together) * math.ceil(columns / wiring.columns)
    tally.conversions += wiring.signs * planes * count * down * (batch * columns + (0 if how.signed else arrays))
    edges = range(0, count, PIECE)
    seed = int(torch.randint(2**62, (), generator=reading.draw)) if reading.cells.read_noise else 0
    largest = math.ceil(min(reading.rows, inputs * wiring.together) * (written.most + written.zero))
    clipped = np.zeros((len(edges), 1), np.int64)
    sums = np.zeros((len(edges), largest + 1 if reading.collect else 0), np.int64)
    out = np.zeros((batch, count, how.outputs))
    given = values.to(torch.int32).contiguous().numpy(), written.cells.contiguous().numpy()
    pieces = [
        (*given, start, min(start + PIECE, count), wiring, np.random.default_rng([seed, i]), clipped[i], sums[i], out)
        for i, start in enumerate(edges)
    ]
    _workers(torch.get_num_threads()).run(read_arrays, pieces)
    tally.clipped += int(clipped.sum())
    if reading.collect:
        found = torch.from_numpy(sums.sum(0))
        tally.sums = found if tally.sums is None else tally.sums + found
    return torch.from_numpy(out)
