"""One layer ↔ its tensors on disk, as its number format writes and reads them (``snnq.schemes.format``)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from snnq.base.errors import PackedError, VerificationError
from snnq.packed.config import PackedLayer
from snnq.packed.safefile import REPACK, TensorFile
from snnq.schemes.format import SHAPE, Stored
from snnq.schemes.scheme import Params, scheme


class Coded(NamedTuple):
    """A finished layer: its scheme's name, codes (out, n) uint8 and parameters, each (out, 1)."""

    scheme: str
    codes: Tensor
    params: Params


@dataclass(frozen=True)
class UnpackedLayer:
    """What a layer's tensors say: codes (out, n), parameters, and whether packing them again gives the same words."""

    codes: Tensor
    params: Params
    canonical: bool


def tensor_names(name: str, scheme_name: str) -> tuple[str, ...]:
    """Return the names of a layer's tensors."""
    return tuple(f"{name}.{key}" for key in scheme(scheme_name).format.tensors)


def pack_layer(name: str, coded: Coded) -> dict[str, Tensor]:
    """Return the tensors of a quantised layer; raises VerificationError where a parameter cannot be stored exactly."""
    params = {key: value.detach().cpu().numpy() for key, value in coded.params.items()}
    try:
        tensors = scheme(coded.scheme).write(coded.codes.cpu().numpy(), params)
    except VerificationError as problem:
        raise VerificationError(f"layer {name}: {problem.message}", problem.hint) from None
    return {f"{name}.{key}": torch.from_numpy(value) for key, value in tensors.items()}


def unpack_layer(name: str, layer: PackedLayer, file: TensorFile) -> UnpackedLayer:
    """Return the codes and parameters of a quantised layer.

    Raises PackedError for a tensor that is missing or has another shape or type, and for parameters that are not
    finite.
    """
    stored, one = _stored(name, layer, file), scheme(layer.scheme)
    again = one.write(*stored)
    words = [key for key, kind in one.format.tensors.items() if kind == "words"]
    canonical = all(np.array_equal(again[key], file.tensors[f"{name}.{key}"].numpy()) for key in words)
    params = {key: torch.from_numpy(value) for key, value in stored.params.items()}
    return UnpackedLayer(torch.from_numpy(stored.codes), params, canonical)


def _stored(name: str, layer: PackedLayer, file: TensorFile) -> Stored:
    """Return what a layer's tensors say; raises PackedError as ``unpack_layer`` does."""

    def take(key: str, shape: tuple[int, ...], *dtypes: str) -> np.ndarray:
        return file.take(f"{name}.{key}", shape, *(getattr(torch, dtype) for dtype in dtypes)).numpy()

    one = scheme(layer.scheme)
    if SHAPE in one.format.tensors:
        found, due = take(SHAPE, (2,), "int64").tolist(), [layer.shape[0], layer.columns]
        if found != due:
            raise PackedError(f"{file.path}: '{name}.{SHAPE}' is {found}, the config says {due}", REPACK)
    return one.read(take, layer.shape)


def read_weight(name: str, layer: PackedLayer, file: TensorFile) -> Tensor:
    """Return a layer's weight in its own shape, float32: exactly what ``Scheme.decode`` gives for its codes."""
    return torch.from_numpy(scheme(layer.scheme).weight(_stored(name, layer, file))).view(layer.shape)


def weight_sha256(weight: Tensor) -> str:
    """Return the sha256 of a weight's float32 little-endian bytes, row-major."""
    return hashlib.sha256(weight.detach().cpu().contiguous().numpy().astype("<f4").tobytes()).hexdigest()
