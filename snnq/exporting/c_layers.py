"""Layers of a packed folder as C arrays: codes still packed, what decodes them, and what their neurons compare.

A layer's codes are laid out for spikes: all outputs of one input side by side, as (kernel position, input, output), so
that a spike adds one row. Eight codes of b bits are b bytes, lowest bits first, and the outputs are padded to eights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from snnq.arithmetic.fixed_point import FixedPoint
from snnq.arithmetic.integers import Neurons
from snnq.base.errors import PackedError
from snnq.network.stages import Potential, Stage
from snnq.packed.arrays import PackedArrays
from snnq.packed.config import CONFIG_FILE, REPACK
from snnq.schemes import power_of_two
from snnq.schemes.binary import BINARY
from snnq.schemes.format import Stored
from snnq.schemes.ternary import TERNARY
from snnq.schemes.uniform import UNIFORM, factor_and_origin
from snnq.schemes.whole import WIDE_SUM_LIMIT, Whole

# Channels whose sums are formed at a time; the scratch for them is as many times as large as there are steps.
TILE = 32
_EIGHT = 8
# What stands behind a layer; both have a ``sign`` for every row of W.
Behind = Neurons | FixedPoint
# How a row is decoded, the bits of a code (0: no codes), and the arrays that it is decoded from.
Row = tuple[str, int, list["CArray"]]


@dataclass(frozen=True)
class CArray:
    """A constant array: the field of its layer that points to it, the C type of its numbers, and these."""

    field: str
    kind: str
    values: np.ndarray

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return self.values.size * int(self.kind.strip("uint_")) // 8


@dataclass(frozen=True)
class CLayer:
    """A layer and the neurons behind it, or the potentials that it keeps; ``sides`` are those of its kernel.

    ``most``: the spikes of integer neurons behind it, 0 where there are none. ``depthwise``: every output has one
    input. ``bits`` (0: no codes) and ``row`` (``uniform``, ``power``, ``scaled_power`` or ``fixed``) say how a row is
    decoded; ``width``, 32 or 64, is the bits that sums need.
    """

    name: str
    scheme: str
    inputs: int
    outputs: int
    sides: tuple[int, int]
    depthwise: bool
    most: int
    row: str
    bits: int
    width: int
    arrays: tuple[CArray, ...]

    @property
    def taps(self) -> int:
        """The kernel's positions."""
        return math.prod(self.sides)


@dataclass(frozen=True)
class CHead:
    """The head: ``weight`` by class and input, or ``codes`` of ``bits`` (0: none) and the ``levels`` of each class."""

    name: str
    scheme: str
    bits: int
    arrays: tuple[CArray, ...]


