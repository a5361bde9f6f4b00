"""Binary weights with a real scale per output channel: a weight is added or taken away.

    ŵ = s · b,   b = 1 where w ≥ 0, else −1

There is no level at zero, and nothing is multiplied. ``s`` ≥ 0 is a real number, which the folded norm takes; it is 0
where all weights of a channel are, so that they stay so. Weights come as (out, n) matrices. Source: XNOR-Net (Rastegari
et al. 2016, arXiv:1603.05279), whose best scale is the mean magnitude.

The gradient passes straight through where |w| ≤ 2s, as of Courbariaux et al. 2016 (Binarized Neural Networks,
arXiv:1602.02830): 1 where |r| ≤ 1, of r = w/(2s), levels being 2s apart. That is LSQ's rule for a grid of one bit, too.
The signs do not depend on s, so that ∂ŵ/∂s = b exactly, clipped or not (XNOR-Net++, Bulat & Tzimiropoulos 2019).

A cost table has no operation that only adds. Binary is billed as a shift and an addition, as ternary is: what it costs
is never said to be less than it is (docs/method.md §3).

On disk, one bit a weight: ``weight_signs`` int32 (out, words), 32 a word, the first in its lowest bit, 1 for +s;
``weight_scale`` float32 (out, 1); ``weight_shape`` int64 (2,).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from snnq.schemes.format import SHAPE, SHIFT_OPERATION, Arrays, Format, Label, Params, Stored, Take
from snnq.schemes.whole import Whole
from snnq.schemes.words import pack_rows, unpack_rows, word_bits, words_per_row

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Float32, Num, UInt8
    from torch import Tensor
else:
    from snnq.base.lazy import torch

# In scales: so far from zero a weight still gets gradients.
CLIP = 2


def codes(weight: Float[Tensor, "*shape"], params: Params, width: int) -> Float[Tensor, "*shape"]:
    """Return the codes (out, n): 1 where a weight is at least 0, else 0."""
    return (weight >= 0).to(params["scale"].dtype)


def values(code: Num[Tensor, "*shape"], params: Params, width: int) -> Float[Tensor, "*shape"]:
    """Return ŵ = s · (2 · code − 1) for codes (out, n); a scale of 0 gives no minus zero."""
    return params["scale"] * (2 * code.to(params["scale"].dtype) - 1) + 0.0


def project(
    weight: Float[Tensor, "*shape"], params: Params, width: int
) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Return ŵ and the mask of weights that get gradients, both (out, n), without gradients."""
    return values(codes(weight, params, width), params, width), weight.abs() <= CLIP * params["scale"]


def quantize(weight: Float[Tensor, "out n"], params: Params, width: int) -> Float[Tensor, "out n"]:
    """Return ŵ (out, n), differentiable in the weight (straight through within 2s) and in the scale (by the signs)."""
    reach = CLIP * params["scale"].detach()
    passing = weight.clamp(-reach, reach)
    return values(codes(weight, params, width), params, width) + (passing - passing.detach())


def fit(weight: Float[Tensor, "out n"], width: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the scale (out, 1) of least squared error: the mean magnitude (XNOR-Net)."""
    return {"scale": weight.abs().double().mean(1, keepdim=True).to(weight.dtype)}


def cover(weight: Float[Tensor, "out n"], width: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the scale (out, 1) that reaches each channel's largest magnitude."""
    return {"scale": weight.abs().amax(1, keepdim=True)}


def candidates(weight: Float[Tensor, "out n"], width: int) -> Iterator[Params]:
    """Yield the fit: codes are the same at every scale, and of these codes every measure gives the scale itself."""
    yield fit(weight, width)


def moved(params: Params, shifts: Params) -> Params:
    """Return the scale after a learned shift: s · exp(Δs), which keeps its sign."""
    return {"scale": params["scale"] * torch.exp(shifts["scale"])}


def write(codes: UInt8[np.ndarray, "out n"], params: Arrays, width: int) -> Arrays:
    """Return a layer's tensors."""
    return {
        "weight_signs": pack_rows(codes, width),
        "weight_scale": params["scale"],
        SHAPE: np.array(codes.shape, np.int64),
    }


def read(take: Take, shape: tuple[int, ...], width: int) -> Stored:
    """Return what ``write`` was given."""
    rows, n = shape[0], math.prod(shape[1:])
    words = take("weight_signs", (rows, words_per_row(n, width)), "int32")
    return Stored(unpack_rows(words, width, n), {"scale": take("weight_scale", (rows, 1), "float32")})


def decode(codes: UInt8[np.ndarray, "out n"], params: Arrays, width: int) -> Float32[np.ndarray, "out n"]:
    """Return ŵ = s · (2 · code − 1), float32 (out, n)."""
    return params["scale"] * (2 * codes.astype(np.float32) - 1) + np.float32(0)


def whole(codes: UInt8[np.ndarray, "out n"], params: Arrays, width: int, bound: int) -> Whole:
    """Return W = ±1, in units of the scale; 0 where that is 0."""
    unit = params["scale"].astype(np.float64)
    return Whole((2 * codes.astype(np.int64) - 1) * (unit != 0), unit[:, 0])


BINARY = Format(
    name="binary",
    variants={"binary": 1},
    parameters={"scale": 1.0},
    operation=SHIFT_OPERATION,
    label=Label("b", hue=285, saturation=45, lightness=26, formula="binary: ŵ = s where w ≥ 0, else −s"),
    fit=fit,
    cover=cover,
    candidates=candidates,
    refine=lambda weight, params, width: fit(weight, width),
    moved=moved,
    stored=lambda params: {"scale": params["scale"]},
    quantize=quantize,
    project=project,
    codes=codes,
    values=values,
    grid=lambda params, width: torch.cat([-params["scale"], params["scale"]], 1),
    tensors={"weight_signs": "words", "weight_scale": "scales", SHAPE: "shapes"},
    write=write,
    read=read,
    decode=decode,
    word_bits=word_bits,
    valid_codes=lambda width: np.arange(2),
    whole=whole,
)
