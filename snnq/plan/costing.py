"""Storage and energy of a plan: sums over its layers (docs/method.md §3), in total, per group and for the baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from snnq.cost.energy import layer_energy, storage_bits
from snnq.cost.table import CostTable
from snnq.network.layers import GROUPS
from snnq.plan.records import Asked, Baseline, GroupCost, LayerInput, PlanLayer, SearchInfo, Totals
from snnq.schemes.names import FLOAT32

BASELINES = (FLOAT32, "uniform-4", "uniform-2", "power-of-two-4", "power-of-two-2")
# float32 in every layer, with the weights a search ended with; FLOAT32 is the checkpoint as given.
TRAINED_FLOAT = "float32, searched"


def cost_layers(layers: Sequence[LayerInput], table: CostTable, scheme: str | None = None) -> tuple[PlanLayer, ...]:
    """Return layers with their bits and energy in pJ, under their own schemes or all under ``scheme``."""
    return tuple(_cost_layer(entry, scheme or entry.scheme, table) for entry in layers)


def _cost_layer(entry: LayerInput, scheme: str, table: CostTable) -> PlanLayer:
    layer = entry.layer()
    choice = {name: getattr(entry, name) for name in LayerInput.model_fields} | {"scheme": scheme}
    costs = {"bits": storage_bits(layer, scheme), "energy_pj": layer_energy(layer, scheme, table).total_pj}
    return PlanLayer.model_validate(choice | costs)


def weights_of(layers: Sequence[PlanLayer]) -> int:
    """Return the number of weights of some layers."""
    return sum(math.prod(layer.shape) for layer in layers)


def bits_of(layers: Sequence[PlanLayer]) -> int:
    """Return the storage of some layers, in bits."""
    return sum(layer.bits for layer in layers)


def energy_of(layers: Sequence[PlanLayer]) -> float:
    """Return the energy of some layers, in pJ per time step and sample."""
    return math.fsum(layer.energy_pj for layer in layers)


def share_of(part: float, whole: float) -> float:
    """Return part/whole; a table of zeros has no energy to share."""
    return part / whole if whole else 0.0


def total_costs(layers: Sequence[PlanLayer], floats: Sequence[PlanLayer], search: SearchInfo | None) -> Totals:
    """Return the totals of costed layers beside ``floats``, the same layers in float32."""
    weights, bits, energy = weights_of(layers), bits_of(layers), energy_of(layers)
    numbers = {
        "weights": weights,
        "bits": bits,
        "avg_bits": bits / weights,
        "storage_bits": bits,
        "storage_fraction": bits / bits_of(floats),
        "compression": bits_of(floats) / bits,
        "energy_pj": energy,
        "energy_fraction": share_of(energy, energy_of(floats)),
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
                weights=weights_of(mine),
                storage_bits=bits_of(mine),
                storage_share=bits_of(mine) / bits_of(layers),
                energy_pj=energy_of(mine),
                energy_share=share_of(energy_of(mine), energy_of(layers)),
                avg_bits=bits_of(mine) / weights_of(mine),
                storage_share_float=bits_of(mine_float) / bits_of(floats),
                energy_share_float=share_of(energy_of(mine_float), energy_of(floats)),
            )
    return groups


def baseline_costs(
    layers: Sequence[LayerInput], floats: Sequence[PlanLayer], table: CostTable, known: Sequence[Baseline]
) -> tuple[Baseline, ...]:
    """Return the uniform plans, head included, and all others that are known, with what has been measured of them."""
    measured = {baseline.scheme: baseline for baseline in known}
    baselines = []
    for name in dict.fromkeys((*BASELINES, *measured)):
        one = measured.get(name) or Baseline(scheme=name)
        own = [
            entry.model_copy(update={"scheme": one.schemes[entry.name] if one.schemes else name}) for entry in layers
        ]
        costed = cost_layers(own, table)
        costs = {
            "avg_bits": bits_of(costed) / weights_of(costed),
            "storage_fraction": bits_of(costed) / bits_of(floats),
            "energy_fraction": share_of(energy_of(costed), energy_of(floats)),
        }
        baselines.append(one.model_copy(update=costs))
    return tuple(baselines)
