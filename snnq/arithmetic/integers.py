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

Another time constant, tau = p/(p - 1), makes it u = v + (p - 1)·x with Θ = round(pθ / g) and v = ⌊u/p⌋, as exactly: p
is the ``leak``, 2 or 3 (``snnq.network.leaks``). Neurons that only integrate have p = 1: u = v + x,
Θ = round(θ / g) and v = u. Their voltages are sums over all steps, so they are in int64, and what is added to them
leaves it room. Any other one, a learned one, too, is a factor in fixed point: u = v + x, Θ = round(tau·θ / g),
v = ⌊(u·k + 2^15)/2^16⌋. What is added to voltages that leak slower than with 2 leaves them more room.

Integer neurons have no potential, so that nothing is rounded: c = round(clamp(gain·x, 0, D)) spikes are as many as the
thresholds t_c that x reaches, (c - 1/2)/gain, and x ≥ t where a ≥ (t - offset)/(multiplier · unit), a whole number.

Activations that are quantised become whole numbers of few bits, of what they are given as whole numbers x, r of which
are one step s: q = clamp((m·x + 2^(t-1)) >> t, least, most) with m/2^t ≈ 1/r and a whole m of at most 16 bits. That
rounding *is* the arithmetic; one of q is worth s, exactly, in whatever multiplies it.

A number format says what its W and unit are (``snnq.schemes.whole``). Layers whose output is kept, not compared, are in
``snnq.arithmetic.fixed_point``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnq.base.errors import UsageError
from snnq.network import leaks
from snnq.network.operations import Rounding
from snnq.schemes.whole import Whole

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int, Int64

# Two sets of limits: for sums in int32, and for wide layers in int64.
SUM_LIMIT = 2**26
NEURON_LIMIT, WIDE_NEURON_LIMIT = 2**28, 2**60
# Of what is added at every step to voltages that nothing leaks from: it is 2^9 times as large before int64 overflows.
INTEGRATED_LIMIT = 2**53
MAX_SHIFT, MAX_WIDE_SHIFT = 16, 8
# Of voltages that are rounded at every step a part is no more than this share of Θ: else they are in int64.
FINE_THRESHOLD = 2**18
HEAD_WEIGHT_BITS = 30
# Of the head's sums: exact in float64; of potentials, which take more bits themselves, in int64.
HEAD_SUM_BITS, WIDE_HEAD_SUM_BITS = 51, 61
# Θ of a channel that no weight reaches: its offset alone is compared with its threshold.
IDLE_THRESHOLD = 2**20
# Sums of an attention stay below 2^20: so do the largest head times the most tokens that fit this engine.
MIXING_SHIFT = 8
CODE_MULTIPLIER_BITS, MOST_CODE_SHIFT = 16, 61


@dataclass(frozen=True)
class Neurons:
    """What the neurons behind a layer compare: ``sign`` (-1, 0, 1) turns each row of W; all int64 (out,).

    ``threshold`` is (D, out) of integer neurons, which put out how many of theirs a sum reaches. ``wide``: the sums and
    voltages need int64; else int32 holds them all.
    """

    sign: Int64[np.ndarray, " out"]
    shift: Int64[np.ndarray, " out"]
    offset: Int64[np.ndarray, " out"]
    threshold: Int64[np.ndarray, "*D out"]
    wide: bool


@dataclass(frozen=True)
class Codes:
    """q = clamp((multiplier · x + 2^(shift - 1)) >> shift, least, most): activations of few bits."""

    multiplier: int
    shift: int
    least: int
    most: int

    @property
    def half(self) -> int:
        """2^(shift - 1), 0 where nothing is shifted."""
        return (1 << self.shift) >> 1

    def of(self, x: Any) -> Any:
        """Return q of whole numbers, int64 arrays or tensors."""
        return ((x * self.multiplier + self.half) >> self.shift).clip(self.least, self.most)


