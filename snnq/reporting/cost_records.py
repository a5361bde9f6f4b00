"""What a plan costs, whole and in parts, as a report says it. Storage in bits, energy in pJ, shares from 0 to 1.

``*_float`` is the same quantity with every layer in float32. A row's ``costs`` are those of every declared quantity by
their keys (``snnq.cost.quantities``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snnq.cost.event_records import EventCosts
from snnq.cost.quantities import Amount, Costs


def cost_of(row: object, key: str) -> Any:
    """Return a cost of a row by its key, as an attribute: ``row.storage_bits``."""
    costs = vars(row).get("costs", {})
    if key in costs:
        return costs[key]
    raise AttributeError(f"{type(row).__name__} has no {key}")


@dataclass(frozen=True)
class PlanTotals:
    """Costs of the whole plan beside the same model in float32.

    ``avg_bits`` are the plan's; ``file_avg_bits`` are all bits of model.safetensors over the weights: scales, norms,
    padding and header, too.
    """

    weights: int
    costs: Costs
    __getattr__ = cost_of


@dataclass(frozen=True)
class PlanRow:
    """A plan's costs; validation accuracy and loss are before any finetuning, None where they were not measured."""

    plan: str
    costs: Costs
    validation_accuracy: float | None
    validation_loss: float | None
    __getattr__ = cost_of


@dataclass(frozen=True)
class FrontPoint:
    """A plan on the search's accuracy–cost front; losses in nats, before finetuning.

    ``predicted_loss`` is the sum of the search's scores above the best conceivable, None where they are no losses; loss
    and accuracy on validation are None where the search did not measure that very plan.
    """

    costs: Mapping[str, Amount | None]
    predicted_loss: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    __getattr__ = cost_of


@dataclass(frozen=True)
class PartCosts:
    """Layers taken together: a group's shares are of the whole model, an attention linear's of all attention layers."""

    name: str
    layers: int
    weights: int
    costs: Costs
    __getattr__ = cost_of


@dataclass(frozen=True)
class LayerRow:
    """One layer; shares are of the whole plan, ``probabilities`` what the search ended with (a record, or None)."""

    name: str
    group: str
    kind: str
    shape: tuple[int, ...]
    input: str
    weights: int
    scheme: str
    bits: float
    costs: Costs
    probabilities: dict[str, float] | None
    edited: bool
    __getattr__ = cost_of


@dataclass(frozen=True)
class ModelRow:
    """One energy model's totals, in pJ of what ``counts`` says; None where it is not measured."""

    model: str
    counts: str
    energy_pj: float | None
    energy_pj_float: float | None
    energy_fraction: float | None


@dataclass(frozen=True)
class EventEnergy:
    """The event model, per inference and sample: of the packed model, and of the float one (None: not measured).

    ``expected_pj`` is what a plan that was priced by events was expected to take, ``difference`` the measured energy
    over it, minus 1; None for other plans.
    """

    sentence: str
    plan: EventCosts | None
    float_model: EventCosts | None
    expected_pj: float | None
    difference: float | None


@dataclass(frozen=True)
class FiringRow:
    """Neurons behind one module path, packed and float (None: not measured).

    ``distance``: earth mover's distance of the rates over the neurons, 0 … 1. ``dead`` never fired on any measured
    sample, ``saturated`` fired at every step of all.
    """

    name: str
    neurons: int
    firing_rate: float
    firing_rate_float: float | None
    distance: float | None
    dead: int | None
    dead_float: int | None
    saturated: int | None
    saturated_float: int | None
