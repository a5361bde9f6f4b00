"""All whole numbers of a wired network: what torch, the engine, its reference and C take alike.

A stage's neurons and a layer's potentials follow from its weight and norm, the neurons that compare numbers of one unit
from that unit: an attention's scale, 1/N of a mean, 2^-f of potentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from snnq.arithmetic import integers
from snnq.arithmetic.fixed_point import POTENTIAL_LIMIT, FixedPoint, FoldedLayer, fixed_point_of, fraction_bits
from snnq.arithmetic.integers import (
    HEAD_SUM_BITS,
    NEURON_LIMIT,
    SUM_LIMIT,
    WIDE_HEAD_SUM_BITS,
    WIDE_NEURON_LIMIT,
    Codes,
    Neurons,
    WholeHead,
    least,
)
from snnq.base.errors import UsageError
from snnq.network import leaks
from snnq.network.activations import Quantise
from snnq.network.combining import Add, Concat
from snnq.network.operations import Neuron
from snnq.network.stages import Potential, Stage
from snnq.network.wiring import Wiring
from snnq.schemes.whole import Whole

if TYPE_CHECKING:
    from jaxtyping import Float, Float64


@dataclass(frozen=True)
class Compared:
    """Neurons that are given whole numbers a of one unit: u = v + (a << shift), spike = [u ≥ threshold].

    What is left of u says the ``leak`` (``snnq.network.leaks``).
    A mean comes as the sum of ``parts`` numbers. ``wide``: u needs int64. Integer neurons have ``thresholds`` instead,
    and put out how many of them a reaches.
    """

    shift: int
    threshold: int
    leak: int
    parts: int
    wide: bool
    thresholds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Heads:
    """A head in fixed point, after any number of time steps: what it decodes to, weight (classes, n) and bias.

    At every step it is given whole numbers up to ``most``, ``per`` of which are 1; its sums stay below 2^``bits``.
    Of every ``segment`` frames it is given ``pass_steps`` steps. ``quantised``: the mean over all steps is, before.
    """

    weight: Float[np.ndarray, "classes n"]
    bias: Float[np.ndarray, " classes"]
    per: float
    most: float
    bits: int
    segment: int = 1
    pass_steps: int = 1
    quantised: Quantise | None = None

    def summed(self, frames: int) -> int:
        """Return how many steps its sums are over after so many frames, or steps, which are mostly the same."""
        return frames // self.segment * self.pass_steps

    def after(self, frames: int) -> WholeHead:
        """Return the head of a network that took so many frames."""
        steps, quantised = self.summed(frames), self.quantised
        if quantised is not None:
            per = step_of(quantised)
            codes = integers.codes(steps * self.per * per, steps * self.most, quantised.levels)
            found = integers.head(self.weight, self.bias, 1 / per, codes.most, HEAD_SUM_BITS)
            return replace(found, codes=codes)
        return integers.head(self.weight, self.bias, steps * self.per, steps * self.most, self.bits)


@dataclass(frozen=True)
class WholeNetwork:
    """The whole numbers of a network. Those of a layer are made when they are asked for, so that one is in memory.

    ``folded`` returns a layer's weight and norm; ``bits`` are f of every chain of potentials, ``leaks`` those that were
    learned, by their neurons' path.
    """

    wiring: Wiring
    folded: Callable[[Stage | Potential], FoldedLayer]
    bits: Mapping[int, int]
    leaks: Mapping[str, int] = field(default_factory=dict)

    def stage(self, one: Stage) -> tuple[Whole, Neurons]:
        """Return a stage's weight and its neurons."""
        layer = self.folded(one)
        given = self._given(layer, one)
        numbers = given.whole, given.multiplier, given.offset
        if one.fires.rounds:
            return layer.whole, integers.counting(*numbers, one.fires.rounds, one.bound)
        p, threshold = self.leak(one.fires), self._threshold(one.fires)
        growth = leaks.growth(p, self.wiring.graph.steps, one.neuron)
        return layer.whole, integers.neurons(*numbers, threshold, one.bound, p, growth)

    def potential(self, one: Potential) -> tuple[Whole, FixedPoint]:
        """Return the weight of a layer that keeps a potential, and how that is kept."""
        layer = self.folded(one)
        wide = layer.whole.wide or int(np.abs(layer.whole.values).sum(1).max(initial=0)) * one.bound >= SUM_LIMIT
        return layer.whole, fixed_point_of(self._given(layer, one), self.bits[one.chain], wide)

    def codes(self, one: Quantise) -> Codes:
        """Return what makes a layer's activations of what they are quantised from."""
        (read,) = one.takes
        bound = self.wiring.graph.streams[read].bound
        most = POTENTIAL_LIMIT * self.wiring.graph.streams[read].parts if bound is None else bound
        return integers.codes(self.per(read) * step_of(one), float(most), one.levels)

    def _given(self, layer: FoldedLayer, one: Stage | Potential) -> FoldedLayer:
        """Return a layer whose unit is that of sums of what it is given: potentials or pixels, too."""
        if not self.wiring.numbers(one.takes[0]):
            return layer
        return replace(layer, whole=replace(layer.whole, unit=layer.whole.unit / self.per(one.takes[0])))

    def compared(self, neuron: Neuron) -> Compared:
        """Return neurons that stand behind no layer alone."""
        (read,), p = neuron.takes, self.leak(neuron)
        parts = self.wiring.graph.streams[read].parts
        wide = neuron.integrates or (read in self.wiring.chains and (parts > 1 or leaks.is_fixed(p)))  # sums of such
        leaks.growth(p, self.wiring.graph.steps, neuron.neuron)  # 64 bits have room for it
        limit = WIDE_NEURON_LIMIT if wide else NEURON_LIMIT
        if neuron.rounds:
            found = (least(t * self.per(read), reached=own) for t, own in neuron.rounds.thresholds)
            limit = WIDE_NEURON_LIMIT if wide else 2**31 - 1
            return Compared(0, 0, p, parts, wide, tuple(int(min(top, limit)) for top in found))
        shift, threshold = integers.compared(self.per(read), self._threshold(neuron), p, limit)
        bound = self.wiring.graph.streams[read].bound
        if leaks.is_fixed(p) and bound is not None and (bound << shift) + threshold >= 2**31:
            wide = True
        if read in self.wiring.chains and not wide and POTENTIAL_LIMIT << shift >= 2**30:
            wide = True  # finer potentials, of a threshold that is not whole, need more than 32 bits
            shift, threshold = integers.compared(self.per(read), neuron.threshold, p, WIDE_NEURON_LIMIT)
        return Compared(shift, threshold, p, parts, wide)

    def leak(self, neuron: Neuron) -> int:
        """Return the leak of neurons."""
        said = leaks.leak(neuron)
        return self.leaks[neuron.neuron] if said is None else said

    def _threshold(self, neuron: Neuron) -> float:
        """Return θ: where the input does not decay, all but the input is 1/tau times as large."""
        return neuron.threshold * (1.0 if neuron.decays_input else leaks.rate(self.leak(neuron)))

    def per(self, stream: str) -> float:
        """Return how many of a stream's whole numbers are worth 1."""
        found = self.wiring.graph.streams[stream]
        bits = self.bits[self.wiring.chains[stream]] if stream in self.wiring.chains else 0
        return float(np.ldexp(found.parts / found.unit, bits))

    def factors(self, one: Concat | Add) -> tuple[int, ...]:
        """Return what multiplies each stream that is joined, so that all are of one unit; of reals it is 1.

        Raises UsageError for potentials in parts so coarse that a spike is none of them.
        """
        found = [self.per(one.gives) / self.per(name) for name in one.takes]
        if not all(factor.is_integer() for factor in found):
            raise UsageError(f"stream {one.gives}: its potentials are too large to be joined with spikes")
        return tuple(map(int, found))

    @property
    def read_parts(self) -> Float64[np.ndarray, " C"]:
        """What multiplies each number that a model gives its head at a step, so that all are the engines'."""
        streams, (read,) = self.wiring.graph.streams, self.wiring.graph.head.takes
        beside = next((one for one in self.wiring.flow if isinstance(one, Concat) and one.gives == read), None)
        if beside is None:
            return np.array([float(streams[read].parts)])
        parts = [streams[name].parts * factor for name, factor in zip(beside.takes, self.factors(beside), strict=True)]
        return np.repeat(np.array(parts, float), [streams[name].channels for name in beside.takes])

    @property
    def summands(self) -> int:
        """How many whole numbers the mean is of that the head sees: steps, and tokens where they are not compared."""
        graph = self.wiring.graph
        return graph.steps // (graph.segment or graph.steps) * graph.pass_steps * self.wiring.read.parts

    def heads(self, weight: Float[np.ndarray, "classes n"], bias: Float[np.ndarray, " classes"]) -> Heads:
        """Return the head in fixed point, after any number of steps, of its decoded weight (classes, n) and bias."""
        graph = self.wiring.graph
        read, cut = graph.head.takes[0], (1, 1) if graph.segment is None else (graph.segment, graph.pass_steps)
        if read in self.wiring.chains:
            most = float(POTENTIAL_LIMIT) * self.wiring.read.parts
            return Heads(weight, bias, self.per(read), most, WIDE_HEAD_SUM_BITS, *cut, graph.head.quantised)
        most = float(self.wiring.read.bound or 0)
        return Heads(weight, bias, self.per(read), most, HEAD_SUM_BITS, *cut, graph.head.quantised)

    def head(self, weight: Float[np.ndarray, "classes n"], bias: Float[np.ndarray, " classes"]) -> WholeHead:
        """Return the head after all time steps."""
        return self.heads(weight, bias).after(self.wiring.graph.steps)


def step_of(one: Quantise) -> float:
    """Return what one of a layer's activations is worth."""
    assert one.step is not None, "whole numbers are made of a wiring that has the steps"
    return one.step


def whole_network(
    wiring: Wiring, folded: Callable[[Stage | Potential], FoldedLayer], leaks: Mapping[str, int]
) -> WholeNetwork:
    """Return the whole numbers of a network; ``folded`` returns a layer's weight and norm, ``leaks`` are learned."""
    for one in wiring.quantised:
        step_of(one)
    return WholeNetwork(wiring, folded, fraction_bits(wiring, folded), leaks)
