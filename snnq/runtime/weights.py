"""What the engine keeps of a layer: its packed words, 64 output channels side by side, and its neurons."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from snnq.arithmetic.fixed_point import FixedPoint
from snnq.arithmetic.integers import Neurons
from snnq.base.errors import PackedError
from snnq.network.stages import Potential, Stage
from snnq.packed.arrays import PackedArrays
from snnq.runtime import frame_kernels, tables
from snnq.runtime.program import Call
from snnq.runtime.sparse_weights import SparseWeights, sparse_weights
from snnq.runtime.vectors import CHUNK, LANES
from snnq.schemes import power_of_two
from snnq.schemes.binary import BINARY
from snnq.schemes.format import Stored
from snnq.schemes.names import FLOAT32
from snnq.schemes.ternary import TERNARY
from snnq.schemes.uniform import UNIFORM, factor_and_origin
from snnq.schemes.whole import Whole
from snnq.schemes.words import pack_rows

# Groups of four are counted in 16 bits, with their pattern.
MAX_INPUTS = 2**16 // tables.PATTERNS * 4


# A compiled loop that fills a table, and its arguments behind the table.
Filling = tuple[Callable[..., None], tuple]
# Prepares what fills a block's table, from its first channel and number of lanes.
Build = Callable[[np.ndarray, int, int], Call]
Kept = tuple[np.ndarray, ...]
# What stands behind a layer; both have a ``sign`` for every row of W.
Behind = Neurons | FixedPoint


@dataclass(frozen=True)
class LayerWeights:
    """One layer, ready to run.

    ``build(table, first, lanes)`` prepares what fills a block's table from the packed words; ``kept`` are all arrays
    that stay in memory for it. ``table_type``, ``sum_type`` and ``neuron_type`` hold the rows, the sums and the
    voltages exactly. ``sides`` are the kernel's. ``inputs`` of a depth-wise layer are 1. ``numbers`` are shift, offset
    and threshold of the neurons behind the layer, or the D thresholds of integer neurons, or multiplier, half, shift
    and offset of its potentials, (out,) each, and ``rests`` what lanes past the last channel have of each: they never
    fire. ``given_numbers``: its input are numbers of either sign. ``windowed``: ``frame_kernels`` run it.
    ``sparse``: what ``sparse_kernels`` run where that pays.
    """

    name: str
    step: Stage | Potential
    outputs: int
    inputs: int
    sides: tuple[int, int]
    build: Build
    numbers: Kept
    rests: tuple[int, ...]
    leak: int
    table_type: type
    sum_type: type
    neuron_type: type
    kept: Kept
    given_numbers: bool = False
    windowed: bool = False
    sparse: SparseWeights | None = None

    @property
    def taps(self) -> int:
        """The kernel's positions: 9 of a 3×3 one."""
        return math.prod(self.sides)

    @property
    def radius(self) -> int:
        """How far the kernel reaches, where it is square."""
        return self.sides[0] // 2

    @property
    def depthwise(self) -> bool:
        """Whether every channel is by itself."""
        return self.step.made.depthwise

    @property
    def counts(self) -> bool:
        """Whether integer neurons are behind it."""
        return isinstance(self.step, Stage) and self.step.fires.rounds is not None

    @property
    def summed(self) -> bool:
        """Whether its sums are formed first: of numbers, or for integer neurons."""
        return self.given_numbers or self.counts

    @property
    def plain(self) -> bool:
        """Whether ``kernels.run_block`` runs it: neurons at every pixel."""
        other = self.summed or self.depthwise or self.step.made.strides != (1, 1) or self.leak not in (2, 3)
        return isinstance(self.step, Stage) and not (other or self.step.pooled)

    @property
    def groups(self) -> int:
        """Groups of four input channels."""
        return -(-self.inputs // 4)

    @property
    def blocks(self) -> int:
        """Blocks of 64 output channels."""
        return -(-self.outputs // LANES)

    @property
    def products(self) -> int:
        """Multiplications of a layer at one pixel and step: its weights."""
        return self.outputs * self.inputs * self.taps

    @property
    def table_size(self) -> int:
        """Elements of a block's table; a depth-wise layer has one of all blocks, which lies ready."""
        return 0 if self.depthwise else self.taps * self.groups * tables.PATTERNS * LANES

    @property
    def nbytes(self) -> int:
        """Bytes that stay in memory."""
        sparse = self.sparse.nbytes if self.sparse else 0
        return sparse + sum(array.nbytes for array in (*self.kept, *self.numbers))

    def block_numbers(self, block: int) -> tuple[np.ndarray, ...]:
        """Return the ``numbers`` of a block, (64,) each."""
        first = block * LANES
        found = []
        for values, rest in zip(self.numbers, self.rests, strict=True):
            part = np.full(LANES, rest, self.neuron_type)
            chosen = values[first : first + LANES]
            part[: len(chosen)] = chosen
            found.append(part)
        return tuple(found)


def read_layer(arrays: PackedArrays, one: Stage | Potential) -> LayerWeights:
    """Return a layer, ready to run; raises PackedError for tensors that do not fit."""
    taps, given_numbers = math.prod(one.made.sides), arrays.wiring.numbers(one.takes[0])
    outputs, n = arrays.layer(one.layer).matrix
    inputs = n // taps * one.made.groups
    _check_fits(arrays, one, inputs, given_numbers)
    network = arrays.network
    whole, behind = network.stage(one) if isinstance(one, Stage) else network.potential(one)
    if isinstance(behind, FixedPoint):
        leak, numbers = 2, _potentials(behind)
    else:
        leak = network.leak(one.fires) if isinstance(one, Stage) and behind.threshold.ndim == 1 else 2
        numbers = _thresholds(behind, np.int64 if behind.wide or given_numbers else np.int32)
    table_type, sum_type = _types(whole, behind.wide, one.bound)
    sum_type = np.int32 if one.made.depthwise and sum_type == np.int16 else sum_type
    build, kept = _depthwise(whole, behind, taps) if one.made.depthwise else _packed(arrays, one, whole, behind, taps)
    found = LayerWeights(
        name=one.layer,
        step=one,
        outputs=outputs,
        inputs=inputs,
        sides=one.made.sides,
        build=build,
        numbers=numbers.values,
        rests=numbers.rests,
        leak=leak,
        table_type=table_type,
        sum_type=np.int64 if given_numbers else sum_type,
        neuron_type=numbers.kind,
        kept=kept,
        given_numbers=given_numbers,
    )
    return _with_shortcut(found, whole, behind, arrays.wiring.graph.streams[one.takes[0]].kind == "counts")


def _check_fits(arrays: PackedArrays, one: Stage | Potential, inputs: int, given_numbers: bool) -> None:
    """Raise PackedError for a layer of more inputs, or another kernel, than the engine runs."""
    sides, kernel = one.made.sides, arrays.layer(one.layer).shape[2:]
    if inputs > MAX_INPUTS:
        raise PackedError(f"layer {one.layer}: {inputs} input channels, the integer engine runs up to {MAX_INPUTS}")
    odd = math.prod(sides) % 2 == 1 and (sides[0] == sides[1] or given_numbers)
    if math.prod(kernel) != math.prod(sides) or not odd:
        raise PackedError(f"layer {one.layer}: the integer engine runs square kernels of odd sides, not {kernel}")


class _Numbers(NamedTuple):
    """``numbers``, ``rests`` and ``neuron_type`` of a layer."""

    values: Kept
    rests: tuple[int, ...]
    kind: type


def _potentials(behind: FixedPoint) -> _Numbers:
    values = (behind.multiplier.astype(np.int32), behind.half, behind.shift.astype(np.int8))
    return _Numbers((*values, behind.offset.astype(np.int32)), (0, 0, 0, 0), np.int64)


def _thresholds(behind: Neurons, kind: type) -> _Numbers:
    """Return what neurons compare, in the type of their voltages: D thresholds of integer neurons."""
    never, threshold = int(np.iinfo(kind).max), behind.threshold.astype(kind)
    if threshold.ndim == 2:
        return _Numbers(tuple(threshold), (never,) * len(threshold), kind)
    return _Numbers((behind.shift.astype(np.int8), behind.offset.astype(kind), threshold), (0, 0, never), kind)


def _with_shortcut(layer: LayerWeights, whole: Whole, behind: Behind, counts: bool) -> LayerWeights:
    """Return a layer, ready also for what runs it faster where it can: windows of ``counts``, or sparse weights."""
    if not layer.plain or layer.neuron_type != np.int32 or layer.sum_type == np.int64:
        return layer
    if not counts:
        return replace(layer, sparse=sparse_weights(whole.values * behind.sign[:, None], layer.taps, layer.step.bound))
    small = layer.sides == (frame_kernels.SIDE,) * 2 and layer.inputs <= frame_kernels.CHANNELS
    narrow = np.abs(whole.values).sum(1).max(initial=0) <= np.iinfo(np.int16).max
    return replace(layer, windowed=bool(small and narrow and layer.leak == 2))


def _types(whole: Whole, wide: bool, bound: int) -> tuple[type, type]:
    """Return the smallest types that hold a table's rows, CHUNK of them added, and all sums."""
    if wide:
        return np.int64, np.int64
    largest = int(np.abs(whole.values).max(initial=0)) * 4 * CHUNK
    reach = int(np.abs(whole.values).sum(1).max(initial=0)) * bound
    if largest > np.iinfo(np.int16).max:
        return np.int32, np.int32
    if largest > np.iinfo(np.int8).max or reach > np.iinfo(np.int16).max:
        return np.int16, np.int32
    return np.int8, np.int16


def _depthwise(whole: Whole, behind: Behind, taps: int) -> tuple[Build, Kept]:
    """Return nothing to fill, and the weights as they are: flat, (taps, lanes) of all blocks."""
    values = whole.values * behind.sign[:, None]
    padded = np.pad(values.T, ((0, 0), (0, -len(values) % LANES)))
    return _nothing, (padded.astype(np.int64 if behind.wide else np.int32).reshape(-1),)


def _nothing(table: np.ndarray, first: int, lanes: int) -> Call:
    raise AssertionError("depth-wise weights are a table as they are")


def _packed(
    arrays: PackedArrays, step: Stage | Potential, whole: Whole, behind: Behind, taps: int
) -> tuple[Build, Kept]:
    """Return what fills a layer's tables, and the arrays it reads, all (k, out): k = tap · inputs + input."""
    one, stored, inputs = arrays.scheme(step.layer), arrays.stored(step.layer), whole.values.shape[1] // taps
    form = _whole if step.made.groups > 1 else _PACKED.get(one.family, _whole)
    loop, kept = form(stored, one.width, whole, behind, taps, step.room)

    def build(table: np.ndarray, first: int, lanes: int) -> Call:
        return loop, (table, *kept, first, lanes, taps, inputs)

    return build, tuple(one for one in kept if isinstance(one, np.ndarray))


def _float(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int, bound: int) -> Filling:
    weights = np.ascontiguousarray(_tap_major(stored.codes, taps))
    return tables.build_fixed, (weights, behind.sign / whole.unit)


def _uniform(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int, bound: int) -> Filling:
    factor, shift = (part[:, 0] * behind.sign for part in factor_and_origin(stored.params["zero_point"]))
    return _evenly(stored.codes, bits, factor, shift, taps)


def _ternary(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int, bound: int) -> Filling:
    return _evenly(stored.codes, bits, behind.sign, behind.sign, taps)  # W = code - 1


def _binary(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int, bound: int) -> Filling:
    return _evenly(stored.codes, bits, 2 * behind.sign, behind.sign, taps)  # W = 2 · code - 1


def _evenly(codes: np.ndarray, bits: int, factor: np.ndarray, shift: np.ndarray, taps: int) -> Filling:
    """Return words of codes whose W = factor · code - shift."""
    words = _words(_tap_major(codes, taps), bits)
    return tables.build_uniform, (words, bits, factor.astype(np.int8), _small(shift))


def _power(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int, bound: int) -> Filling:
    words, k = _words(_tap_major(stored.codes, taps), bits), power_of_two.sign_and_exponent(stored.codes, bits)[1]
    lead = power_of_two.lead_and_unit(k, stored.params["log2_scale"][:, 0], bits, bound)[0]
    return tables.build_power, (words, bits, behind.sign.astype(np.int8), _small(lead))


def _whole(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int, bound: int) -> Filling:
    """Return whole numbers as they are: of a format without a loop of its own, or with zeros between groups."""
    rows = _tap_major(_small(whole.values * behind.sign[:, None]), taps)
    return tables.build_whole, (np.ascontiguousarray(rows),)


# Formats whose tables are made of what is packed.
_PACKED = {FLOAT32: _float, UNIFORM.name: _uniform, power_of_two.POWER_OF_TWO.name: _power}
_PACKED |= {TERNARY.name: _ternary, BINARY.name: _binary}


def _small(values: np.ndarray) -> np.ndarray:
    """Return whole numbers in the smallest integer type that holds them."""
    return values.astype(np.min_scalar_type(-int(np.abs(values).max(initial=0)) - 1))


def _tap_major(rows: np.ndarray, taps: int) -> np.ndarray:
    """Return (out, inputs · taps) as (taps · inputs, out)."""
    out = len(rows)
    return rows.reshape(out, -1, taps).transpose(2, 1, 0).reshape(-1, out)


def _words(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return codes (k, out) as words (words, out), uint32: 32 // bits codes of a channel in each, the first lowest."""
    return np.ascontiguousarray(pack_rows(codes.T, bits).T).view(np.uint32)
