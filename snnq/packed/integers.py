"""The arithmetic of a packed model: whole numbers only, the same in every engine.

A layer's decoded weight is ŵ = unit · W with whole W, so with whole inputs its sum is unit · a with a whole
``a = Σ W·x``. The folded batch normalisation and the LIF neuron (tau 2, hard reset to 0) behind it are

    x = multiplier · unit · a + offset,   h = v + (x - v)/2,   spike = [h ≥ θ],   v = h · (1 - spike)

Counted in parts of g = multiplier · unit / 2^shift, and for u = 2h, that becomes

    u = ⌊v⌋ + (a << shift) + B,   spike = [u ≥ Θ],   v = 0 on a spike, else u >> 1
    B = round(offset / g),   Θ = round(2θ / g)

with whole numbers throughout. Rounding v down at every step loses nothing: whole numbers are added to it and compared
with it, and ⌊(⌊u⌋ + n)/2⌋ = ⌊(u + n)/2⌋ for whole n. So this *is* the LIF of B and Θ in exact arithmetic; both are off
by at most half a 2^-shift of a unit, where float32 sums are off by their rounding. A negative multiplier turns W's
signs. Sums are exact in any order, in integers as in floating point of enough bits: every engine gives the same spikes.
Source: ours (docs/method.md §5).

Layers whose weights are no small whole multiples of a unit (float32, power-of-two of 6 bits and more) are rounded to
fixed point far below their own precision's effect: sums of up to 2^52, exact in float64 and int64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snnq.schemes.names import FLOAT32, split_name

# Two sets of limits: for sums in int32, and for wide layers in int64.
SUM_LIMIT, WIDE_SUM_LIMIT = 2**26, 2**52
NEURON_LIMIT, WIDE_NEURON_LIMIT = 2**28, 2**60
MAX_SHIFT, MAX_WIDE_SHIFT = 16, 8
WIDE_WEIGHT_BITS = 40
HEAD_WEIGHT_BITS = 30
# From here on power-of-two's smallest and largest levels are too far apart for one int32 unit.
MAX_NARROW_POWER_BITS = 5
# Θ of a channel that no weight reaches: its offset alone is compared with its threshold.
IDLE_THRESHOLD = 2**20
# Sums of an attention stay below 2^20: so do the largest head times the most tokens that fit this engine.
MIXING_SHIFT = 8


@dataclass(frozen=True)
class Whole:
    """A weight as whole numbers: ``values`` int64 (out, n) times ``unit`` float64 (out,).

    ``wide``: they are in fixed point, and their sums need int64.
    """

    values: np.ndarray
    unit: np.ndarray
    wide: bool = False


@dataclass(frozen=True)
class Neurons:
    """What the neurons behind a layer compare: ``sign`` (-1, 0, 1) turns each row of W; all int64 (out,).

    ``wide``: the sums and voltages need int64; else int32 holds them all.
    """

    sign: np.ndarray
    shift: np.ndarray
    offset: np.ndarray
    threshold: np.ndarray
    wide: bool


@dataclass(frozen=True)
class Head:
    """logits = (weight · S + bias) · scale for the sums S over tokens and steps; int64 (classes, n) and (classes,)."""

    weight: np.ndarray
    bias: np.ndarray
    scale: float


def is_wide(scheme: str) -> bool:
    """Return whether a scheme's weights are rounded to fixed point instead of counted in units."""
    family, bits = split_name(scheme)
    return family == FLOAT32 or (family == "power-of-two" and bits > MAX_NARROW_POWER_BITS)


