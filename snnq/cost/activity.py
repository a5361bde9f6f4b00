"""What a network did on real inputs: the numbers the event model of energy starts from.

Every list has one number a time step, the mean over the measured samples; a layer that runs once a sample, as the head
on the mean over time does, has one number. Written into report.json by ``snnq finalize`` and read back.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from snnq.validation import Many, Record

Count = Annotated[float, Field(ge=0)]
Arithmetic = Literal["integer", "float"]


class LayerActivity(Record):
    """A layer's inputs: how many values (``inputs``), how many of them are not zero, and what that makes it do.

    ``synaptic_operations``: pairs of an input that is not zero and an output it reaches, fan-out counted exactly, at
    the edges of an image too. ``additions``: the same with every input counted once for each set bit of its value (5
    is 101, two), what adding its weight bit by bit takes; an input of neurons' own multispikes once for each of its
    spikes; for single spikes all are the same. ``outputs``: values put out. ``largest``: the largest input, by amount.
    ``reals``: whether any was no whole number.
    """

    name: str
    inputs: PositiveInt
    outputs: PositiveInt
    largest: float
    reals: bool = False
    nonzero: Annotated[Many[Count], Field(min_length=1)]
    synaptic_operations: Annotated[Many[Count], Field(min_length=1)]
    additions: Annotated[Many[Count], Field(min_length=1)]

    @model_validator(mode="after")
    def _same_steps(self) -> LayerActivity:
        if not len(self.nonzero) == len(self.synaptic_operations) == len(self.additions):
            raise ValueError("nonzero, synaptic_operations and additions need as many time steps")
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

    ``kind`` is None in files of early versions, which knew LIF neurons only.
    """

    name: str
    kind: str | None = None
    neurons: PositiveInt
    spikes: Annotated[Many[Count], Field(min_length=1)]

    @property
    def updates(self) -> int:
        """Updates of a membrane potential per inference and sample: every neuron at every step."""
        return self.neurons * len(self.spikes)


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