@dataclass(frozen=True)
class WholeHead:
    """logits = (weight · S + bias) · scale for the sums S over tokens and steps; int64 (classes, n) and (classes,).

    ``wide``: weight · S + bias is exact in int64, but not in float64. With ``codes``, S become such before.
    """

    weight: Int64[np.ndarray, "classes n"]
    bias: Int64[np.ndarray, " classes"]
    scale: float
    wide: bool = False
    codes: Codes | None = None

    def logits(self, sums: Int64[np.ndarray, "B n"]) -> Float32[np.ndarray, "B classes"]:
        """Return logits float32 (B, classes) of sums int64 (B, n)."""
        return (self.whole_logits(sums) * self.scale).astype(np.float32)

    def whole_logits(self, sums: Int64[np.ndarray, "B n"]) -> Int64[np.ndarray, "B classes"]:
        """Return whole logits int64 (B, classes) of sums int64 (B, n)."""
        return (sums if self.codes is None else self.codes.of(sums)) @ self.weight.T + self.bias


def neurons(
    whole: Whole,
    multiplier: Float[np.ndarray, " out"],
    offset: Float[np.ndarray, " out"],
    threshold: float,
    bound: int,
    leak: int = 2,
    growth: int = 0,
) -> Neurons:
    """Return the neurons behind a layer; ``multiplier`` and ``offset`` are (out,), the folded norm's.

    ``threshold`` is θ; ``growth`` is how many bits more than with a leak of 2 voltages need (``leaks.growth``).

    They are wide where the weight is, where int32 cannot hold the sums or the thresholds, and where nothing leaks.
    Channels whose weights are all zero are idle, whatever their unit: they make none of the others wide.
    """
    reach, lead = np.abs(whole.values).sum(1).astype(np.float64) * bound, leaks.lead(leak)
    # A channel without a weight has no unit: what stands for one may be so small that int32 could not hold its offset.
    gain = np.where(reach > 0, multiplier.astype(np.float64) * whole.unit * lead, 0.0)
    offset, threshold = offset.astype(np.float64) * lead, threshold * leaks.worth(leak) / 2
    found, most = None, INTEGRATED_LIMIT if leak == 1 else WIDE_NEURON_LIMIT >> growth
    if not whole.wide and reach.max(initial=0) < SUM_LIMIT >> growth:
        found = _counted(gain, offset, threshold, reach, NEURON_LIMIT >> growth, MAX_SHIFT, wide=leak == 1)
    if found and leaks.is_fixed(leak) and bool((found.threshold < FINE_THRESHOLD).any()):
        found = None
    shift = MAX_SHIFT if leaks.is_fixed(leak) else MAX_WIDE_SHIFT
    return found or _counted(gain, offset, threshold, reach, most, shift, wide=True, last=True)  # pyright: ignore[reportReturnType]


def counting(
    whole: Whole,
    multiplier: Float[np.ndarray, " out"],
    offset: Float[np.ndarray, " out"],
    rounds: Rounding,
    bound: int,
) -> Neurons:
    """Return integer neurons behind a layer, of the same: each threshold is the least sum that reaches it."""
    reach = np.abs(whole.values).sum(1).astype(np.float64) * bound
    wide = whole.wide or bool(reach.max(initial=0) >= SUM_LIMIT)
    gain, offset = multiplier.astype(np.float64) * whole.unit, offset.astype(np.float64)
    idle = np.abs(gain) < np.finfo(np.float64).tiny
    size, limit = np.where(idle, 1.0, np.abs(gain)), float(WIDE_NEURON_LIMIT if wide else NEURON_LIMIT)
    with np.errstate(over="ignore"):
        tops = [least((t - offset) / size, reached=own) for t, own in rounds.thresholds]
        constant = [np.where(offset >= t if own else offset > t, -limit, limit) for t, own in rounds.thresholds]
    found = np.clip(np.where(idle, np.stack(constant), np.stack(tops)), -limit, limit).astype(np.int64)
    nothing = np.zeros(len(gain), np.int64)
    return Neurons(np.where(idle, 0, np.sign(gain)).astype(np.int64), nothing, nothing, found, wide)


