"""What a network did on real inputs: the numbers the event model of energy starts from.

Every list has one number a time step, the mean over the measured samples; a layer that runs once a sample, as the head
on the mean over time does, has one number. Written into report.json by ``snnq finalize`` and read back; that of a float
model stands in a plan whose budget it priced.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from snnq.base.validation import Many, Record
from snnq.network.products import Order, Products

Count = Annotated[float, Field(ge=0)]
Arithmetic = Literal["integer", "float"]


class LayerActivity(Record):
    """A layer's inputs: how many values (``inputs``), how many of them are not zero, and what that makes it do.

    ``synaptic_operations``: pairs of an input that is not zero and an output it reaches, fan-out counted exactly, at
    the edges of an image too. ``additions``: the same with every input counted once for each set bit of its value (5
    is 101, two), what adding its weight bit by bit takes; an input of neurons' own multispikes once for each of its
    spikes; for single spikes all are the same. ``effective_operations`` and ``effective_additions`` are those of them
    that meet a weight which is not zero; files of early versions do not have them. ``outputs``: values put out.
    ``largest``: the largest input, by amount. ``reals``: whether any was no whole number.
    """

    name: str
    inputs: PositiveInt
    outputs: PositiveInt
    largest: float
    reals: bool = False
    nonzero: Annotated[Many[Count], Field(min_length=1)]
    synaptic_operations: Annotated[Many[Count], Field(min_length=1)]
    additions: Annotated[Many[Count], Field(min_length=1)]
    effective_operations: Many[Count] = ()
    effective_additions: Many[Count] = ()

    @model_validator(mode="after")
    def _same_steps(self) -> LayerActivity:
        if not len(self.nonzero) == len(self.synaptic_operations) == len(self.additions):
            raise ValueError("nonzero, synaptic_operations and additions need as many time steps")
        if {len(self.effective_operations), len(self.effective_additions)} - {0, len(self.nonzero)}:
            raise ValueError("effective_operations and effective_additions need as many time steps, or none")
        if len(self.effective_operations) != len(self.effective_additions):
            raise ValueError("effective_operations and effective_additions need as many time steps")
        return self

    @property
    def rates(self) -> tuple[float, ...]:
        """The share of inputs that are not zero, 0 … 1, at every step: of spikes, the firing rate."""
        return tuple(count / self.inputs for count in self.nonzero)

    @property
    def rate(self) -> float:
        """The mean of ``rates``."""
        return sum(self.nonzero) / (self.inputs * len(self.nonzero))


class NeuronActivity(Record):
    """A group of neurons behind one module path: their class, how many, and how many of them fire at every step.

    ``kind`` is None in files of early versions, which knew LIF neurons only. ``fired``: how often a neuron fired, of
    all its ``updates_each`` updates over the measured samples, ascending; and ``neurons_fired``: how many neurons fired
    so often. They are empty, and ``updates_each`` is None, where that was not measured.
    """

    name: str
    kind: str | None = None
    neurons: PositiveInt
    spikes: Annotated[Many[Count], Field(min_length=1)]
    updates_each: PositiveInt | None = None
    fired: Many[NonNegativeInt] = ()
    neurons_fired: Many[PositiveInt] = ()

    @model_validator(mode="after")
    def _every_neuron_once(self) -> NeuronActivity:
        due = 0 if self.updates_each is None else self.neurons
        most = self.updates_each or 0
        rising = all(a < b for a, b in pairwise(self.fired))
        if len(self.fired) != len(self.neurons_fired) or sum(self.neurons_fired) != due or not rising:
            raise ValueError("fired and neurons_fired should tell of every neuron once, ascending")
        if max(self.fired, default=0) > most:
            raise ValueError(f"a neuron with {most} updates fired more often")
        return self

    @property
    def rate(self) -> float:
        """Spikes a neuron and step, the mean over neurons, steps and samples."""
        return sum(self.spikes) / self.updates

    @property
    def dead(self) -> int | None:
        """Neurons that never fired on any measured sample; None where that was not measured."""
        return self._how_many(0)

    @property
    def saturated(self) -> int | None:
        """Neurons that fired at every step of every measured sample; None where that was not measured."""
        return self._how_many(self.updates_each or 0)

    def _how_many(self, often: int) -> int | None:
        if self.updates_each is None:
            return None
        return dict(zip(self.fired, self.neurons_fired, strict=True)).get(often, 0)

    @property
    def updates(self) -> int:
        """Updates of a membrane potential per inference and sample: every neuron at every step."""
        return self.neurons * len(self.spikes)


def rate_distance(this: NeuronActivity, other: NeuronActivity) -> float | None:
    """Return the earth mover's distance of two groups' firing rates over their neurons, 0 … 1.

        W₁ = ∫₀¹ |F(r) − G(r)| dr, F and G the shares of neurons that fire at a rate of at most r

    the mean of |r − r′| over the neurons of both, each sorted by rate. None where rates were not measured.
    """
    if this.updates_each is None or other.updates_each is None:
        return None
    steps: list[tuple[float, float]] = []
    for one, sign in ((this, 1.0), (other, -1.0)):
        pairs = zip(one.fired, one.neurons_fired, strict=True)
        steps += [(often / (one.updates_each or 1), sign * count / one.neurons) for often, count in pairs]
    steps.sort()
    distance, gap = 0.0, 0.0
    for (rate, share), (following, _) in pairwise(steps):
        gap += share
        distance += abs(gap) * (following - rate)
    return distance


class AttentionActivity(Record):
    """The additions inside an attention at every step.

    ``first``: pairs of two spikes that meet, each of which counts the operand up by one (in Kᵀ V, Q Kᵀ or the sum of
    K ⊙ V). ``second``: entries of the operand, not zero, that a spike adds to the end. ``largest``: the largest entry.
    """

    name: str
    first: Annotated[Many[Count], Field(min_length=1)]
    second: Annotated[Many[Count], Field(min_length=1)]
    largest: NonNegativeInt


class Activity(Record):
    """What a model did on ``samples`` samples of a split, means per sample.

    ``arithmetic``: of its neurons, whole numbers or floating point.
    """

    data: str
    split: str
    samples: PositiveInt
    steps: PositiveInt
    arithmetic: Arithmetic
    layers: Many[LayerActivity]
    neurons: Many[NeuronActivity]
    attentions: Many[AttentionActivity] = ()


class MixingRecord(Record):
    """``Products`` of an attention, as a file has them."""

    name: str
    order: Order
    heads: PositiveInt
    tokens: PositiveInt
    width: PositiveInt
    steps: PositiveInt
    chunk: PositiveInt = 1
    scale: float | None = None
    scaled: Literal["operand", "end"] | None = None
    value_ratio: PositiveInt = 1
    substeps: PositiveInt = 1

    def products(self) -> Products:
        """Return what it says."""
        return Products(**self.model_dump())


class FloatActivity(Record):
    """What a float model did on training samples, to price the events of plans before any of them is packed.

    ``arithmetic`` is that of the neurons of its packed form, ``attentions`` what they compute; the activity itself is
    the float model's. ``data_sha256``: of the data, as plans record it. ``zeros``: by layer and scheme, the share of
    weights that the scheme's fit to the float weights makes zero, where that was looked at.
    """

    data_sha256: str
    arithmetic: Arithmetic
    activity: Activity
    attentions: Many[MixingRecord] = ()
    zeros: dict[str, dict[str, Annotated[float, Field(ge=0, le=1)]]] = Field(default_factory=dict)

    @property
    def products(self) -> tuple[Products, ...]:
        """What the model's attentions compute."""
        return tuple(one.products() for one in self.attentions)
