"""Storage and energy of a plan: sums over its layers (METHOD §3), in total, per group and for the baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from snnq.cost.energy import layer_energy, storage_bits
from snnq.cost.table import CostTable
from snnq.layers import GROUPS
from snnq.plan.records import Asked, Baseline, GroupCost, LayerInput, PlanLayer, SearchInfo, Totals
from snnq.schemes.names import FLOAT32

BASELINES = (FLOAT32, "uniform-4", "uniform-2", "power-of-two-4", "power-of-two-2")


def cost_layers(layers: Sequence[LayerInput], table: CostTable, scheme: str | None = None) -> tuple[PlanLayer, ...]:
    """Return layers with their bits and energy in pJ, under their own schemes or all under ``scheme``."""
    return tuple(_cost_layer(entry, scheme or entry.scheme, table) for entry in layers)


def _cost_layer(entry: LayerInput, scheme: str, table: CostTable) -> PlanLayer:
    layer = entry.layer()
    choice = {name: getattr(entry, name) for name in LayerInput.model_fields} | {"scheme": scheme}
    costs = {"bits": storage_bits(layer, scheme), "energy_pj": layer_energy(layer, scheme, table).total_pj}
    return PlanLayer.model_validate(choice | costs)


def _weights(layers: Sequence[PlanLayer]) -> int:
    return sum(math.prod(layer.shape) for layer in layers)


def _bits(layers: Sequence[PlanLayer]) -> int:
    return sum(layer.bits for layer in layers)


def _energy(layers: Sequence[PlanLayer]) -> float:
    return math.fsum(layer.energy_pj for layer in layers)


def _share(part: float, whole: float) -> float:
    """Return part/whole; a table of zeros has no energy to share."""
    return part / whole if whole else 0.0


def total_costs(layers: Sequence[PlanLayer], floats: Sequence[PlanLayer], search: SearchInfo | None) -> Totals:
    """Return the totals of costed layers beside ``floats``, the same layers in float32."""
    weights, bits, energy = _weights(layers), _bits(layers), _energy(layers)
    numbers = {
        "weights": weights,
        "bits": bits,
        "avg_bits": bits / weights,
        "storage_bits": bits,
        "storage_fraction": bits / _bits(floats),
        "compression": _bits(floats) / bits,
        "energy_pj": energy,
        "energy_fraction": _share(energy, _energy(floats)),
    }
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
            groups[group] = GroupCost(
                weights=_weights(mine),
                storage_bits=_bits(mine),
                storage_share=_bits(mine) / _bits(layers),
                energy_pj=_energy(mine),
                energy_share=_share(_energy(mine), _energy(layers)),
                avg_bits=_bits(mine) / _weights(mine),
                storage_share_float=_bits(mine_float) / _bits(floats),
                energy_share_float=_share(_energy(mine_float), _energy(floats)),
            )
    return groups


def baseline_costs(
    layers: Sequence[LayerInput], floats: Sequence[PlanLayer], table: CostTable, accuracies: Mapping[str, float | None]
) -> tuple[Baseline, ...]:
    """Return the uniform plans, head included, with the validation accuracies (0 … 1) that have been measured."""
    baselines = []
    for scheme in dict.fromkeys((*BASELINES, *accuracies)):
        costed = cost_layers(layers, table, scheme)
        baselines.append(
            Baseline(
                scheme=scheme,
                avg_bits=_bits(costed) / _weights(costed),
                storage_fraction=_bits(costed) / _bits(floats),
                energy_fraction=_share(_energy(costed), _energy(floats)),
                validation_accuracy=accuracies.get(scheme),
            )
        )
    return tuple(baselines)
