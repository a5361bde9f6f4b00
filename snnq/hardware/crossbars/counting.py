"""What one operand takes on analog arrays: cells, arrays, reads, conversions and writes, counted.

An operand is a matrix of whole numbers, K inputs of each of N outputs, that lies in cells: a layer's weight, or what an
attention makes anew at every step. Its numbers have ``bits``, and a cell holds ``cell_bits`` of them: a number takes
S = ⌈bits / cell_bits⌉ slices, each a column of its own, and twice as many where numbers are signed (one column holds
what is above zero, the other what is below). Inputs come bit by bit: a spike is one bit and needs no converter, a whole
number up to m takes P = ⌈log2(m + 1)⌉ reads.

    columns  = N · S · (2 if signed)
    arrays   = groups · ⌈K / rows⌉ · ⌈columns / columns of an array⌉
    reads    = vectors · arrays,             vectors = positions · P · steps
    converted = vectors · groups · columns · ⌈K / rows⌉

Groups that are small enough lie on the diagonal of one array, where no two share a row or a column. Arrays are written
side by side, each row by row: the rows of such groups follow one another. An unsigned operand has one reference column
more in every array, of cells that hold 0: what these conduct all the same is taken away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Operand:
    """A matrix in cells, and how often it is read and written.

    ``inputs`` × ``outputs`` of each of ``groups``; ``planes``: bits of an input; ``positions``: input vectors a step;
    ``steps``: how many steps of an inference it is read in; ``writes``: how often an inference writes it; weights: 0.
    """

    name: str
    inputs: int
    outputs: int
    bits: int
    planes: int
    positions: int
    steps: int
    groups: int = 1
    signed: bool = True
    writes: int = 0


@dataclass(frozen=True)
class ArraySizes:
    """Rows and columns of an array, bits of a cell, and how many arrays and elements belong together."""

    rows: int
    columns: int
    cell_bits: int
    arrays_per_pe: int
    pes_per_tile: int


@dataclass(frozen=True)
class OperandCounts:
    """What an operand takes, per inference and sample where it happens again and again.

    ``utilisation``: the share of cells that hold a number, 0 … 1. ``vectors``: reads that follow one another;
    ``row_writes``: rows that are written one after the other.
    """

    slices: int
    columns: int
    arrays: int
    pes: int
    tiles: int
    utilisation: float
    vectors: int
    reads: int
    pe_reads: int
    rows_driven: int
    conversions: int
    cell_writes: int
    row_writes: int


def together(operand: Operand, sizes: ArraySizes) -> int:
    """Return how many groups lie on the diagonal of one array; 1 where a group fills one or more itself."""
    columns = columns_of(operand, sizes)
    if operand.inputs > sizes.rows or columns > sizes.columns:
        return 1
    return min(sizes.rows // operand.inputs, sizes.columns // columns)


def columns_of(operand: Operand, sizes: ArraySizes) -> int:
    """Return the columns of one group: N · S, twice as many where numbers are signed."""
    return operand.outputs * math.ceil(operand.bits / sizes.cell_bits) * (2 if operand.signed else 1)


def count(operand: Operand, sizes: ArraySizes) -> OperandCounts:
    """Return what an operand takes."""
    slices = math.ceil(operand.bits / sizes.cell_bits)
    columns = columns_of(operand, sizes)
    down, across = math.ceil(operand.inputs / sizes.rows), math.ceil(columns / sizes.columns)
    arrays = operand.groups * down * across
    if down == across == 1:  # groups on the diagonal
        arrays = math.ceil(operand.groups / together(operand, sizes))
    cells = operand.groups * operand.inputs * columns
    vectors = operand.positions * operand.planes * operand.steps
    pes = math.ceil(arrays / sizes.arrays_per_pe)
    reference = 0 if operand.signed else arrays
    return OperandCounts(
        slices=slices,
        columns=columns,
        arrays=arrays,
        pes=pes,
        tiles=math.ceil(pes / sizes.pes_per_tile),
        utilisation=cells / (arrays * sizes.rows * sizes.columns),
        vectors=vectors,
        reads=vectors * arrays,
        pe_reads=vectors * pes,
        rows_driven=vectors * operand.groups * operand.inputs * across,
        conversions=vectors * (operand.groups * columns * down + reference),
        cell_writes=operand.writes * cells,
        row_writes=operand.writes * min(operand.inputs * min(operand.groups, together(operand, sizes)), sizes.rows),
    )
