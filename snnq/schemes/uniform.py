"""Uniform quantisation with a real scale and a half-integer zero-point, per output channel.

    q = clamp(round(w / s + z), 0, 2^b - 1),   ŵ = s · (q - z)

``s`` > 0 is a real number; ``z`` is rounded to multiples of ½, so that ``2q - 2z`` is an integer and a
layer's sum is an integer times one scale. At b = 2 the symmetric grid is z = 1½: levels ±½s, ±1½s.

Weights come as (out, n) matrices. Source: docs/method.md §2 (the paper's uniform scheme, with a per-channel scale);
gradients as in LSQ (Esser et al. 2020) and LSQ+ (Bhalgat et al. 2020): straight-through rounding, none through
a clipped weight.

On disk: ``weight_packed`` int32 (out, words), ``weight_scale`` float32 (out, 1), ``weight_zero_point_halves`` int8
(out, 1): 2·z, int16 or int32 where a zero-point needs it; ``weight_shape`` int64 (2,): out and in·k·k.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from snnq.schemes.format import INTEGER_OPERATION, SHAPE, Arrays, Format, Label, Stored, Take, round_ste
from snnq.schemes.names import BITS
from snnq.schemes.whole import Whole
from snnq.schemes.words import as_integers, pack_rows, unpack_rows, word_bits, words_per_row

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool, Float, Float32, Int64, Num, UInt8
    from torch import Tensor
else:
    from snnq.base.lazy import torch

# How far from 0 a grid is fitted, in steps: halves fit in int16, and float32 tells a thousandth of a step.
FARTHEST = 2**14 - 1


def levels(bits: int) -> int:
    """Return the largest code, 2^b - 1."""
    return 2**bits - 1


def half_step(zero_point: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Round a zero-point to the nearest multiple of ½, with a straight-through gradient."""
    return round_ste(zero_point * 2) / 2


def codes(weight: Float[Tensor, "out n"], params: dict[str, Tensor], bits: int) -> Float[Tensor, "out n"]:
    """Return the codes q (out, n) as a float tensor of whole numbers in 0 … 2^b - 1."""
    return (weight / params["scale"] + half_step(params["zero_point"])).round().clamp(0, levels(bits))


def values(code: Num[Tensor, "*shape"], params: dict[str, Tensor], bits: int) -> Float[Tensor, "*shape"]:
    """Return ŵ = s · (q - z) for codes (out, n)."""
    return params["scale"] * (code.to(params["scale"].dtype) - half_step(params["zero_point"]))


def project(
    weight: Float[Tensor, "*shape"], params: dict[str, Tensor], bits: int
) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Return ŵ and the mask of weights that are not clipped, both (out, n), without gradients."""
    position = (weight / params["scale"] + half_step(params["zero_point"])).round()
    code = position.clamp(0, levels(bits))
    return values(code, params, bits), position == code


def quantize(weight: Float[Tensor, "out n"], params: dict[str, Tensor], bits: int) -> Float[Tensor, "out n"]:
    """Return ŵ (out, n), differentiable in the weight, the scale and the zero-point."""
    zero_point = half_step(params["zero_point"])
    code = round_ste(weight / params["scale"] + zero_point).clamp(0, levels(bits))
    return params["scale"] * (code - zero_point)


def _ends(weight: Float[Tensor, "out n"]) -> tuple[Float[Tensor, "out 1"], Float[Tensor, "out 1"]]:
    """Return each channel's least and greatest weight (out, 1), cut where a step beyond would be infinite."""
    most = torch.finfo(weight.dtype).max * 0.85
    return weight.amin(1, keepdim=True).clamp_min(-most), weight.amax(1, keepdim=True).clamp_max(most)


