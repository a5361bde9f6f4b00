"""float32: weights as they are. Its "codes" on disk are the weights themselves; it has no levels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from snnq.schemes.format import FLOAT_OPERATION, Arrays, Format, Label, Stored, Take
from snnq.schemes.names import FLOAT32
from snnq.schemes.whole import fixed_point

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    from snnq.base.lazy import torch


def project(weight: Tensor, params: dict[str, Tensor], width: int) -> tuple[Tensor, Tensor]:
    """Return the weight itself, and that nothing of it is clipped."""
    return weight.detach(), torch.ones_like(weight, dtype=torch.bool)


def write(weight: np.ndarray, params: Arrays, width: int) -> Arrays:
    """Return the weight as its tensor."""
    return {"weight": weight}


def read(take: Take, shape: tuple[int, ...], width: int) -> Stored:
    """Return the weight as a matrix (out, n)."""
    return Stored(take("weight", shape, "float32").reshape(shape[0], -1), {})


def _no(what: str) -> NoReturn:
    raise ValueError(f"float32 has no {what}")


FLOAT = Format(
    name=FLOAT32,
    variants={FLOAT32: 32},
    parameters={},
    operation=FLOAT_OPERATION,
    label=Label("f", hue=216, saturation=4, lightness=64),
    fit=lambda weight, width: {},
    cover=lambda weight, width: {},
    candidates=lambda weight, width: (),
    refine=lambda weight, params, width: {},
    moved=lambda params, shifts: {},
    stored=lambda params: {},
    quantize=lambda weight, params, width: weight,
    project=project,
    codes=lambda weight, params, width: _no("codes"),
    values=lambda codes, params, width: _no("codes"),
    grid=lambda params, width: _no("levels"),
    tensors={"weight": "words"},
    write=write,
    read=read,
    decode=lambda weight, params, width: weight,
    word_bits=lambda shape, width: math.prod(shape) * width,
    valid_codes=lambda width: np.arange(0),
    whole=lambda weight, params, width, bound: fixed_point(weight, bound),
)
