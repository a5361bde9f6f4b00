"""float32: weights as they are. Its "codes" on disk are the weights themselves; it has no levels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from snnq.schemes.format import FLOAT_OPERATION, Format, Label, Stored
from snnq.schemes.names import FLOAT32
from snnq.schemes.whole import fixed_point

if TYPE_CHECKING:
    import torch
else:
    from snnq.base.lazy import torch


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
    project=lambda weight, params, width: (weight.detach(), torch.ones_like(weight, dtype=torch.bool)),
    codes=lambda weight, params, width: _no("codes"),
    values=lambda codes, params, width: _no("codes"),
    grid=lambda params, width: _no("levels"),
    tensors={"weight": "words"},
    write=lambda weight, params, width: {"weight": weight},
    read=lambda take, shape, width: Stored(take("weight", shape, "float32").reshape(shape[0], -1), {}),
    decode=lambda weight, params, width: weight,
    word_bits=lambda shape, width: math.prod(shape) * width,
    valid_codes=lambda width: np.arange(0),
    whole=lambda weight, params, width, bound: fixed_point(weight, bound),
)
