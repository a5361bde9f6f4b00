"""One layer as C arrays: packed codes, and what its neurons compare."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from snnq.models.wiring import Stage
from snnq.packed import integers
from snnq.packed.arrays import PackedArrays
from snnq.schemes.names import FLOAT32, split_name

LINE = 110
_TYPES = {"i1": "int8_t", "u1": "uint8_t", "i4": "int32_t", "u4": "uint32_t", "i8": "int64_t"}


@dataclass(frozen=True)
class CArray:
    """A constant array: its C type, name, number of elements and their text."""

    type: str
    name: str
    size: int
    text: str
    nbytes: int


@dataclass(frozen=True)
class CLayer:
    """A layer in C: its arrays, and the struct that points to them; its weight is (``outputs``, ``columns``)."""

    name: str
    scheme: str
    symbol: str
    comment: str
    written_as: str
    bits: int
    outputs: int
    columns: int
    wide: bool
    arrays: tuple[CArray, ...]
    initialiser: str

    @property
    def row(self) -> int:
        """Bytes of one pixel's spikes."""
        return -(-self.outputs // 8)

    @property
    def nbytes(self) -> int:
        """Bytes of read-only data."""
        return sum(array.nbytes for array in self.arrays)


def c_layer(arrays: PackedArrays, stage: Stage) -> CLayer:
    """Return a stage's layer and neurons as C."""
    index = arrays.wiring.stages.index(stage)
    whole = arrays.whole(stage)
    found = arrays.neurons(stage, whole)
    (outputs, columns), scheme = arrays.rows(stage.layer), arrays.scheme(stage.layer)
    family, bits = split_name(scheme)
    shape = arrays.config.layers[stage.layer].shape
    side = shape[2] if len(shape) == 4 else 1
    parts: dict[str, np.ndarray] = {}
    if family == FLOAT32:
        form, stride = "FIXED_POINT", columns
        parts["whole"] = whole.values * found.sign[:, None]
    else:
        form, stride = ("UNIFORM" if family == "uniform" else "POWER_OF_TWO"), -(-columns // (32 // bits))
        parts["codes"] = arrays.words(stage.layer)
        params = arrays.params(stage.layer)
        if family == "uniform":
            factor, minus = integers.uniform_form(np.rint(params["zero_point"][:, 0] * 2))
            parts["factor"], parts["minus"] = (factor * found.sign).astype("i1"), (minus * found.sign).astype("i4")
        else:
            exponents = arrays.codes(stage.layer) & (2 ** (bits - 1) - 1)
            lead = integers.power_form(scheme, params["log2_scale"][:, 0], exponents, stage.bound)[0]
            parts["factor"], parts["minus"] = found.sign.astype("i1"), lead.astype("i4")
    sums = "i8" if found.wide else "i4"
    parts |= {
        "shift": found.shift.astype("u1"),
        "offset": found.offset.astype(sums),
        "threshold": found.threshold.astype(sums),
    }
    made = {name: _array(f"layer_{index}_{name}", values, name) for name, values in parts.items()}
    pointers = [made[name].name if name in made else "0" for name in _POINTERS]
    return CLayer(
        name=stage.layer,
        scheme=scheme,
        symbol=f"layer_{index}",
        comment=f"{re.sub(r'[^a-z0-9_.]', '?', stage.layer)}: {scheme}",
        written_as=f"{'int64 fixed point' if family == FLOAT32 else 'packed codes'}",
        bits=64 if family == FLOAT32 else bits,
        outputs=outputs,
        columns=columns,
        wide=found.wide,
        arrays=tuple(made.values()),
        initialiser=", ".join(map(str, (form, bits, shape[1], outputs, side, stride, *pointers))),
    )


_POINTERS = ("codes", "factor", "minus", "whole", "shift", "offset", "threshold")


def _array(name: str, values: np.ndarray, kind: str) -> CArray:
    # Offsets and thresholds are of the type of the sums, which the widest layer sets.
    c_type = "sum_t" if kind in ("offset", "threshold") else _TYPES[values.dtype.str[1:]]
    return CArray(c_type, name, values.size, numbers(values), values.nbytes)


def numbers(values: np.ndarray) -> str:
    """Return the elements of an array as lines of C; int64's smallest number never occurs."""
    suffix = {"u4": "u", "i8": ""}.get(values.dtype.str[1:], "")
    lines, line = [], ""
    for value in values.ravel().tolist():
        word = f"{value}{suffix}" if abs(value) < 2**31 or suffix else f"INT64_C({value})"
        if len(line) + len(word) + 2 > LINE:
            lines.append(line)
            line = ""
        line += f" {word},"
    return "\n".join(f"   {one}" for one in (*lines, line.rstrip(",")))
