"""Power-of-two quantisation: one sign bit and b - 1 exponent bits, with a code for zero.

With K = 2^(b-1) - 1 and an integer exponent e per output channel (α = 2^e):

    ŵ = sign · α · 2^(k-K)  for exponent code k in 1 … K,   ŵ = 0 for k = 0

b = 2 gives {0, ±1}·α, b = 4 gives {0, ±2^-6 … ±2^0}·α. Rounding is to the nearest *level*. A code is
``sign << (b-1) | k``; zero is always code 0. Weights come as (out, n) matrices. Source: docs/method.md §2.

``log2_scale`` is a real number while it is learned and is rounded to e with a straight-through gradient.

On disk: ``weight_pot_packed`` int32 (out, words), ``weight_scale_exp`` int8 (out, 1): e; ``weight_shape`` int64 (2,).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from snnq.schemes.format import SHAPE, SHIFT_OPERATION, Arrays, Format, Label, Stored, Take, round_ste
from snnq.schemes.names import BITS
from snnq.schemes.whole import Whole, fixed_bits
from snnq.schemes.words import as_integers, pack_rows, unpack_rows, word_bits, words_per_row

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64, Integer, Num, UInt8
    from torch import Tensor
else:
    from snnq.base.lazy import torch

# Magnitudes up to the midpoint between the top level and the next one (2·α) round to the top; beyond is clipped.
CLIP = 1.5
# The largest exponent of a scale that float32, and its int8 in a packed folder, can hold.
LARGEST = 127
# From here on the smallest and the largest level are too far apart for one int32 unit.
MAX_NARROW_BITS = 5


def exponents(bits: int) -> int:
    """Return K = 2^(b-1) - 1, the number of exponents."""
    return 2 ** (bits - 1) - 1


def scale(params: dict[str, Float[Tensor, "*channels"]]) -> Float[Tensor, "*channels"]:
    """Return α = 2^round(log2_scale), (out, 1), with a straight-through gradient."""
    return torch.exp2(round_ste(params["log2_scale"]))


def nearest_power(magnitude: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the power of two nearest to each magnitude ≥ 0 (1.5·2^j goes to 2^(j+1)); exact, no logarithm.

    Adding half a mantissa carries into the exponent from 1.5·2^j on; then the mantissa is cut off.
    """
    # Half a mantissa and the sign-and-exponent mask of each float format.
    parts = {torch.float32: (torch.int32, 1 << 22, -1 << 23), torch.float64: (torch.int64, 1 << 51, -1 << 52)}
    whole, half, mask = parts[magnitude.dtype]
    return ((magnitude.view(whole) + half) & mask).view(magnitude.dtype)


def relative_levels(magnitude: Float[Tensor, "*shape"], bits: int) -> Float[Tensor, "*shape"]:
    """Return the level nearest to |w|/α: 0 or 2^(1-K) … 1; below half of the smallest level it is 0."""
    count = exponents(bits)
    power = nearest_power(magnitude).clamp(2.0 ** (1 - count), 1.0)
    return power * (magnitude >= 2.0**-count)


def rounded(weight: Float[Tensor, "*shape"], alpha: Tensor, bits: int) -> Float[Tensor, "*shape"]:
    """Return ŵ, the level nearest to each weight, without gradients."""
    return torch.copysign(relative_levels((weight / alpha).abs(), bits) * alpha, weight)


def codes(weight: Float[Tensor, "out n"], params: dict[str, Tensor], bits: int) -> Int32[Tensor, "out n"]:
    """Return the codes ``sign << (b-1) | k`` (out, n) as int32."""
    level = relative_levels((weight / scale(params)).abs(), bits)
    # frexp writes 2^j as ½ · 2^(j+1), so that the top level 1 has exponent 1 and code K.
    code = torch.frexp(level).exponent - 1 + exponents(bits)
    code = torch.where(level > 0, code, torch.zeros_like(code))
    sign = ((weight < 0) & (level > 0)).to(code.dtype)
    return sign * 2 ** (bits - 1) + code