def c_layer(arrays: PackedArrays, one: Stage | Potential) -> CLayer:
    """Return a layer; raises PackedError where it is missing, of another shape, or its sums pass 2^52."""
    made, scheme = one.made, arrays.scheme(one.layer)
    inputs, taps = 1 if made.depthwise else arrays.wiring.graph.streams[made.takes[0]].channels, math.prod(made.sides)
    _check_shape(arrays, one.layer, made.outputs, inputs // made.groups * taps)
    whole, behind = arrays.network.stage(one) if isinstance(one, Stage) else arrays.network.potential(one)
    # Sums beyond are exact in no engine; only a made-up zero-point reaches them.
    if float(np.abs(whole.values).sum(1, dtype=np.float64).max()) * one.bound > WIDE_SUM_LIMIT:
        raise PackedError(f"{arrays.folder}: the sums of layer '{one.layer}' pass 2^52", REPACK)
    form = _ROWS.get(scheme.family, _fixed) if made.groups == 1 else _fixed
    row, bits, found = form(arrays.stored(one.layer), scheme.width, whole, behind, taps)
    return CLayer(
        name=one.layer,
        scheme=scheme.name,
        inputs=inputs,
        outputs=made.outputs,
        sides=made.sides,
        depthwise=made.depthwise,
        most=one.fires.rounds.most if isinstance(one, Stage) and one.fires.rounds else 0,
        row=row,
        bits=bits,
        width=64 if behind.wide else 32,
        arrays=(*found, *_numbers(behind)),
    )


def _numbers(behind: Behind) -> list[CArray]:
    """Return what is done with a layer's sums."""
    if isinstance(behind, FixedPoint):
        named = {"multiplier": ("int32_t", behind.multiplier), "fraction": ("uint8_t", behind.shift)}
        named["constant"] = ("int32_t", behind.offset)
    else:
        number = "int64_t" if behind.wide else "int32_t"
        named = {f"threshold_{number[3:5]}": (number, behind.threshold.ravel())}
        if behind.threshold.ndim == 1:
            named |= {"gain": ("uint8_t", behind.shift), f"offset_{number[3:5]}": (number, behind.offset)}
    return [CArray(name, kind, values) for name, (kind, values) in named.items()]


def c_head(arrays: PackedArrays, classes: int, inputs: int) -> CHead:
    """Return the head; raises PackedError where it is missing or of another shape."""
    name = arrays.wiring.head
    scheme = arrays.scheme(name)
    _check_shape(arrays, name, classes, inputs)
    head, bits = arrays.head(), scheme.code_bits
    bias = CArray("bias", "int64_t", head.bias)
    if scheme.is_float or 2**bits >= inputs:  # a table of levels would be larger than the weights
        return CHead(name, scheme.name, 0, (CArray("weight", "int32_t", head.weight.ravel()), bias))
    codes = arrays.stored(name).codes
    levels = np.zeros((classes, 2**bits), np.int64)
    np.put_along_axis(levels, codes.astype(np.int64), head.weight, 1)
    packed = CArray("codes", "uint8_t", _packed(codes, bits))
    return CHead(name, scheme.name, bits, (packed, CArray("levels", "int32_t", levels.ravel()), bias))


def _check_shape(arrays: PackedArrays, name: str, outputs: int, inputs: int) -> None:
    if arrays.layer(name).matrix != (outputs, inputs):
        due, found = [outputs, inputs], list(arrays.layer(name).matrix)
        raise PackedError(f"{arrays.folder / CONFIG_FILE}: layer '{name}' is {found}, its model needs {due}", REPACK)


def _uniform(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int) -> Row:
    """Return codes, factor and origin of W = factor · q - origin, the norm's sign included."""
    factor, origin = (part[:, 0] * behind.sign for part in factor_and_origin(stored.params["zero_point"]))
    return _evenly(stored.codes, bits, factor, origin, taps)


def _ternary(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int) -> Row:
    """Return codes of two bits, of W = q - 1."""
    return _evenly(stored.codes, bits, behind.sign, behind.sign, taps)


def _binary(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int) -> Row:
    """Return codes of one bit, of W = 2q - 1."""
    return _evenly(stored.codes, bits, 2 * behind.sign, behind.sign, taps)


def _evenly(codes: np.ndarray, bits: int, factor: np.ndarray, origin: np.ndarray, taps: int) -> Row:
    found = [
        CArray("codes", "uint8_t", _packed(_by_input(codes, taps), bits)),
        CArray("factor", "int8_t", _padded(factor)),
        CArray("origin", "int32_t", _padded(origin)),
    ]
    return "uniform", bits, found


def _power(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int) -> Row:
    """Return codes sign | k whose signs include the norm's, and, in fixed point, ``base``: W = ±2^(k - base).

    In units W = ±2^(k-1). Levels that are rounded to zero take the code of zero.
    """
    negative, k = power_of_two.sign_and_exponent(stored.codes, bits)
    negative = negative ^ (behind.sign < 0)[:, None]
    live = (whole.values != 0) & (behind.sign != 0)[:, None]
    codes = np.where(live, (negative << (bits - 1)) | k, 0).astype(np.uint8)
    found = [CArray("codes", "uint8_t", _packed(_by_input(codes, taps), bits))]
    if not whole.wide:
        return "power", bits, found
    exponent = np.frexp(np.abs(whole.values).astype(np.float64))[1] - 1
    base = np.where(live, k - exponent, -128).max(1)
    return "scaled_power", bits, [*found, CArray("base", "int8_t", _padded(base))]


def _fixed(stored: Stored, bits: int, whole: Whole, behind: Behind, taps: int) -> Row:
    """Return the whole numbers themselves: of float32, of groups, and of any format without a decoder in C."""
    values = _by_input(whole.values * behind.sign[:, None], taps)
    return "fixed", 0, [CArray("fixed", "int64_t", _padded(values).ravel())]


# Formats that C decodes from their codes.
_ROWS = {UNIFORM.name: _uniform, power_of_two.POWER_OF_TWO.name: _power, TERNARY.name: _ternary, BINARY.name: _binary}


def _by_input(matrix: np.ndarray, taps: int) -> np.ndarray:
    """Return (out, in · taps) as (taps · in, out)."""
    out = matrix.shape[0]
    return matrix.reshape(out, -1, taps).transpose(2, 1, 0).reshape(-1, out)


def _padded(values: np.ndarray) -> np.ndarray:
    """Return values with zeros up to the next multiple of eight on the last axis."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % _EIGHT)])


def _packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return codes (rows, n) uint8 as bytes, b for every eight codes of b bits, lowest first."""
    each = np.unpackbits(_padded(codes)[:, :, None], axis=2, count=bits, bitorder="little")
    return np.packbits(each.reshape(len(codes), -1), axis=1, bitorder="little").ravel()
