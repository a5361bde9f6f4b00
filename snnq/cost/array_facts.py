"""What analog arrays need to know of a model beside its layers, plain facts: they price plans on such arrays.

They follow from the model's structure alone: no data is looked at. A plan whose budget limits what arrays take keeps
them, so that its costs can be computed again.
"""

from __future__ import annotations

from pydantic import PositiveInt

from snnq.base.validation import Many, Record
from snnq.cost.activity import MixingRecord


class LayerBound(Record):
    """A layer's ``groups``, and the ``largest`` whole number it can be given; None: real numbers.

    ``signed``: it can be given numbers below zero, too, of the same amount.
    """

    name: str
    groups: PositiveInt = 1
    largest: PositiveInt | None
    signed: bool = False


class NeuronCount(Record):
    """How many neurons stand behind one module path."""

    name: str
    neurons: PositiveInt


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