def _reaching(
    low: Float[Tensor, "out 1"], half: Float[Tensor, "out 1"], bits: int
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return scale and zero-point (out, 1) whose levels reach from ``low`` to ``low + 2 · half``, whatever their signs.

    The zero-point is rounded to a multiple of ½, which moves the ends by a quarter of a step at most. A range that is
    narrower than its distance from zero lets ``FARTHEST`` allow gets wider steps.
    """
    tiny = torch.finfo(low.dtype).tiny ** 0.5
    scale = torch.maximum(half / (levels(bits) / 2), low.abs() / FARTHEST).clamp_min(tiny)
    return {"scale": scale, "zero_point": (-low / scale * 2).round() / 2}


def cover(weight: Float[Tensor, "out n"], bits: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return scale and zero-point (out, 1) whose levels reach from each channel's least to its greatest weight."""
    low, high = _ends(weight)
    return _reaching(low, high / 2 - low / 2, bits)  # halves: the whole width of the largest numbers is infinite


def candidates(weight: Float[Tensor, "out n"], bits: int, steps: int = 24) -> Iterator[dict[str, Tensor]]:
    """Yield scales and zero-points (out, 1) of a clip search, with clips from 1/steps to 1.

    Grids symmetric about zero without a zero level (z = (2^b - 1)/2), about a zero level with one more level above or
    below (z = 2^(b-1) - 1 and 2^(b-1), which sparse channels need), and min–max shrunk about the channel's middle.
    """
    top = levels(bits)
    tiny = torch.finfo(weight.dtype).tiny ** 0.5
    magnitude = weight.abs().amax(1, keepdim=True).clamp_min(tiny)
    low, high = _ends(weight)
    # First a grid with a zero level: a channel of zeros stays exactly zero.
    yield {"scale": magnitude / ((top - 1) / 2), "zero_point": torch.full_like(magnitude, (top + 1) / 2)}
    for i in range(1, steps + 1):
        share = i / steps
        for below in (top / 2, (top - 1) / 2, (top + 1) / 2):
            reach = min(below, top - below)
            yield {"scale": magnitude * share / reach, "zero_point": torch.full_like(magnitude, below)}
        half = (high / 2 - low / 2) * share
        yield _reaching(low / 2 + high / 2 - half, half, bits)


def fit(weight: Float[Tensor, "out n"], bits: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return scale and zero-point (out, 1) of least squared error: the best of ``candidates``, refined."""
    tried = (_tried(weight, one["scale"], one["zero_point"], bits) for one in candidates(weight, bits))
    return refine(weight, reduce(_better, tried), bits, rounds=4)


def refine(
    weight: Float[Tensor, "out n"], params: dict[str, Tensor], bits: int, rounds: int = 1
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return parameters no worse than ``params``, found near them: for weights that have moved a little.

    A little more and less reach is tried; then codes and the closed-form scale ⟨w, q-z⟩/⟨q-z, q-z⟩ alternate, at the
    zero-point and half a step beside it.
    """
    scale, zero_point = params["scale"], half_step(params["zero_point"])
    best = _tried(weight, scale, zero_point, bits)
    for factor in (1.1, 1.03, 0.97):
        best = _better(best, _tried(weight, scale * factor, zero_point, bits))
    for _ in range(rounds):
        for shift in (0, 0, -0.5, 0.5):
            zero_point = best["zero_point"] + shift
            scale = _closed_scale(weight, best["scale"], zero_point, bits)
            best = _better(best, _tried(weight, scale, zero_point, bits))
    return {name: best[name] for name in ("scale", "zero_point")}


def _tried(
    weight: Float[Tensor, "out n"], scale: Float[Tensor, "out 1"], zero_point: Float[Tensor, "out 1"], bits: int
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return parameters, the zero-point a multiple of ½, with the squared error of what ``project`` gives by them."""
    value = _centred(weight, scale, zero_point, bits).mul_(scale)
    return {"scale": scale, "zero_point": zero_point, "error": value.sub_(weight).square_().sum(1, keepdim=True)}


def _centred(
    weight: Float[Tensor, "out n"], scale: Float[Tensor, "out 1"], zero_point: Float[Tensor, "out 1"], bits: int
) -> Float[Tensor, "out n"]:
    """Return q - z (out, n); in place, since a fit is hundreds of these."""
    return (weight / scale).add_(zero_point).round_().clamp_(0, levels(bits)).sub_(zero_point)


def _better(
    best: dict[str, Float[Tensor, "out 1"]], tried: dict[str, Float[Tensor, "out 1"]]
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return, channel by channel, whichever has the smaller error."""
    better = tried["error"] < best["error"]
    return {name: torch.where(better, tried[name], best[name]) for name in best}


def _closed_scale(
    weight: Float[Tensor, "out n"], scale: Float[Tensor, "out 1"], zero_point: Float[Tensor, "out 1"], bits: int
) -> Float[Tensor, "out 1"]:
    """Return the scale of least squared error for the codes of ``scale``, or ``scale`` if it is not positive."""
    tiny = torch.finfo(weight.dtype).tiny ** 0.5
    centred = _centred(weight, scale, zero_point, bits)
    closed = (weight * centred).sum(1, keepdim=True) / centred.square().sum(1, keepdim=True).clamp_min(tiny)
    return torch.where(closed > tiny, closed, scale)


def moved(params: dict[str, Tensor], shifts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters after learned shifts: s · exp(Δs), which stays positive, and z + Δz."""
    return {
        "scale": params["scale"] * torch.exp(shifts["scale"]),
        "zero_point": params["zero_point"] + shifts["zero_point"],
    }


def around_zero(step: Float[Tensor, "out 1"], bits: int) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the grid of that scale (out, 1) whose zero-point is a level: as many levels below it as above, and one."""
    return {"scale": step, "zero_point": torch.full_like(step, 2 ** (bits - 1) - 1)}


def with_zero(params: dict[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Return the parameters with z rounded to the nearest code, straight through: 0 is the level of that code."""
    return params | {"zero_point": round_ste(params["zero_point"]).clamp(0, levels(bits))}


def stored(params: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parameters with z rounded to the multiple of ½ it stands for."""
    return {"scale": params["scale"], "zero_point": half_step(params["zero_point"])}


def grid(params: dict[str, Float[Tensor, "out 1"]], bits: int) -> Float[Tensor, "out levels"]:
    """Return every level of every channel, (out, 2^b), ascending."""
    code = torch.arange(levels(bits) + 1, dtype=params["scale"].dtype, device=params["scale"].device)
    most = torch.finfo(params["scale"].dtype).max  # a level that no weight takes may lie beyond
    return values(code.expand(params["scale"].shape[0], -1), params, bits).clamp(-most, most)


def write(codes: UInt8[np.ndarray, "out n"], params: Arrays, bits: int) -> Arrays:
    """Return a layer's tensors; the zero-points, doubled, take the integer type that they need."""
    halves = params["zero_point"].astype(np.float64) * 2
    return {
        "weight_packed": pack_rows(codes, bits),
        "weight_scale": params["scale"],
        "weight_zero_point_halves": as_integers(halves, "twice the zero-point", "int8", "int16", "int32"),
        SHAPE: np.array(codes.shape, np.int64),
    }


def read(take: Take, shape: tuple[int, ...], bits: int) -> Stored:
    """Return what ``write`` was given."""
    rows, n = shape[0], int(np.prod(shape[1:]))
    words = take("weight_packed", (rows, words_per_row(n, bits)), "int32")
    halves = take("weight_zero_point_halves", (rows, 1), "int8", "int16", "int32")
    params = {"scale": take("weight_scale", (rows, 1), "float32"), "zero_point": halves.astype(np.float32) / 2}
    return Stored(unpack_rows(words, bits, n), params)


def decode(codes: UInt8[np.ndarray, "out n"], params: Arrays, bits: int) -> Float32[np.ndarray, "out n"]:
    """Return ŵ = s · (q - z), float32 (out, n)."""
    with np.errstate(over="ignore"):
        return params["scale"] * (codes.astype(np.float32) - params["zero_point"])


def factor_and_origin(
    zero_point: Float[np.ndarray, "out 1"],
) -> tuple[Int64[np.ndarray, "out 1"], Int64[np.ndarray, "out 1"]]:
    """Return (factor, origin), int64 (out, 1): W = factor · q - origin, from zero-points, multiples of ½.

    A whole zero-point gives W = q - z in units of the scale; a half one gives W = 2q - 2z in units of half of it.
    """
    halves = np.rint(zero_point.astype(np.float64) * 2).astype(np.int64)
    odd = halves & 1
    return 1 + odd, np.where(odd == 1, halves, halves >> 1)


def whole(codes: UInt8[np.ndarray, "out n"], params: Arrays, bits: int, bound: int) -> Whole:
    """Return W and its unit, exactly: W · unit = s · (q - z)."""
    factor, origin = factor_and_origin(params["zero_point"])
    return Whole(codes.astype(np.int64) * factor - origin, params["scale"].astype(np.float64)[:, 0] / factor[:, 0])


UNIFORM = Format(
    name="uniform",
    variants={f"uniform-{bits}": bits for bits in BITS},
    parameters={"scale": 1.0, "zero_point": 0.0},
    operation=INTEGER_OPERATION,
    label=Label("u", hue=208, saturation=62, formula="uniform-b: ŵ = s · (q − z), q = 0 … 2^b − 1"),
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
    tensors={
        "weight_packed": "words",
        "weight_scale": "scales",
        "weight_zero_point_halves": "zero_points",
        SHAPE: "shapes",
    },
    write=write,
    read=read,
    decode=decode,
    word_bits=word_bits,
    valid_codes=lambda bits: np.arange(2**bits),
    whole=whole,
    even=True,
    around_zero=around_zero,
    with_zero=with_zero,
)