def values(code: Num[Tensor, "out n"], params: dict[str, Tensor], bits: int) -> Float[Tensor, "out n"]:
    """Return ŵ for codes (out, n)."""
    count, code = exponents(bits), code.to(torch.int32)
    exponent = code % 2 ** (bits - 1)
    magnitude = torch.ldexp(scale(params).expand(code.shape), exponent - count)
    signed = torch.where(code >= 2 ** (bits - 1), -magnitude, magnitude)
    return torch.where(exponent == 0, torch.zeros_like(signed), signed)


def project(
    weight: Float[Tensor, "*shape"], params: dict[str, Tensor], bits: int
) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Return ŵ and the mask of weights that are not clipped, both (out, n), without gradients."""
    alpha = scale(params)
    return rounded(weight, alpha, bits), weight.abs() <= CLIP * alpha


def quantize(weight: Float[Tensor, "out n"], params: dict[str, Tensor], bits: int) -> Float[Tensor, "out n"]:
    """Return ŵ (out, n), differentiable in the weight and in log2_scale."""
    alpha = scale(params)
    position = (weight / alpha).clamp(-CLIP, CLIP)
    level = rounded(weight.detach(), alpha.detach(), bits) / alpha.detach()
    return alpha * (position + (level - position).detach())


def cover(weight: Float[Tensor, "out n"], bits: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return log2_scale (out, 1) whose top level is the power of two nearest to each channel's largest magnitude."""
    tiny = torch.finfo(weight.dtype).tiny ** 0.5
    nearest = nearest_power(weight.abs().amax(1, keepdim=True).clamp_min(tiny))
    return {"log2_scale": nearest.log2().clamp_max(LARGEST)}


def candidates(weight: Float[Tensor, "out n"], bits: int) -> Iterator[dict[str, Tensor]]:
    """Yield log2_scales (out, 1): from the power of two above the largest magnitude down by six octaves."""
    tiny = torch.finfo(weight.dtype).tiny ** 0.5
    top = weight.abs().amax(1, keepdim=True).clamp_min(tiny).log2().ceil().clamp_max(LARGEST)
    yield from ({"log2_scale": top - i} for i in range(7))


