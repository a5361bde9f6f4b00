"""Ternary weights with a real scale per output channel: what a weight adds is −s, nothing or s.

    ŵ = s · t,   t = clamp(round(w/s), −1, 1)

Nothing is multiplied: a spike adds its weight's sign, or is passed over. ``s`` > 0 is a real number, which the folded
norm takes. Weights come as (out, n) matrices. Source: TWN (Li & Liu 2016, arXiv:1605.04711), whose threshold of
0.7 · mean |w| approximates what ``fit`` finds exactly; gradients as in LSQ (Esser et al. 2020). Both signs share one
scale, unlike TTQ (Zhu et al. 2017).

A cost table has no operation that only adds. Ternary is billed as a shift and an addition, as power-of-two-2 is, whose
levels are the same but for the scale: what it costs is never said to be less than it is (docs/method.md §3).

On disk, five weights a byte (3⁵ = 243): 1.6 bits a weight. A byte is a whole number from −121 to 121,

    byte = Σ t_i · 3^i,   i = 0 … 4

in ``weight_trits`` int8 (out, ⌈n/5⌉), each row padded with zeros to whole bytes; ``weight_scale`` float32 (out, 1);
``weight_shape`` int64 (2,). A code is t + 1: 0, 1 or 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from snnq.schemes.format import SHAPE, SHIFT_OPERATION, Arrays, Format, Label, Params, Stored, Take, round_ste
from snnq.schemes.whole import Whole

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Float32, Num, UInt8
    from torch import Tensor
else:
    from snnq.base.lazy import torch

CODE_BITS = 2
TRITS = 5  # in a byte
BYTE_BITS = 8
_PLACES = 3 ** np.arange(TRITS, dtype=np.int16)
# What is added to a byte so that its digits are 0, 1 and 2: that of five ones.
_ONES = int(_PLACES.sum())


def codes(weight: Float[Tensor, "out n"], params: Params, width: int) -> Float[Tensor, "out n"]:
    """Return the codes t + 1 (out, n) as a float tensor of 0, 1 and 2."""
    return (weight / params["scale"]).round().clamp(-1, 1) + 1


def values(code: Num[Tensor, "out n"], params: Params, width: int) -> Float[Tensor, "out n"]:
    """Return ŵ = s · (code − 1) for codes (out, n)."""
    return params["scale"] * (code.to(params["scale"].dtype) - 1)


def project(
    weight: Float[Tensor, "*shape"], params: Params, width: int
) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Return ŵ and the mask of weights that are not clipped, both (out, n), without gradients."""
    position = (weight / params["scale"]).round()
    sign = position.clamp(-1, 1)
    return params["scale"] * sign, position == sign


def quantize(weight: Float[Tensor, "out n"], params: Params, width: int) -> Float[Tensor, "out n"]:
    """Return ŵ (out, n), differentiable in the weight and the scale: straight through where nothing is clipped."""
    return params["scale"] * round_ste(weight / params["scale"]).clamp(-1, 1)


def _smallest(weight: Tensor) -> float:
    """Return the smallest scale, so that a channel of zeros has levels too."""
    return torch.finfo(weight.dtype).tiny ** 0.5


