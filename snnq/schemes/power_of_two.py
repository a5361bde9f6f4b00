"""Power-of-two quantisation: one sign bit and b - 1 exponent bits, with a code for zero.

With K = 2^(b-1) - 1 and an integer exponent e per output channel (α = 2^e):

    ŵ = sign · α · 2^(k-K)  for exponent code k in 1 … K,   ŵ = 0 for k = 0

b = 2 gives {0, ±1}·α, b = 4 gives {0, ±2^-6 … ±2^0}·α. Rounding is to the nearest *level*. A code is
``sign << (b-1) | k``; zero is always code 0. Weights come as (out, n) matrices. Source: METHOD §2.

``log2_scale`` is a real number while it is learned and is rounded to e with a straight-through gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from snnq.schemes.rounding import round_ste

PARAMETERS = ("log2_scale",)
OPERATION = "power-of-two"
# Magnitudes up to the midpoint between the top level and the next one (2·α) round to the top; beyond is clipped.
CLIP = 1.5


def exponents(bits: int) -> int:
    """Return K = 2^(b-1) - 1, the number of exponents."""
    return 2 ** (bits - 1) - 1


def scale(params: dict[str, Tensor]) -> Tensor:
    """Return α = 2^round(log2_scale), (out, 1), with a straight-through gradient."""
    return torch.exp2(round_ste(params["log2_scale"]))


def exponent_codes(magnitude: Tensor, bits: int) -> Tensor:
    """Return the code k in 0 … K of the level nearest to |w|/α; ties go to the larger magnitude."""
    count = exponents(bits)
    mantissa, exponent = torch.frexp(magnitude)  # |w|/α = mantissa · 2^exponent, mantissa in [½, 1)
    nearest = exponent - 1 + (mantissa >= 0.75)
    # A power of two below half of the smallest level is nearer to zero than to that level.
    code = (nearest + count).clamp(1, count)
    return torch.where(magnitude < 2.0**-count, torch.zeros_like(code), code)


def codes(weight: Tensor, params: dict[str, Tensor], bits: int) -> Tensor:
    """Return the codes ``sign << (b-1) | k`` (out, n) as int32."""
    code = exponent_codes(weight.abs() / scale(params), bits)
    sign = ((weight < 0) & (code > 0)).to(code.dtype)
    return sign * 2 ** (bits - 1) + code


def values(code: Tensor, params: dict[str, Tensor], bits: int) -> Tensor:
    """Return ŵ for codes (out, n)."""
    count, code = exponents(bits), code.to(torch.int32)
    exponent = code % 2 ** (bits - 1)
    magnitude = torch.ldexp(scale(params).expand(code.shape), exponent - count)
    signed = torch.where(code >= 2 ** (bits - 1), -magnitude, magnitude)
    return torch.where(exponent == 0, torch.zeros_like(signed), signed)


def project(weight: Tensor, params: dict[str, Tensor], bits: int) -> tuple[Tensor, Tensor]:
    """Return ŵ and the mask of weights that are not clipped, both (out, n), without gradients."""
    return values(codes(weight, params, bits), params, bits), weight.abs() <= CLIP * scale(params)


def quantize(weight: Tensor, params: dict[str, Tensor], bits: int) -> Tensor:
    """Return ŵ (out, n), differentiable in the weight and in log2_scale."""
    alpha = scale(params)
    position = (weight / alpha).clamp(-CLIP, CLIP)
    level = values(codes(weight, params, bits), params, bits) / alpha
    return alpha * (position + (level - position).detach())


def fit(weight: Tensor, bits: int) -> dict[str, Tensor]:
    """Return log2_scale (out, 1), whole numbers, of least squared error per channel.

    The top level is searched from the power of two above the largest magnitude down by six octaves.
    """
    tiny = torch.finfo(weight.dtype).tiny ** 0.5
    top = weight.abs().amax(1, keepdim=True).clamp_min(tiny).log2().ceil()
    candidates = [{"log2_scale": top - i} for i in range(7)]
    errors = [(project(weight, p, bits)[0] - weight).square().sum(1, keepdim=True) for p in candidates]
    best = torch.cat(errors, 1).argmin(1, keepdim=True)
    return {"log2_scale": top - best}


def moved(params: dict[str, Tensor], shifts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters after a learned shift: log2_scale + Δ."""
    return {"log2_scale": params["log2_scale"] + shifts["log2_scale"]}


def stored(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters with log2_scale rounded to the exponent it stands for."""
    return {"log2_scale": params["log2_scale"].round()}


def grid(params: dict[str, Tensor], bits: int) -> Tensor:
    """Return every level of every channel, (out, 2^b - 1), ascending."""
    count = exponents(bits)
    up = torch.exp2(torch.arange(1 - count, 1, dtype=params["log2_scale"].dtype, device=params["log2_scale"].device))
    return scale(params) * torch.cat([-up.flip(0), up.new_zeros(1), up])