def fit(weight: Float[Tensor, "out n"], bits: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return log2_scale (out, 1), whole numbers, of least squared error per channel: the best of ``candidates``."""
    return _best_of(weight, [one["log2_scale"] for one in candidates(weight, bits)], bits)


def refine(weight: Float[Tensor, "out n"], params: dict[str, Tensor], bits: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return parameters no worse than ``params``, at most an octave away: for weights that have moved a little."""
    return _best_of(weight, [params["log2_scale"] + i for i in (0, -1, 1)], bits)


def _best_of(
    weight: Float[Tensor, "out n"], candidates: list[Float[Tensor, "out 1"]], bits: int
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the log2_scale of least squared error, channel by channel; the earlier of equals."""
    errors = [(project(weight, {"log2_scale": one}, bits)[0] - weight).square().sum(1) for one in candidates]
    best = torch.stack(errors, 1).argmin(1, keepdim=True)
    return {"log2_scale": torch.cat(candidates, 1).gather(1, best)}


def moved(params: dict[str, Tensor], shifts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters after a learned shift: log2_scale + Δ."""
    return {"log2_scale": params["log2_scale"] + shifts["log2_scale"]}


def around_zero(step: Float[Tensor, "out 1"], bits: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return log2_scale (out, 1) of the grid whose smallest level is about ``step``."""
    return {"log2_scale": (step.log2() + exponents(bits) - 1).clamp_max(LARGEST)}


def stored(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters with log2_scale rounded to the exponent it stands for."""
    return {"log2_scale": params["log2_scale"].round()}


def grid(params: dict[str, Float[Tensor, "out 1"]], bits: int) -> Float[Tensor, "out levels"]:
    """Return every level of every channel, (out, 2^b - 1), ascending."""
    count = exponents(bits)
    up = torch.exp2(torch.arange(1 - count, 1, dtype=params["log2_scale"].dtype, device=params["log2_scale"].device))
    return scale(params) * torch.cat([-up.flip(0), up.new_zeros(1), up])


def write(codes: UInt8[np.ndarray, "out n"], params: Arrays, bits: int) -> Arrays:
    """Return a layer's tensors."""
    return {
        "weight_pot_packed": pack_rows(codes, bits),
        "weight_scale_exp": as_integers(params["log2_scale"], "the scale's exponent", "int8"),
        SHAPE: np.array(codes.shape, np.int64),
    }


def read(take: Take, shape: tuple[int, ...], bits: int) -> Stored:
    """Return what ``write`` was given."""
    rows, n = shape[0], int(np.prod(shape[1:]))
    words = take("weight_pot_packed", (rows, words_per_row(n, bits)), "int32")
    exponent = take("weight_scale_exp", (rows, 1), "int8").astype(np.float32)
    return Stored(unpack_rows(words, bits, n), {"log2_scale": exponent})


def sign_and_exponent(
    codes: UInt8[np.ndarray, "out n"], bits: int
) -> tuple[Int64[np.ndarray, "out n"], Int64[np.ndarray, "out n"]]:
    """Return the sign bit (0, 1) and the exponent code k of codes uint8 (out, n), both int64."""
    codes = codes.astype(np.int64)
    return codes >> (bits - 1), codes & exponents(bits)


def decode(codes: UInt8[np.ndarray, "out n"], params: Arrays, bits: int) -> Float32[np.ndarray, "out n"]:
    """Return ŵ = ±2^(e + k - K), and 0 for k = 0, float32 (out, n)."""
    negative, k = sign_and_exponent(codes, bits)
    with np.errstate(over="ignore"):
        power = np.ldexp(np.float32(1), params["log2_scale"].astype(int) + k - exponents(bits))
    return np.where(k > 0, np.where(negative == 1, -power, power), np.float32(0))


def whole(codes: UInt8[np.ndarray, "out n"], params: Arrays, bits: int, bound: int) -> Whole:
    """Return W = ±2^(k + lead) and its unit. Few exponents reach down to 1; of many, levels below 1 are cut to 0."""
    negative, k = sign_and_exponent(codes, bits)
    lead, unit = lead_and_unit(k, params["log2_scale"][:, 0], bits, bound)
    power = k + lead[:, None]
    size = np.where((k > 0) & (power >= 0), np.left_shift(1, np.maximum(power, 0)), 0)
    return Whole(np.where(negative == 1, -size, size), unit, wide=bits > MAX_NARROW_BITS)


def lead_and_unit(
    k: Integer[np.ndarray, "out n"], log2_scale: Float[np.ndarray, " out"], bits: int, bound: int
) -> tuple[Int64[np.ndarray, " out"], Float64[np.ndarray, " out"]]:
    """Return (lead int64, unit float64), (out,) each: a weight of exponent code k is ±2^(k + lead) units."""
    exponent = log2_scale.astype(np.int64) - exponents(bits)  # of the weight whose code is 0, if there were one
    if bits <= MAX_NARROW_BITS:
        return np.full(len(exponent), -1), np.ldexp(1.0, exponent + 1)
    lead = fixed_bits(k.shape[1], bound) - 1 - k.max(1)
    return lead, np.ldexp(1.0, exponent - lead)


POWER_OF_TWO = Format(
    name="power-of-two",
    variants={f"power-of-two-{bits}": bits for bits in BITS},
    parameters={"log2_scale": 0.0},
    operation=SHIFT_OPERATION,
    label=Label(
        "p",
        hue=28,
        saturation=78,
        formula="power-of-two-b: ŵ = ±2^(e + k − K), k = 1 … K = 2^(b−1) − 1, or 0",
        hatched=True,
    ),
    fit=fit,
    cover=cover,
    candidates=candidates,
    refine=refine,
    moved=moved,
    stored=stored,
    quantize=quantize,
    project=project,
    codes=codes,
    values=values,
    grid=grid,
    tensors={"weight_pot_packed": "words", "weight_scale_exp": "scales", SHAPE: "shapes"},
    write=write,
    read=read,
    decode=decode,
    word_bits=word_bits,
    # "Minus zero" is none: zero has one code.
    valid_codes=lambda bits: np.delete(np.arange(2**bits), 2 ** (bits - 1)),
    whole=whole,
    around_zero=around_zero,
    factor=scale,
    with_factor=lambda params, factor: {"log2_scale": factor.log2().round()},
)
