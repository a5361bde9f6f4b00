"""What the event model says, as plain data: events and energies per inference (all time steps) and sample.

Energies in pJ; ``compute_pj`` is arithmetic, ``memory_pj`` what is fetched and kept, ``energy_pj`` both.
Multiplications are those of a layer's weights with numbers, each with its addition, and of an attention's constant.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerEvents:
    """A layer's events and energy per inference and sample.

    ``firing_rate``: share of its inputs that are not zero, 0 … 1; ``firing_rates``: at every step.
    """

    name: str
    group: str
    input: str
    scheme: str
    firing_rate: float
    firing_rates: tuple[float, ...]
    synaptic_operations: float
    accumulates: float
    multiplications: float
    shifts: float
    weight_bits_fetched: float
    compute_pj: float
    memory_pj: float
    energy_pj: float


@dataclass(frozen=True)
class NeuronEvents:
    """Neurons behind one module path: updates and spikes per inference and sample.

    ``unpriced`` is their class where their updates have no price: the energy, 0, is not known then.
    """

    name: str
    neurons: int
    firing_rate: float
    spikes: float
    updates: int
    energy_pj: float
    unpriced: str | None = None


@dataclass(frozen=True)
class AttentionEvents:
    """The products inside one attention: events and energy per inference and sample."""

    name: str
    accumulates: float
    multiplications: float
    shifts: float
    operand_largest_measured: int
    local_bits: int
    compute_pj: float
    memory_pj: float
    energy_pj: float


@dataclass(frozen=True)
class PartEvents:
    """Sums over layers of a group, all neurons, all attentions' products, or all: per inference and sample."""

    name: str
    synaptic_operations: float = 0.0
    accumulates: float = 0.0
    multiplications: float = 0.0
    shifts: float = 0.0
    weight_bits_fetched: float = 0.0
    compute_pj: float = 0.0
    memory_pj: float = 0.0
    energy_pj: float = 0.0


@dataclass(frozen=True)
class EventCosts:
    """Everything the event model says about one model on measured samples, per inference and sample."""

    cost_table: str
    node: str
    weight_reuse: str
    weight_reuse_equation: str
    skips_zeros: bool
    data: str
    split: str
    samples: int
    steps: int
    arithmetic: str
    layers: tuple[LayerEvents, ...]
    neurons: tuple[NeuronEvents, ...]
    attentions: tuple[AttentionEvents, ...]
    parts: tuple[PartEvents, ...]
    total: PartEvents
