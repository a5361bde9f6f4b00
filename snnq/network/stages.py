"""The steps that are made of a graph's operations in whole numbers; the other operations stay what they are.

Plain facts, without torch. ``snnq.network.wiring`` says which becomes which.
"""

from __future__ import annotations

from dataclasses import dataclass

from snnq.network.combining import Combining
from snnq.network.operations import Attention, Head, LayerOperation, Mean, Neuron

# Products with multipliers of 16 bits stay exact in int64 where sums stay below 2^44: see ``whole.WIDE_SUM_LIMIT``.
ROOM_BITS = 8


@dataclass(frozen=True)
class Stage:
    """A layer → norm (→ max-pool, if ``pooled``) → neuron, by module paths; its spikes are the stream ``gives``.

    ``bound`` is the largest whole number in the layer's input, by amount.
    """

    made: LayerOperation
    fires: Neuron
    bound: int
    pooled: bool = False

    @property
    def layer(self) -> str:
        """The layer's path."""
        return self.made.layer

    @property
    def norm(self) -> str:
        """The norm's path."""
        return self.made.norm or ""

    @property
    def takes(self) -> tuple[str]:
        """The stream it sees."""
        return self.made.takes

    @property
    def neuron(self) -> str:
        """The neuron's path."""
        return self.fires.neuron

    @property
    def gives(self) -> str:
        """The stream of its spikes."""
        return self.fires.gives

    @property
    def room(self) -> int:
        """The bound that its weights as whole numbers are made for."""
        return self.bound


@dataclass(frozen=True)
class Fire:
    """Stages that see the same stream and run one after another."""

    stages: tuple[Stage, ...]

    @property
    def takes(self) -> tuple[str]:
        """The stream they see."""
        return self.stages[0].made.takes


@dataclass(frozen=True)
class Potential:
    """A layer → norm whose output is kept: the stream ``gives``, in the unit of the ``chain`` that it is added to.

    ``bound`` is the largest whole number in the layer's input, by amount.
    """

    made: LayerOperation
    bound: int
    chain: int

    @property
    def layer(self) -> str:
        """The layer's path."""
        return self.made.layer

    @property
    def norm(self) -> str:
        """The norm's path."""
        return self.made.norm or ""

    @property
    def takes(self) -> tuple[str]:
        """The stream it sees."""
        return self.made.takes

    @property
    def gives(self) -> str:
        """The stream of its potentials."""
        return self.made.gives

    @property
    def room(self) -> int:
        """The bound that its weights as whole numbers are made for."""
        return self.bound << ROOM_BITS


@dataclass(frozen=True)
class Mix:
    """An attention and the neuron that (Q Kᵀ) V · scale goes to."""

    mixes: Attention
    fires: Neuron

    @property
    def takes(self) -> tuple[str, str, str]:
        """Queries, keys and values."""
        return self.mixes.takes

    @property
    def gives(self) -> str:
        """The stream of its spikes."""
        return self.fires.gives


Step = Fire | Potential | Mix | Neuron | Combining | Mean | Head
