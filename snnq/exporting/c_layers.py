"""Layers of a packed folder as C arrays: codes still packed, what decodes them, and what their neurons compare.

A layer's codes are laid out for spikes: all outputs of one input side by side, as (kernel position, input, output), so
that a spike adds one row. Eight codes of b bits are b bytes, lowest bits first, and the outputs are padded to eights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snnq.base.errors import PackedError
from snnq.network.wiring import Stage
from snnq.packed import integers
from snnq.packed.arrays import PackedArrays
from snnq.packed.config import CONFIG_FILE, REPACK
from snnq.packed.integers import Neurons, Whole
from snnq.schemes.names import FLOAT32, split_name

_EIGHT = 8


@dataclass(frozen=True)
class CArray:
    """A constant array: the field of its layer that points to it, the C type of its numbers, and these."""

    field: str
    kind: str
    values: np.ndarray

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return self.values.size * {"int8_t": 1, "uint8_t": 1, "int32_t": 4, "int64_t": 8}[self.kind]


@dataclass(frozen=True)
class CLayer:
    """A layer and the neurons behind it; ``taps`` is 9 for a 3×3 kernel and 1 else.

    ``bits`` (0: no codes) and ``row`` (``uniform``, ``power``, ``scaled_power`` or ``fixed``) say how a row is decoded;
    ``width``, 32 or 64, is the bits that sums and voltages need.
    """

    name: str
    scheme: str
    inputs: int
    outputs: int
    taps: int
    row: str
    bits: int
    width: int
    arrays: tuple[CArray, ...]


@dataclass(frozen=True)
class CHead:
    """The head: ``weight`` by class and input, or ``codes`` of ``bits`` (0: none) and the ``levels`` of each class."""

    name: str
    scheme: str
    bits: int
    arrays: tuple[CArray, ...]


def c_layer(arrays: PackedArrays, stage: Stage, outputs: int, inputs: int, taps: int) -> CLayer:
    """Return a stage's layer; raises PackedError where it is missing, of another shape, or its sums pass 2^52."""
    scheme = arrays.scheme(stage.layer)
    _check_shape(arrays, stage.layer, outputs, inputs * taps)
    whole = arrays.whole(stage)
    # Sums beyond are exact in no engine; only a made-up zero-point reaches them.
    if float(np.abs(whole.values).sum(1, dtype=np.float64).max()) * stage.bound > integers.WIDE_SUM_LIMIT:
        raise PackedError(f"{arrays.folder}: the sums of layer '{stage.layer}' pass 2^52", REPACK)
    neurons = arrays.neurons(stage, whole)
    family, bits = split_name(scheme)
    if scheme == FLOAT32:
        row, bits, found = "fixed", 0, [_fixed(whole, neurons, taps)]
    elif family == "uniform":
        row, found = "uniform", _uniform(arrays, stage.layer, neurons, bits, taps)
    else:
        row = "scaled_power" if integers.is_wide(scheme) else "power"
        found = _power(arrays.codes(stage.layer), whole, neurons, bits, taps)
    number = "int64_t" if neurons.wide else "int32_t"
    found += [CArray("gain", "uint8_t", neurons.shift)]
    found += [CArray(f"{name}_{number[3:5]}", number, getattr(neurons, name)) for name in ("offset", "threshold")]
    return CLayer(stage.layer, scheme, inputs, outputs, taps, row, bits, 64 if neurons.wide else 32, tuple(found))


def c_head(arrays: PackedArrays, classes: int, inputs: int) -> CHead:
    """Return the head; raises PackedError where it is missing or of another shape."""
    name = arrays.wiring.head
    scheme = arrays.scheme(name)
    _check_shape(arrays, name, classes, inputs)
    head, bits = arrays.head(), split_name(scheme)[1]
    bias = CArray("bias", "int64_t", head.bias)
    if scheme == FLOAT32 or 2**bits >= inputs:  # a table of levels would be larger than the weights
        return CHead(name, scheme, 0, (CArray("weight", "int32_t", head.weight.ravel()), bias))
    codes = arrays.codes(name)
    levels = np.zeros((classes, 2**bits), np.int64)
    np.put_along_axis(levels, codes.astype(np.int64), head.weight, 1)
    packed = CArray("codes", "uint8_t", _packed(codes, bits))
    return CHead(name, scheme, bits, (packed, CArray("levels", "int32_t", levels.ravel()), bias))


def _check_shape(arrays: PackedArrays, name: str, outputs: int, inputs: int) -> None:
    if arrays.rows(name) != (outputs, inputs):
        due, found = [outputs, inputs], list(arrays.rows(name))
        raise PackedError(f"{arrays.folder / CONFIG_FILE}: layer '{name}' is {found}, its model needs {due}", REPACK)


def _uniform(arrays: PackedArrays, name: str, neurons: Neurons, bits: int, taps: int) -> list[CArray]:
    """Return codes, factor and origin of W = factor · q - origin, the norm's sign included."""
    halves = np.rint(arrays.params(name)["zero_point"] * 2)
    factor, origin = (part[:, 0] * neurons.sign for part in integers.uniform_form(halves))
    codes = _packed(_by_input(arrays.codes(name), taps), bits)
    return [
        CArray("codes", "uint8_t", codes),
        CArray("factor", "int8_t", _padded(factor)),
        CArray("origin", "int32_t", _padded(origin)),
    ]


def _power(codes: np.ndarray, whole: Whole, neurons: Neurons, bits: int, taps: int) -> list[CArray]:
    """Return codes sign | k whose signs include the norm's, and, in fixed point, ``base``: W = ±2^(k - base).

    In units W = ±2^(k-1). Levels that are rounded to zero take the code of zero.
    """
    negative, magnitude = codes >> (bits - 1), codes & (2 ** (bits - 1) - 1)
    negative = negative ^ (neurons.sign < 0)[:, None]
    live = (whole.values != 0) & (neurons.sign != 0)[:, None]
    codes = np.where(live, (negative << (bits - 1)) | magnitude, 0).astype(np.uint8)
    found = [CArray("codes", "uint8_t", _packed(_by_input(codes, taps), bits))]
    if whole.wide:
        exponent = np.frexp(np.abs(whole.values).astype(np.float64))[1] - 1
        base = np.where(live, magnitude.astype(np.int64) - exponent, -128).max(1)
        found.append(CArray("base", "int8_t", _padded(base)))
    return found


def _fixed(whole: Whole, neurons: Neurons, taps: int) -> CArray:
    values = _by_input(whole.values * neurons.sign[:, None], taps)
    return CArray("fixed", "int64_t", _padded(values).ravel())


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
