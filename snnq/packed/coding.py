"""One layer ↔ its tensors on disk, as its number format writes and reads them (``snnq.schemes.format``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snnq.base.errors import PackedError, VerificationError
from snnq.packed.config import PackedLayer
from snnq.packed.safefile import REPACK, TensorFile
from snnq.schemes.format import SHAPE, Arrays, Params, Stored
from snnq.schemes.scheme import scheme

if TYPE_CHECKING:
    from torch import Tensor


class Coded(NamedTuple):
    """A finished layer: its scheme's name, codes (out, n) uint8 and parameters, each (out, 1)."""

    scheme: str
    codes: Tensor
    params: Params

    def stored(self) -> Stored:
        """Return codes and parameters in numpy."""
        params = {key: value.detach().cpu().numpy() for key, value in self.params.items()}
        return Stored(self.codes.cpu().numpy(), params)


def other_tensors(file: TensorFile, layers: Mapping[str, PackedLayer]) -> Arrays:
    """Return the tensors of a file that belong to no layer."""
    owned = {f"{name}.{key}" for name, layer in layers.items() for key in scheme(layer.scheme).format.tensors}
    return {name: array for name, array in file.tensors.items() if name not in owned}


def pack_layer(name: str, coded: Coded) -> Arrays:
    """Return the tensors of a quantised layer; raises VerificationError where a parameter cannot be stored exactly."""
    return _pack(name, coded.scheme, coded.stored())


def _pack(name: str, scheme_name: str, stored: Stored) -> Arrays:
    try:
        tensors = scheme(scheme_name).write(stored)
    except VerificationError as problem:
        raise VerificationError(f"layer {name}: {problem.message}", problem.hint) from None
    return {f"{name}.{key}": value for key, value in tensors.items()}


def read_layer(name: str, layer: PackedLayer, file: TensorFile) -> Stored:
    """Return what a layer's tensors say.

    Raises PackedError for a tensor that is missing or has another shape or type, and for numbers that are not finite.
    """
    one = scheme(layer.scheme)

    def take(key: str, shape: tuple[int, ...], *dtypes: str) -> np.ndarray:
        return file.take(f"{name}.{key}", shape, *dtypes)

    if SHAPE in one.format.tensors:
        found, due = take(SHAPE, (2,), "int64").tolist(), list(layer.matrix)
        if found != due:
            raise PackedError(f"{file.path}: '{name}.{SHAPE}' is {found}, the config says {due}", REPACK)
    return one.read(take, layer.shape)


def is_canonical(name: str, layer: PackedLayer, stored: Stored, file: TensorFile) -> bool:
    """Return whether packing again what was read of a layer gives the same words."""
    again, kinds = _pack(name, layer.scheme, stored), scheme(layer.scheme).format.tensors
    words = [f"{name}.{key}" for key, kind in kinds.items() if kind == "words"]
    return all(np.array_equal(again[key], file.tensors[key]) for key in words)


def read_weight(name: str, layer: PackedLayer, file: TensorFile) -> np.ndarray:
    """Return a layer's weight in its own shape, float32: exactly what ``Scheme.decode`` gives for its codes."""
    return scheme(layer.scheme).weight(read_layer(name, layer, file)).reshape(layer.shape)


def weight_sha256(weight: np.ndarray) -> str:
    """Return the sha256 of a weight's float32 little-endian bytes, row-major."""
    return hashlib.sha256(weight.astype("<f4").tobytes()).hexdigest()