def uniform_form(halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (factor, shift), int64: W = factor · q - shift, from twice the zero-points, whole numbers of any shape.

    A whole zero-point gives W = q - z in units of the scale; a half one gives W = 2q - 2z in units of half of it.
    """
    halves = halves.astype(np.int64)
    odd = halves & 1
    return 1 + odd, np.where(odd == 1, halves, halves >> 1)


def whole_weight(scheme: str, codes: np.ndarray, params: Mapping[str, np.ndarray], bound: int) -> Whole:
    """Return a quantised weight's codes (out, n) uint8 as whole numbers and their unit.

    ``params``: ``scale`` and ``zero_point``, or ``log2_scale``, each (out, 1). ``bound``: the largest input.
    """
    family, bits = split_name(scheme)
    q = codes.astype(np.int64)
    if family == "uniform":
        factor, shift = uniform_form(np.rint(params["zero_point"].astype(np.float64) * 2))
        return Whole(q * factor - shift, params["scale"].astype(np.float64)[:, 0] / factor[:, 0])
    sign, k = 1 - 2 * (q >> (bits - 1)), q & (2 ** (bits - 1) - 1)
    lead, unit = power_form(scheme, params["log2_scale"][:, 0], k, bound)
    power = k + lead[:, None]
    values = np.where((k > 0) & (power >= 0), sign * np.left_shift(1, np.maximum(power, 0)), 0)
    return Whole(values, unit, wide=is_wide(scheme))


def power_form(scheme: str, log2_scale: np.ndarray, k: np.ndarray, bound: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (lead int64, unit float64), (out,) each: a power-of-two weight of exponent code k is ±2^(k + lead) units.

    Few exponents reach down to one unit. Many (6 bits and more) are cut off at one, as in ``fixed_point``.
    """
    top = 2 ** (split_name(scheme)[1] - 1) - 1
    k, exponent = (
        k.astype(np.int64),
        log2_scale.astype(np.int64) - top,
    )  # of the weight whose code is 0, if there were one
    if not is_wide(scheme):
        return np.full(len(exponent), -1), np.ldexp(1.0, exponent + 1)
    lead = _fixed_bits(k.shape[1], bound) - 1 - k.max(1)
    return lead, np.ldexp(1.0, exponent - lead)


def fixed_point(weight: np.ndarray, bound: int) -> Whole:
    """Return a real weight (out, n) as whole numbers, so fine that all sums for inputs up to ``bound`` are exact."""
    weight = weight.astype(np.float64)
    reach, bits = np.abs(weight).max(1), _fixed_bits(weight.shape[1], bound)
    exponent = np.where(reach > 0, np.frexp(reach)[1] - bits, 0)
    return Whole(np.rint(np.ldexp(weight, -exponent[:, None])).astype(np.int64), np.ldexp(1.0, exponent), wide=True)


def _fixed_bits(terms: int, bound: int) -> int:
    """Return how many bits the largest weight may have, so that ``terms`` products with up to ``bound`` stay exact."""
    return min(WIDE_WEIGHT_BITS, WIDE_SUM_LIMIT.bit_length() - 2 - (terms * bound).bit_length())


def neurons(whole: Whole, multiplier: np.ndarray, offset: np.ndarray, threshold: float, bound: int) -> Neurons:
    """Return the neurons behind a layer; ``multiplier`` and ``offset`` are float32 (out,), the folded norm's.

    They are wide where the weight is, and where int32 cannot hold the sums or the thresholds.
    """
    reach = np.abs(whole.values).sum(1).astype(np.float64) * bound
    gain = multiplier.astype(np.float64) * whole.unit
    found = None
    if not whole.wide and reach.max(initial=0) < SUM_LIMIT:
        found = _counted(gain, offset, threshold, reach, NEURON_LIMIT, MAX_SHIFT, wide=False)
    return found or _counted(gain, offset, threshold, reach, WIDE_NEURON_LIMIT, MAX_WIDE_SHIFT, wide=True, last=True)  # pyright: ignore[reportReturnType]


def _counted(
    gain: np.ndarray,
    offset: np.ndarray,
    threshold: float,
    reach: np.ndarray,
    limit: int,
    max_shift: int,
    *,
    wide: bool,
    last: bool = False,
) -> Neurons | None:
    """Return the neurons within ``limit``, or None where some channel's thresholds need more (unless ``last``)."""
    size = np.abs(gain)
    tiny = size < np.finfo(np.float64).tiny
    size = np.where(tiny, 1.0, size)
    offset = offset.astype(np.float64)
    with np.errstate(over="ignore"):
        rooms = [_room(reach, limit), _room(np.abs(offset) / size, limit), _room(2 * threshold / size, limit)]
    shift = np.minimum.reduce([np.full(len(gain), max_shift), *rooms])
    if not last and bool((shift[~tiny] < 0).any()):
        return None
    # No weight moves such a channel's neuron by a part of its threshold that counts.
    idle = tiny | (shift < 0)
    size, shift = np.where(idle, 2 * threshold / IDLE_THRESHOLD, size), np.where(idle, 0, shift)
    with np.errstate(over="ignore"):
        b = np.clip(np.rint(np.ldexp(offset / size, shift)), -limit, limit)
    top = np.rint(np.ldexp(2 * threshold / size, shift))
    sign = np.where(idle, 0, np.sign(gain))
    return Neurons(*(part.astype(np.int64) for part in (sign, shift, b, top)), wide=wide)


def _room(value: np.ndarray, limit: int) -> np.ndarray:
    """Return by how many bits each value can be shifted and stay below ``limit``."""
    exponent = np.frexp(np.where(np.isfinite(value), value, 2.0**1000))[1]
    return np.where(value > 0, int(limit).bit_length() - 1 - exponent, 10**6)


def mixing_threshold(scale: float, threshold: float) -> tuple[int, int]:
    """Return (shift, Θ) of the neurons behind (Q Kᵀ) V · scale: u = v + (a << shift), Θ = round(2θ / scale · 2^shift).

    Where 2θ / scale is whole, as in the published models, no shift is needed.
    """
    top = 2 * threshold / scale
    shift = 0 if top == np.rint(top) else MIXING_SHIFT
    return shift, int(min(np.rint(np.ldexp(top, shift)), NEURON_LIMIT))


def head(weight: np.ndarray, bias: np.ndarray, summands: int, bound: int) -> Head:
    """Return the head in fixed point, one unit for all classes; ``weight`` float (classes, n) is the decoded one."""
    weight, bias = weight.astype(np.float64), bias.astype(np.float64) * summands
    largest = max(float(np.abs(weight).sum(1).max()) * summands * bound, float(np.abs(bias).max(initial=0)))
    top = max(float(np.abs(weight).max()), np.finfo(np.float32).tiny)
    bits = min(HEAD_WEIGHT_BITS - int(np.frexp(top)[1]), 51 - int(np.frexp(max(largest, 1e-30))[1]))
    unit = float(np.ldexp(1.0, -bits))
    values = (np.rint(part / unit).astype(np.int64) for part in (weight, bias))
    return Head(*values, scale=unit / summands)
