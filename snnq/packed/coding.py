"""One layer ↔ its tensors on disk, by family.

============  ===========================================================================================
family        tensors of ``<layer>``
============  ===========================================================================================
uniform       ``weight_packed`` int32 (out, words), ``weight_scale`` float32 (out, 1),
              ``weight_zero_point_halves`` int8 (out, 1): 2·z; int16 or int32 where a zero-point needs it
power-of-two  ``weight_pot_packed`` int32 (out, words), ``weight_scale_exp`` int8 (out, 1): e
both          ``weight_shape`` int64 (2,): out and in·k·k, the shape before packing
float32       ``weight`` float32, in the weight's own shape
============  ===========================================================================================
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from snnq.base.errors import PackedError, VerificationError
from snnq.packed.bitpack import pack_rows, unpack_rows, words_per_row
from snnq.packed.config import PackedLayer
from snnq.packed.safefile import REPACK, TensorFile
from snnq.schemes.names import FLOAT32, split_name
from snnq.schemes.scheme import Params, scheme

SHAPE = "weight_shape"
# Family → the tensor of the words, and the tensors of the parameters.
WORDS = {"uniform": "weight_packed", "power-of-two": "weight_pot_packed"}
SCALES = {"uniform": "weight_scale", "power-of-two": "weight_scale_exp"}
ZERO_POINTS = {"uniform": "weight_zero_point_halves"}
_INTEGERS = (torch.int8, torch.int16, torch.int32)


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


def tensor_names(name: str, family: str) -> tuple[str, ...]:
    """Return the names of a layer's tensors."""
    if family == FLOAT32:
        return (f"{name}.weight",)
    kinds = (WORDS, SCALES, ZERO_POINTS)
    return tuple(f"{name}.{key}" for key in (*(kind[family] for kind in kinds if family in kind), SHAPE))


def pack_layer(name: str, coded: Coded) -> dict[str, Tensor]:
    """Return the tensors of a quantised layer; raises VerificationError where a parameter cannot be stored exactly."""
    family, bits = split_name(coded.scheme)
    tensors = {WORDS[family]: pack_rows(coded.codes, bits), SHAPE: torch.tensor(coded.codes.shape)}
    if family == "uniform":
        halves = coded.params["zero_point"].double() * 2
        tensors[SCALES[family]] = coded.params["scale"]
        tensors[ZERO_POINTS[family]] = _whole(halves, f"layer {name}: twice the zero-point", _INTEGERS)
    else:
        exponent = coded.params["log2_scale"].double()
        tensors[SCALES[family]] = _whole(exponent, f"layer {name}: the scale's exponent", (torch.int8,))
    return {f"{name}.{key}": value.cpu() for key, value in tensors.items()}


def _whole(values: Tensor, what: str, dtypes: tuple[torch.dtype, ...]) -> Tensor:
    """Return whole numbers in the first integer type that holds all of them."""
    if not bool((values == values.round()).all()):
        raise VerificationError(f"{what} is not a whole number", "store rounded parameters: Scheme.stored(params)")
    for dtype in dtypes:
        if not values.numel() or float(values.abs().max()) <= torch.iinfo(dtype).max:
            return values.to(dtype)
    found, most = float(values.abs().max()), torch.iinfo(dtypes[-1]).max
    raise VerificationError(f"{what} is {found:g}, at most {most} can be stored", "finetune it with another scheme")


def unpack_layer(name: str, layer: PackedLayer, file: TensorFile) -> UnpackedLayer:
    """Return the codes and parameters of a quantised layer.

    Raises PackedError for a tensor that is missing or has another shape or type, and for parameters that are not
    finite.
    """
    rows, n = layer.shape[0], math.prod(layer.shape[1:])
    words = file.take(f"{name}.{WORDS[layer.family]}", (rows, words_per_row(n, layer.bits)), torch.int32)
    found = file.take(f"{name}.{SHAPE}", (2,), torch.int64).tolist()
    if found != [rows, n]:
        raise PackedError(f"{file.path}: '{name}.{SHAPE}' is {found}, the config says {[rows, n]}", REPACK)
    scale_dtype = torch.float32 if layer.family == "uniform" else torch.int8
    scales = file.take(f"{name}.{SCALES[layer.family]}", (rows, 1), scale_dtype).float()
    if layer.family == "uniform":
        halves = file.take(f"{name}.{ZERO_POINTS[layer.family]}", (rows, 1), *_INTEGERS)
        params = {"scale": scales, "zero_point": halves.float() / 2}
    else:
        params = {"log2_scale": scales}
    codes = unpack_rows(words, layer.bits, n)
    return UnpackedLayer(codes, params, torch.equal(pack_rows(codes, layer.bits), words))


def read_weight(name: str, layer: PackedLayer, file: TensorFile) -> Tensor:
    """Return a layer's weight in its own shape, float32: exactly what ``Scheme.decode`` gives for its codes."""
    if layer.family == FLOAT32:
        return file.take(f"{name}.weight", layer.shape, torch.float32)
    unpacked = unpack_layer(name, layer, file)
    return scheme(layer.scheme).decode(unpacked.codes, unpacked.params).view(layer.shape)


def weight_sha256(weight: Tensor) -> str:
    """Return the sha256 of a weight's float32 little-endian bytes, row-major."""
    return hashlib.sha256(weight.detach().cpu().contiguous().numpy().astype("<f4").tobytes()).hexdigest()
