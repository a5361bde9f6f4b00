"""Potentials in fixed point: what a layer and its norm give, where more than one neuron reads it.

A folded norm's output, multiplier · unit · a + offset with the layer's whole sum a, is kept as a whole number y of
parts of 2^-f:

    y = ((m·a + 2^(s-1)) >> s) + b,   m/2^s ≈ multiplier · unit · 2^f,   b = round(offset · 2^f)

with a whole m of at most 16 bits, and s ≥ 0, for every channel. That rounding *is* the arithmetic of a packed model. It
costs one multiplication an output, none a synapse. Sums of potentials, their maxima, and neurons that compare them are
then exact. All potentials that are added to each other share one f:

    f = min(16, 28 - ⌈log2 of the largest that any of them can become⌉, 16 - ⌈log2 of the steepest gain⌉)

The largest follows from the weights: Σ|Ŵ|·bound + |offset| of a channel, and sums of these. So no input, whatever it
is, makes an int32 overflow, and nothing has to be measured or stored. Where layers are given potentials as they are, it
is 22 in place of 28, and the bound is the largest of these. Where they are given the sums of mean-pools alone, it is
as many up to 26 as the layers' weights leave room for in 64 bits. Source: ours (docs/method.md §5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnq.base.errors import UsageError
from snnq.network.activations import Hold, Rectify
from snnq.network.combining import Add, Concat, First, Flatten, MeanPool, Pool, Switch
from snnq.network.operations import Mean
from snnq.network.stages import ROOM_BITS, Potential
from snnq.network.wiring import READ_LIMIT, Wiring
from snnq.schemes.whole import WIDE_SUM_LIMIT, Whole

if TYPE_CHECKING:
    from jaxtyping import Float, Float64, Int64

FRACTION_BITS, MULTIPLIER_BITS = 16, 16
POTENTIAL_LIMIT = 2**28  # what a neuron adds to them stays below 2^31
MOST_SHIFT = 60


@dataclass(frozen=True)
class FoldedLayer:
    """A layer's weight as whole numbers and its folded norm, (out,)."""

    whole: Whole
    multiplier: Float[np.ndarray, " out"]
    offset: Float[np.ndarray, " out"]

    @property
    def gain(self) -> Float64[np.ndarray, " out"]:
        """What one of the layer's sum is worth, (out,): 0 where all weights are zero, whose unit means nothing."""
        gain = self.multiplier.astype(np.float64) * self.whole.unit
        return np.where(self.whole.values.any(1), gain, 0.0)


@dataclass(frozen=True)
class FixedPoint:
    """y = ((multiplier · a + half) >> shift) + offset; ``sign`` turns each row of W, so that no multiplier is negative.

    All int64 (out,); ``wide``: the sums a need int64.
    """

    sign: Int64[np.ndarray, " out"]
    multiplier: Int64[np.ndarray, " out"]
    shift: Int64[np.ndarray, " out"]
    offset: Int64[np.ndarray, " out"]
    wide: bool

    @property
    def half(self) -> Int64[np.ndarray, " out"]:
        """2^(shift - 1), 0 where nothing is shifted."""
        return (1 << self.shift) >> 1


def joined(
    norms: Sequence[tuple[Float[np.ndarray, " out"], Float[np.ndarray, " out"]]], outputs: int
) -> tuple[Float[np.ndarray, " out"], Float[np.ndarray, " out"]]:
    """Return multiplier and offset (out,) of norms behind one another; of none, 1 and 0."""
    if len(norms) == 1:
        return norms[0]
    multiplier, offset = np.ones(outputs), np.zeros(outputs)
    for factor, added in norms:
        multiplier, offset = multiplier * factor.astype(np.float64), offset * factor.astype(np.float64) + added
    return multiplier, offset


def fraction_bits(wiring: Wiring, folded: Callable[[Potential], FoldedLayer]) -> dict[int, int]:
    """Return f of every chain of potentials; ``folded`` returns a layer's weight and norm."""
    largest, steepest, reaches = _largest(wiring, folded)
    worst = dict.fromkeys(wiring.chains.values(), 0.0)
    for name, most in largest.items():
        worst[wiring.chains[name]] = max(worst[wiring.chains[name]], most)
    bits = {
        chain: min(FRACTION_BITS, _room_bits(wiring, chain, reaches) - _above(most * (1 + 2.0**-10)))
        for chain, most in worst.items()
    }
    settled = False
    while not settled:  # what is read in coarser parts has a steeper gain
        settled = True
        for one in wiring.potentials:
            finer = bits.get(wiring.chains.get(one.takes[0], -1), 0)
            most = MULTIPLIER_BITS - _above(steepest[one.layer]) + finer
            if wiring.chains.get(one.takes[0]) != one.chain and bits[one.chain] > most:
                bits[one.chain], settled = most, False
    return bits


