"""What a plan costs: sums of every quantity over its layers (docs/method.md §3), in total, by group, for baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from snnq.cost.quantities import (
    EVENT_ENERGY,
    STORAGE,
    Amount,
    Quantity,
    costs_beside,
    known,
    layer_costs,
    share_of,
    total,
)
from snnq.cost.table import CostTable
from snnq.network.layers import GROUPS
from snnq.plan.records import Asked, Baseline, GroupCost, LayerInput, PlanLayer, SearchInfo, Totals
from snnq.schemes.names import FLOAT32

BASELINES = (FLOAT32, "uniform-4", "uniform-2", "power-of-two-4", "power-of-two-2")
# float32 in every layer, with the weights a search ended with; FLOAT32 is the checkpoint as given.
TRAINED_FLOAT = "float32, searched"


def cost_layers(layers: Sequence[LayerInput], table: CostTable, scheme: str | None = None) -> tuple[PlanLayer, ...]:
    """Return layers with what they cost, under their own schemes or all under ``scheme``."""
    return tuple(_cost_layer(entry, scheme or entry.scheme, table) for entry in layers)


def _cost_layer(entry: LayerInput, scheme: str, table: CostTable) -> PlanLayer:
    choice = {name: getattr(entry, name) for name in LayerInput.model_fields} | {"scheme": scheme}
    costs = layer_costs(entry.layer(), scheme, table)
    return PlanLayer.model_validate(choice | {"bits": costs.pop(STORAGE.key)} | costs)


def weights_of(layers: Sequence[PlanLayer]) -> int:
    """Return the number of weights of some layers."""
    return sum(math.prod(layer.shape) for layer in layers)


def amount_of(quantity: Quantity, layers: Sequence[PlanLayer]) -> Amount:
    """Return the amount of a quantity that some layers cost together."""
    return total(getattr(layer, quantity.key) for layer in layers)


def whole_costs(layers: Sequence[PlanLayer], table: CostTable) -> dict[str, Amount]:
    """Return what a model of these layers costs by the key of every known quantity: with what stands beside layers."""
    beside = costs_beside(table, any(layer.scheme != FLOAT32 for layer in layers))
    own = {one.key: amount_of(one, layers) for one in known(layers[0])}
    return {key: total((amount, beside[key])) if key in beside else amount for key, amount in own.items()}


def ratio_costs(
    layers: Sequence[PlanLayer], floats: Mapping[str, Amount], table: CostTable
) -> dict[Quantity, dict[str, Amount]]:
    """Return by quantity the mean over weights, where there is one, and the fraction of ``floats``, by their keys."""
    amounts = whole_costs(layers, table)
    return {
        one: mean_cost(one, layers) | {one.fraction: share_of(amounts[one.key], floats[one.key])}
        for one in known(amounts)
    }


def mean_cost(quantity: Quantity, layers: Sequence[PlanLayer]) -> dict[str, Amount]:
    """Return the mean over weights by its key; nothing for a quantity that has none."""
    return {key: amount_of(quantity, layers) / weights_of(layers) for key in quantity.means}


def total_costs(
    layers: Sequence[PlanLayer], floats: Mapping[str, Amount], table: CostTable, search: SearchInfo | None
) -> Totals:
    """Return the totals of costed layers beside ``floats``, the ``whole_costs`` of the same layers in float32."""
    amounts = whole_costs(layers, table)
    bits = amounts[STORAGE.key]
    numbers = {"weights": weights_of(layers), "bits": bits, "compression": floats[STORAGE.key] / bits}
    for one, ratios in ratio_costs(layers, floats, table).items():
        numbers |= {one.key: amounts[one.key]} | ratios
    return Totals.model_validate(numbers | {"asked": _asked(search, numbers)})


def _asked(search: SearchInfo | None, numbers: Mapping[str, float]) -> Asked:
    budget = search.budget if search else None
    realised = None if budget is None else {key: float(numbers[key]) for key in budget if key in numbers}
    return Asked(trade_off=search.trade_off if search else None, budget=budget, realised=realised)


def group_costs(layers: Sequence[PlanLayer], floats: Sequence[PlanLayer]) -> dict[str, GroupCost]:
    """Return the costs of every group that has layers, in the order tokenizer, attention, mlp, head."""
    groups = {}
    for group in GROUPS:
        mine = [layer for layer in layers if layer.group == group]
        mine_float = [layer for layer in floats if layer.group == group]
        if mine:
            costs = part_costs(mine, layers) | {
                f"{one.share}_float": share_of(amount_of(one, mine_float), amount_of(one, floats))
                for one in known(mine[0])
            }
            groups[group] = GroupCost.model_validate({"weights": weights_of(mine)} | costs)
    return groups


def part_costs(part: Sequence[PlanLayer], whole: Sequence[PlanLayer]) -> dict[str, Amount]:
    """Return the mean, the amount and the share of the whole of every known quantity, by their keys."""
    costs: dict[str, Amount] = {}
    for one in known(whole[0]):
        amount = amount_of(one, part)
        costs |= mean_cost(one, part) | {one.key: amount, one.share: share_of(amount, amount_of(one, whole))}
    return costs


def baseline_costs(
    layers: Sequence[LayerInput], floats: Mapping[str, Amount], table: CostTable, others: Sequence[Baseline]
) -> tuple[Baseline, ...]:
    """Return the uniform plans, head included, and all others that there are, with what has been measured of them.

    ``floats`` are the ``whole_costs`` of the same layers in float32.
    """
    measured = {baseline.scheme: baseline for baseline in others}
    baselines = []
    for name in dict.fromkeys((*BASELINES, *measured)):
        one = measured.get(name) or Baseline(scheme=name)
        own = [
            entry.model_copy(update={"scheme": one.schemes[entry.name] if one.schemes else name}) for entry in layers
        ]
        costs = ratio_costs(cost_layers(own, table), floats, table)
        baselines.append(one.model_copy(update={key: value for one in costs.values() for key, value in one.items()}))
    return tuple(baselines)


def event_limit(totals: Totals, budget: Mapping[str, float] | None) -> float | None:
    """Return the most event energy in pJ that a budget allows a plan of these totals; None where it limits none."""
    known_to, limits = known(totals), []
    if budget and EVENT_ENERGY in known_to and EVENT_ENERGY.key in budget:
        limits.append(budget[EVENT_ENERGY.key])
    if budget and EVENT_ENERGY in known_to and EVENT_ENERGY.fraction in budget:
        whole = getattr(totals, EVENT_ENERGY.key) / getattr(totals, EVENT_ENERGY.fraction)
        limits.append(budget[EVENT_ENERGY.fraction] * whole)
    return min(limits, default=None)
