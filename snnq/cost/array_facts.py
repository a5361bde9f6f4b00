"""What analog arrays need to know of a model beside its layers, plain facts: they price plans on such arrays.

They follow from the model's structure alone: no data is looked at. A plan whose budget limits what arrays take keeps
them, so that its costs can be computed again.
"""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveInt

from snnq.base.validation import Many, Record
from snnq.cost.activity import MixingRecord


class LayerBound(Record):
    """A layer's ``groups``, and the ``largest`` whole number it can be given; None: real numbers.

    ``signed``: it can be given numbers below zero, too, of the same amount. ``vectors``: what it is given in an
    inference, and ``once`` those of them that are there whatever its steps are, as of a layer that runs once a sample.
    Files of early versions have neither; ``once`` is None, too, where the model could not be run for other steps.
    """

    name: str
    groups: PositiveInt = 1
    largest: PositiveInt | None
    signed: bool = False
    vectors: PositiveInt | None = None
    once: NonNegativeInt | None = None


class NeuronCount(Record):
    """How many neurons stand behind one module path, and their ``updates`` in an inference; ``once`` as of layers."""

    name: str
    neurons: PositiveInt
    updates: PositiveInt | None = None
    once: NonNegativeInt | None = None


class ArrayFacts(Record):
    """A model on a target, as plans record it.

    ``target``: name or path, by which it is read again. ``cells``: those of its weights, None the target's own;
    ``dynamic``: those of attention's operands, ``nvm`` being the same. ``segment``: frames of a clip's segment, the
    first of which is no time step of neurons; None where every frame is one.
    """

    target: str
    cells: str | None = None
    dynamic: str = "nvm"
    steps: PositiveInt
    segment: PositiveInt | None = None
    layers: Many[LayerBound]
    neurons: Many[NeuronCount] = ()
    attentions: Many[MixingRecord] = ()

    @property
    def runs(self) -> int:
        """How often neurons, and what lies in cells before them, run in an inference: at all steps of all segments."""
        return self.steps - (self.steps // self.segment if self.segment else 0)

    @property
    def least(self) -> int:
        """The fewest steps it can be run for: an attention's chunk, or a clip's segment."""
        return max((self.segment or 1, *(one.chunk for one in self.attentions)))

    @property
    def scales(self) -> bool:
        """Whether they say what grows with the steps."""
        return all(one.once is not None for one in (*self.layers, *self.neurons))

    @property
    def updates(self) -> int:
        """Updates of neurons in an inference."""
        return sum(one.updates or one.neurons * self.runs for one in self.neurons)