def _room_bits(wiring: Wiring, chain: int, reaches: Mapping[str, int]) -> int:
    """Return the bits below which a chain's potentials must stay."""
    readers = [one for one in wiring.layers if wiring.chains.get(one.takes[0]) == chain]
    if not readers:
        return POTENTIAL_LIMIT.bit_length() - 1
    least, parts = READ_LIMIT.bit_length() - 1, min(wiring.graph.streams[one.takes[0]].parts for one in readers)
    if parts == 1 or not all(isinstance(one, Potential) for one in readers):
        return least
    sums = max(reaches[one.layer] for one in readers) * parts  # of potentials of 1
    most = (WIDE_SUM_LIMIT >> ROOM_BITS).bit_length() - 1 - sums.bit_length()
    return max(least, min(most, (POTENTIAL_LIMIT // parts).bit_length() - 1))


_PASSING = Add | Pool | MeanPool | Flatten | First | Switch | Concat | Hold | Rectify


def _largest(
    wiring: Wiring, folded: Callable[[Potential], FoldedLayer]
) -> tuple[dict[str, float], dict[str, float], dict[str, int]]:
    """Return the largest that each stream of potentials can become, and each layer's steepest gain and largest Σ|W|."""
    largest: dict[str, float] = {}
    steepest: dict[str, float] = {}
    reaches: dict[str, int] = {}
    for one in wiring.flow:
        if isinstance(one, Potential):
            layer, read = folded(one), wiring.graph.streams[one.takes[0]]
            reach = np.abs(layer.whole.values).sum(1).astype(np.float64)
            reaches[one.layer] = int(reach.max(initial=0))
            if reaches[one.layer] * one.bound >= WIDE_SUM_LIMIT >> ROOM_BITS:
                raise UsageError(f"layer {one.layer}: its whole numbers are too large for a potential in fixed point")
            given = largest[one.takes[0]] if one.takes[0] in largest else (read.bound or 0) * read.unit
            largest[one.gives] = float((np.abs(layer.gain) * reach * given + np.abs(layer.offset)).max(initial=0))
            steepest[one.layer] = float(np.abs(layer.gain).max(initial=0)) * (read.unit if read.bound else 1.0)
        elif isinstance(one, _PASSING) and one.gives in wiring.chains:
            bounds = {name: float(wiring.graph.streams[name].bound or 0) for name in one.takes}
            joins = max if isinstance(one, Switch | Concat) else sum
            largest[one.gives] = joins([largest.get(name, bounds[name]) for name in one.takes])
        elif isinstance(one, Mean) and one.gives in wiring.chains:
            largest[one.gives] = largest[one.takes[0]]
    return largest, steepest, reaches


def _above(value: float) -> int:
    """Return the least e with value < 2^e, far below 0 for 0."""
    return int(np.frexp(value)[1]) if value > 0 else -(2**20)


def fixed_point_of(layer: FoldedLayer, bits: int, wide: bool) -> FixedPoint:
    """Return what keeps the potentials of a layer in parts of 2^-``bits``."""
    target = np.ldexp(np.abs(layer.gain), bits)
    shift = np.clip(MULTIPLIER_BITS - np.frexp(target)[1], 0, MOST_SHIFT).astype(np.int64)
    multiplier = np.rint(np.ldexp(target, shift)).astype(np.int64)
    # A mantissa that is rounded up to a whole 2^16 takes a bit less.
    full = (multiplier == 1 << MULTIPLIER_BITS) & (shift > 0)
    if multiplier.max(initial=0) > 1 << MULTIPLIER_BITS:
        raise UsageError("a norm's factors are too large for potentials in fixed point")
    multiplier, shift = np.where(full, multiplier >> 1, multiplier), np.where(full, shift - 1, shift)
    offset = np.rint(np.ldexp(layer.offset.astype(np.float64), bits)).astype(np.int64)
    return FixedPoint(np.sign(layer.gain).astype(np.int64), multiplier, shift, offset, wide)
