"""Potentials in fixed point: what a layer and its norm give, where more than one neuron reads it.

A folded norm's output, multiplier · unit · a + offset with the layer's whole sum a, is kept as a whole number y of
parts of 2^-f:

    y = ((m·a + 2^(s-1)) >> s) + b,   m/2^s ≈ multiplier · unit · 2^f,   b = round(offset · 2^f)

with a whole m of at most 16 bits, and s ≥ 0, for every channel. That rounding *is* the arithmetic of a packed model. It
costs one multiplication an output, none a synapse. Sums of potentials, their maxima, and neurons that compare them are
then exact. All potentials that are added to each other share one f:

    f = min(16, 28 - ⌈log2 of the largest that any of them can become⌉, 16 - ⌈log2 of the steepest gain⌉)

The largest follows from the weights: Σ|Ŵ|·bound + |offset| of a channel, and sums of these. So no input, whatever it
is, makes an int32 overflow, and nothing has to be measured or stored. Source: ours (docs/method.md §5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from snnq.base.errors import UsageError
from snnq.network.graph import Add, Pool
from snnq.network.stages import ROOM_BITS, Potential
from snnq.network.wiring import Wiring
from snnq.schemes.whole import WIDE_SUM_LIMIT, Whole

FRACTION_BITS, MULTIPLIER_BITS = 16, 16
POTENTIAL_LIMIT = 2**28  # what a neuron adds to them stays below 2^31
MOST_SHIFT = 60


@dataclass(frozen=True)
class Folded:
    """A layer's weight as whole numbers and its folded norm, float64 (out,)."""

    whole: Whole
    multiplier: np.ndarray
    offset: np.ndarray

    @property
    def gain(self) -> np.ndarray:
        """What one of the layer's sum is worth, (out,)."""
        return self.multiplier.astype(np.float64) * self.whole.unit


@dataclass(frozen=True)
class FixedPoint:
    """y = ((multiplier · a + half) >> shift) + offset; ``sign`` turns each row of W, so that no multiplier is negative.

    All int64 (out,); ``wide``: the sums a need int64.
    """

    sign: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    offset: np.ndarray
    wide: bool

    @property
    def half(self) -> np.ndarray:
        """2^(shift - 1), 0 where nothing is shifted."""
        return (1 << self.shift) >> 1


def fraction_bits(wiring: Wiring, folded: Callable[[Potential], Folded]) -> dict[int, int]:
    """Return f of every chain of potentials; ``folded`` returns a layer's weight and norm."""
    largest: dict[str, float] = {}
    worst, steepest = dict.fromkeys(wiring.chains.values(), 0.0), dict.fromkeys(wiring.chains.values(), 0.0)
    for one in wiring.potentials:
        layer = folded(one)
        reach = np.abs(layer.whole.values).sum(1).astype(np.float64) * one.bound
        if reach.max(initial=0) >= WIDE_SUM_LIMIT >> ROOM_BITS:
            raise UsageError(f"layer {one.layer}: its whole numbers are too large for a potential in fixed point")
        largest[one.gives] = float((np.abs(layer.gain) * reach + np.abs(layer.offset)).max(initial=0))
        steepest[one.chain] = max(steepest[one.chain], float(np.abs(layer.gain).max(initial=0)))
    for one in wiring.flow:
        if isinstance(one, Add | Pool) and one.gives in wiring.chains:
            largest[one.gives] = sum(largest[name] for name in one.takes)
    for name, most in largest.items():
        worst[wiring.chains[name]] = max(worst[wiring.chains[name]], most)
    room, top = POTENTIAL_LIMIT.bit_length() - 1, MULTIPLIER_BITS
    return {
        chain: min(FRACTION_BITS, room - _above(worst[chain] * (1 + 2.0**-10)), top - _above(steepest[chain]))
        for chain in worst
    }


def _above(value: float) -> int:
    """Return the least e with value < 2^e, far below 0 for 0."""
    return int(np.frexp(value)[1]) if value > 0 else -(2**20)


def fixed_point_of(layer: Folded, bits: int, wide: bool) -> FixedPoint:
    """Return what keeps the potentials of a layer in parts of 2^-``bits``."""
    target = np.ldexp(np.abs(layer.gain), bits)
    shift = np.clip(MULTIPLIER_BITS - np.frexp(target)[1], 0, MOST_SHIFT).astype(np.int64)
    multiplier = np.rint(np.ldexp(target, shift)).astype(np.int64)
    # A mantissa that is rounded up to a whole 2^16 takes a bit less.
    full = (multiplier == 1 << MULTIPLIER_BITS) & (shift > 0)
    multiplier, shift = np.where(full, multiplier >> 1, multiplier), np.where(full, shift - 1, shift)
    offset = np.rint(np.ldexp(layer.offset.astype(np.float64), bits)).astype(np.int64)
    return FixedPoint(np.sign(layer.gain).astype(np.int64), multiplier, shift, offset, wide)