def least(value: float | Float[np.ndarray, " out"], *, reached: bool) -> np.float64 | Float64[np.ndarray, " out"]:
    """Return the least whole number that is at least ``value`` or, where it must be more than ``reached``, above it."""
    return np.ceil(value) if reached else np.floor(value) + 1


def _counted(
    gain: Float64[np.ndarray, " out"],
    offset: Float64[np.ndarray, " out"],
    threshold: float,
    reach: Float64[np.ndarray, " out"],
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


def _room(value: Float64[np.ndarray, " out"], limit: int) -> Int[np.ndarray, " out"]:
    """Return by how many bits each value can be shifted and stay below ``limit``."""
    exponent = np.frexp(np.where(np.isfinite(value), value, 2.0**1000))[1]
    return np.where(value > 0, int(limit).bit_length() - 1 - exponent, 10**6)


def compared(per: float, threshold: float, leak: int = 2, limit: int = NEURON_LIMIT) -> tuple[int, int]:
    """Return (shift, Θ) of neurons that are given whole numbers a, ``per`` of which are 1: u = v + (a << shift).

    With the leak p, shift is that of p - 1 and Θ = round(pθ · per); where that is not whole, both are finer by 8 bits.
    So they are with a leak in fixed point, of which voltages are rounded, as far as Θ stays within the limit. Raises
    UsageError where it does not.
    """
    top, lead = leaks.worth(leak) * threshold * per, leaks.lead(leak).bit_length() - 1
    if leaks.is_fixed(leak):
        shift = min(MIXING_SHIFT, limit.bit_length() - 2 - int(np.frexp(top)[1]))
        if shift < 0:
            raise UsageError(f"a threshold of {top:g} is too large for neurons in whole numbers")
        return shift, int(np.rint(np.ldexp(top, shift)))
    shift = 0 if top == np.rint(top) else MIXING_SHIFT
    return shift + lead, int(min(np.rint(np.ldexp(top, shift)), limit))


def codes(per: float, largest: float, levels: tuple[int, int]) -> Codes:
    """Return what makes activations of whole numbers up to ``largest``, ``per`` of which are one of these.

    Raises UsageError for a step so small that a single whole number is 2^16 of it, or numbers with no room for a
    multiplier of 8 bits.
    """
    bits = min(CODE_MULTIPLIER_BITS, 62 - int(np.frexp(largest)[1]))
    shift = bits - int(np.frexp(1 / per)[1])
    if shift < 0 or bits < 8:
        raise UsageError(f"activations with a step of {per:g} parts of potentials have no whole numbers")
    shift = min(shift, MOST_CODE_SHIFT)
    return Codes(int(np.rint(np.ldexp(1 / per, shift))), shift, *levels)


def head(
    weight: Float[np.ndarray, "classes n"],
    bias: Float[np.ndarray, " classes"],
    summands: float,
    most: float,
    bits: int = HEAD_SUM_BITS,
) -> WholeHead:
    """Return the head in fixed point, one unit for all classes; ``weight`` float (classes, n) is the decoded one.

    It is given sums of whole numbers up to ``most``, which are ``summands`` times the mean that the float head sees.
    Its own sums stay below 2^``bits``.
    """
    weight, bias = weight.astype(np.float64), bias.astype(np.float64) * summands
    largest = max(float(np.abs(weight).sum(1).max()) * most, float(np.abs(bias).max(initial=0)))
    top = max(float(np.abs(weight).max()), np.finfo(np.float32).tiny)
    room = min(HEAD_WEIGHT_BITS - int(np.frexp(top)[1]), bits - int(np.frexp(max(largest, 1e-30))[1]))
    unit = float(np.ldexp(1.0, -room))
    values = (np.rint(part / unit).astype(np.int64) for part in (weight, bias))
    return WholeHead(*values, scale=unit / summands, wide=bits > HEAD_SUM_BITS)
