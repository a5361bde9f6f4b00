"""What the engine keeps of a layer: its packed words, 64 output channels side by side, and its neurons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snnq.arithmetic.integers import Neurons
from snnq.base.errors import PackedError
from snnq.network.wiring import Stage
from snnq.packed.arrays import PackedArrays
from snnq.runtime import tables
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
# Fills a block's table, from its first channel and number of lanes.
Build = Callable[[np.ndarray, int, int], None]
Kept = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class LayerWeights:
    """One layer, ready to run.

    ``build(table, first, lanes)`` fills a block's table from the packed words; ``kept`` are all arrays that stay in
    memory for it. ``table_type``, ``sum_type`` and ``neuron_type`` hold the rows, the sums and the voltages exactly.
    ``taps`` is 9 for a 3×3 kernel, 1 else.
    """

    name: str
    neuron: str
    outputs: int
    inputs: int
    taps: int
    bound: int
    build: Build
    shift: np.ndarray
    offset: np.ndarray
    threshold: np.ndarray
    table_type: type
    sum_type: type
    neuron_type: type
    kept: Kept

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
        """Elements of a block's table."""
        return self.taps * self.groups * tables.PATTERNS * LANES

    @property
    def nbytes(self) -> int:
        """Bytes that stay in memory."""
        return sum(array.nbytes for array in (*self.kept, self.shift, self.offset, self.threshold))

    def block_neurons(self, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return shift, offset and threshold of a block, (64,) each; lanes past the last channel never fire."""
        first = block * LANES
        found = []
        for values, rest in ((self.shift, 0), (self.offset, 0), (self.threshold, np.iinfo(self.neuron_type).max)):
            part = np.full(LANES, rest, self.neuron_type)
            chosen = values[first : first + LANES]
            part[: len(chosen)] = chosen
            found.append(part)
        return found[0], found[1], found[2]


def read_layer(arrays: PackedArrays, stage: Stage) -> LayerWeights:
    """Return a stage's layer; raises PackedError for tensors that do not fit."""
    whole = arrays.whole(stage)
    neurons = arrays.neurons(stage, whole)
    outputs, n = arrays.layer(stage.layer).matrix
    shape = arrays.layer(stage.layer).shape
    taps = int(np.prod(shape[2:]))
    if n // taps > MAX_INPUTS:
        raise PackedError(
            f"layer {stage.layer}: {n // taps} input channels, the integer engine runs up to {MAX_INPUTS}"
        )
    table_type, sum_type = _types(whole, neurons, stage.bound)
    build, kept = _packed(arrays, stage, whole, neurons, taps, n // taps)
    neuron_type = np.int64 if neurons.wide else np.int32
    return LayerWeights(
        name=stage.layer,
        neuron=stage.neuron,
        outputs=outputs,
        inputs=n // taps,
        taps=taps,
        bound=stage.bound,
        build=build,
        shift=neurons.shift.astype(np.int8),
        offset=neurons.offset.astype(neuron_type),
        threshold=neurons.threshold.astype(neuron_type),
        table_type=table_type,
        sum_type=sum_type,
        neuron_type=neuron_type,
        kept=kept,
    )


def _types(whole: Whole, neurons: Neurons, bound: int) -> tuple[type, type]:
    """Return the smallest types that hold a table's rows, CHUNK of them added, and all sums."""
    if neurons.wide:
        return np.int64, np.int64
    largest = int(np.abs(whole.values).max(initial=0)) * 4 * CHUNK
    reach = int(np.abs(whole.values).sum(1).max(initial=0)) * bound
    if largest > np.iinfo(np.int16).max:
        return np.int32, np.int32
    if largest > np.iinfo(np.int8).max or reach > np.iinfo(np.int16).max:
        return np.int16, np.int32
    return np.int8, np.int16


def _packed(
    arrays: PackedArrays, stage: Stage, whole: Whole, neurons: Neurons, taps: int, inputs: int
) -> tuple[Build, Kept]:
    """Return what fills a layer's tables, and the arrays it reads, all (k, out): k = tap · inputs + input."""
    one, stored = arrays.scheme(stage.layer), arrays.stored(stage.layer)
    loop, kept = _PACKED.get(one.family, _whole)(stored, one.width, whole, neurons, taps, stage.bound)

    def build(table: np.ndarray, first: int, lanes: int) -> None:
        loop(table, *kept, first, lanes, taps, inputs)

    return build, tuple(one for one in kept if isinstance(one, np.ndarray))


def _float(stored: Stored, bits: int, whole: Whole, neurons: Neurons, taps: int, bound: int) -> Filling:
    weights = np.ascontiguousarray(_tap_major(stored.codes, taps))
    return tables.build_fixed, (weights, neurons.sign / whole.unit)


def _uniform(stored: Stored, bits: int, whole: Whole, neurons: Neurons, taps: int, bound: int) -> Filling:
    factor, shift = (part[:, 0] * neurons.sign for part in factor_and_origin(stored.params["zero_point"]))
    return _evenly(stored.codes, bits, factor, shift, taps)


def _ternary(stored: Stored, bits: int, whole: Whole, neurons: Neurons, taps: int, bound: int) -> Filling:
    return _evenly(stored.codes, bits, neurons.sign, neurons.sign, taps)  # W = code - 1


def _binary(stored: Stored, bits: int, whole: Whole, neurons: Neurons, taps: int, bound: int) -> Filling:
    return _evenly(stored.codes, bits, 2 * neurons.sign, neurons.sign, taps)  # W = 2 · code - 1


def _evenly(codes: np.ndarray, bits: int, factor: np.ndarray, shift: np.ndarray, taps: int) -> Filling:
    """Return words of codes whose W = factor · code - shift."""
    words = _words(_tap_major(codes, taps), bits)
    return tables.build_uniform, (words, bits, factor.astype(np.int8), _small(shift))


def _power(stored: Stored, bits: int, whole: Whole, neurons: Neurons, taps: int, bound: int) -> Filling:
    words, k = _words(_tap_major(stored.codes, taps), bits), power_of_two.sign_and_exponent(stored.codes, bits)[1]
    lead = power_of_two.lead_and_unit(k, stored.params["log2_scale"][:, 0], bits, bound)[0]
    return tables.build_power, (words, bits, neurons.sign.astype(np.int8), _small(lead))


def _whole(stored: Stored, bits: int, whole: Whole, neurons: Neurons, taps: int, bound: int) -> Filling:
    """Return whole numbers as they are: of any format without a loop of its own."""
    rows = _tap_major(_small(whole.values * neurons.sign[:, None]), taps)
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