def fit(weight: Float[Tensor, "out n"], width: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the scale (out, 1) of least squared error, exactly.

    With the k largest magnitudes of a channel at ±s, the best s is their mean, and the error is

        Σ w² − (Σ of the k largest |w|)² / k

    so that the best k is found among all of them by sorting.
    """
    magnitude = weight.abs()
    largest = magnitude.amax(1, keepdim=True).clamp_min(_smallest(weight))
    # Shares of the largest: their squares stay finite, whatever the weights.
    sums = (magnitude / largest).sort(1, descending=True).values.double().cumsum(1)
    count = torch.arange(1, weight.shape[1] + 1, device=weight.device)
    best = (sums.square() / count).argmax(1, keepdim=True)
    scale = largest * (sums.gather(1, best) / (best + 1)).to(weight.dtype)
    return {"scale": scale.clamp_min(_smallest(weight))}


def cover(weight: Float[Tensor, "out n"], width: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the scale (out, 1) that reaches each channel's largest magnitude."""
    return {"scale": weight.abs().amax(1, keepdim=True).clamp_min(_smallest(weight))}


def candidates(weight: Float[Tensor, "out n"], width: int, steps: int = 12) -> Iterator[Params]:
    """Yield scales (out, 1) from 1/steps of each channel's largest magnitude to all of it."""
    largest = cover(weight, width)["scale"]
    yield from ({"scale": (largest * (i / steps)).clamp_min(_smallest(weight))} for i in range(1, steps + 1))


def refine(
    weight: Float[Tensor, "out n"], params: Params, width: int, rounds: int = 2
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return a scale no worse than that given: codes and the mean of the magnitudes at ±s alternate."""
    magnitude, scale = weight.abs(), params["scale"]
    for _ in range(rounds):
        chosen = magnitude > scale / 2
        count = chosen.sum(1, keepdim=True)
        mean = (magnitude.double() * chosen).sum(1, keepdim=True) / count.clamp_min(1)
        scale = torch.where(count > 0, mean.to(scale.dtype), scale)
    return {"scale": scale.clamp_min(_smallest(weight))}


def moved(params: Params, shifts: Params) -> Params:
    """Return the scale after a learned shift: s · exp(Δs), which stays positive."""
    return {"scale": params["scale"] * torch.exp(shifts["scale"])}


def grid(params: dict[str, Float[Tensor, "out 1"]], width: int) -> Float[Tensor, "out 3"]:
    """Return −s, 0 and s of every channel, (out, 3)."""
    return torch.cat([-params["scale"], torch.zeros_like(params["scale"]), params["scale"]], 1)


def bytes_per_row(shape: Sequence[int]) -> int:
    """Return how many bytes a row of a weight (out, …) takes."""
    return -(-math.prod(shape[1:]) // TRITS)


def write(codes: UInt8[np.ndarray, "out n"], params: Arrays, width: int) -> Arrays:
    """Return a layer's tensors."""
    rows, n = codes.shape
    trits = np.zeros((rows, bytes_per_row(codes.shape) * TRITS), np.int16)
    trits[:, :n] = codes.astype(np.int16) - 1
    return {
        "weight_trits": (trits.reshape(rows, -1, TRITS) @ _PLACES).astype(np.int8),
        "weight_scale": params["scale"],
        SHAPE: np.array(codes.shape, np.int64),
    }


def read(take: Take, shape: tuple[int, ...], width: int) -> Stored:
    """Return what ``write`` was given."""
    rows, n = shape[0], math.prod(shape[1:])
    octets = take("weight_trits", (rows, bytes_per_row(shape)), "int8").astype(np.int16)
    found = (octets[:, :, None] + _ONES) // _PLACES % 3
    params = {"scale": take("weight_scale", (rows, 1), "float32")}
    return Stored(found.reshape(rows, -1)[:, :n].astype(np.uint8), params)


def decode(codes: UInt8[np.ndarray, "out n"], params: Arrays, width: int) -> Float32[np.ndarray, "out n"]:
    """Return ŵ = s · (code − 1), float32 (out, n)."""
    return params["scale"] * (codes.astype(np.float32) - 1)


def whole(codes: UInt8[np.ndarray, "out n"], params: Arrays, width: int, bound: int) -> Whole:
    """Return W = −1, 0 or 1, in units of the scale."""
    return Whole(codes.astype(np.int64) - 1, params["scale"].astype(np.float64)[:, 0])


TERNARY = Format(
    name="ternary",
    variants={"ternary": CODE_BITS},
    parameters={"scale": 1.0},
    operation=SHIFT_OPERATION,
    label=Label("t", hue=150, saturation=60, lightness=30, formula="ternary: ŵ = s · t, t = −1, 0 or 1"),
    fit=fit,
    cover=cover,
    candidates=candidates,
    refine=refine,
    moved=moved,
    stored=lambda params: {"scale": params["scale"]},
    quantize=quantize,
    project=project,
    codes=codes,
    values=values,
    grid=grid,
    tensors={"weight_trits": "words", "weight_scale": "scales", SHAPE: "shapes"},
    write=write,
    read=read,
    decode=decode,
    word_bits=lambda shape, width: shape[0] * bytes_per_row(shape) * BYTE_BITS,
    valid_codes=lambda width: np.arange(3),
    whole=whole,
    even=True,
    around_zero=lambda step, width: {"scale": step},
    bits=lambda shape, width: math.prod(shape) * BYTE_BITS / TRITS,
)
