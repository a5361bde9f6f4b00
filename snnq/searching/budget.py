"""Budgets: what a plan may cost at most, in the units of its totals."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnq.base.errors import UsageError, nearest
from snnq.cost.energy import layer_energy, storage_bits
from snnq.cost.table import CostTable
from snnq.network.layers import Layer
from snnq.schemes.names import FLOAT32


@dataclass(frozen=True)
class Unit:
    """One way to state a limit: the quantity of a plan's totals it limits, and how many of it one unit is."""

    quantity: str
    factor: float
    per_cent: bool = False


UNITS = {
    "avg-bits": Unit("avg_bits", 1),
    "storage": Unit("storage_fraction", 0.01, per_cent=True),
    "storage-kib": Unit("storage_bits", 8 * 1024),
    "storage-mib": Unit("storage_bits", 8 * 1024**2),
    "energy": Unit("energy_fraction", 0.01, per_cent=True),
    "energy-pj": Unit("energy_pj", 1),
    "energy-nj": Unit("energy_pj", 1e3),
    "energy-uj": Unit("energy_pj", 1e6),
}
QUANTITIES = tuple(dict.fromkeys(unit.quantity for unit in UNITS.values()))


def parse_budget(texts: Sequence[str]) -> dict[str, float]:
    """Read ``avg-bits=2.2``, ``storage=6.6%``, ``storage-kib=40``, ``energy=10%``, … (also separated by commas).

    Returns the limit of each quantity of ``Totals``; of two limits on one quantity in different units the smaller
    holds. Raises UsageError for an unknown name, one that is given twice, a limit that is no positive number, and a
    share without its per cent sign.
    """
    budget: dict[str, float] = {}
    typed: dict[str, str] = {}
    for text in (part.strip() for one in texts for part in one.split(",")):
        name, _, limit = (part.strip() for part in text.partition("="))
        if name not in UNITS:
            raise UsageError(f"--budget {text}: unknown '{name}'{nearest(name, UNITS)}; allowed: {', '.join(UNITS)}")
        unit = UNITS[name]
        sign = "%" if unit.per_cent else ""
        written = re.fullmatch(rf"(\d*\.?\d+(e[-+]?\d+)?){sign}", limit)
        value = float(written[1]) * unit.factor if written else 0
        if not 0 < value < math.inf:
            share = " per cent of float32, with its sign" if unit.per_cent else ""
            plain = re.fullmatch(r"\d*\.?\d+", limit) if unit.per_cent else None
            meant = f"did you mean {name}={limit}%?" if plain and float(limit) > 0 else ""
            raise UsageError(f"--budget {text}: give a number above 0{share}, such as {name}={_example(name)}", meant)
        if typed.setdefault(name, text) != text:
            raise UsageError(f"--budget {typed[name]} {text}: '{name}' is given twice", "give one of them")
        budget[unit.quantity] = min(value, budget.get(unit.quantity, value))
    return budget


def _example(name: str) -> str:
    return {"avg-bits": "2.2", "storage": "6.6%", "energy": "10%"}.get(name, "40")


def shown(quantity: str, value: float, *, up: bool = False) -> str:
    """Return a limit as it is typed; with ``up``, rounded so that typing it back is no less than ``value``."""
    name, unit = next((name, unit) for name, unit in UNITS.items() if unit.quantity == quantity)
    scaled = value / unit.factor
    digits = 4 if scaled < 1000 else 1
    text = f"{np.ceil(scaled * 10**digits) / 10**digits if up else scaled:.{digits}f}".rstrip("0").rstrip(".")
    return f"{name}={text}{'%' if unit.per_cent else ''}"


def exact(quantity: str, value: float) -> str:
    """Return a limit as it is typed so that ``parse_budget`` gives this very value."""
    typed = {"avg_bits": "avg-bits", "energy_pj": "energy-pj"}
    if quantity in typed:
        return f"{typed[quantity]}={value!r}"
    name, unit = next((name, unit) for name, unit in UNITS.items() if unit.quantity == quantity)
    scaled = value / unit.factor
    # Division and multiplication do not always meet again: look beside it.
    near = (scaled, math.nextafter(scaled, 0), math.nextafter(scaled, math.inf))
    number = next((one for one in near if one * unit.factor == value), scaled)
    return f"{name}={number!r}{'%' if unit.per_cent else ''}"


def quantity_costs(layers: Sequence[Layer], names: Sequence[str], table: CostTable) -> dict[str, np.ndarray]:
    """Return, by quantity of ``Totals``, what each layer under each scheme adds to it, float64 (L, K) each.

    All quantities are sums over the layers (docs/method.md §3), so a plan's total is the sum of its layers' entries.
    """
    bits = np.array([[storage_bits(layer, name) for name in names] for layer in layers], dtype=np.float64)
    energy = np.array([[layer_energy(layer, name, table).total_pj for name in names] for layer in layers])
    weights = sum(layer.weights for layer in layers)
    whole = sum(layer_energy(layer, FLOAT32, table).total_pj for layer in layers)
    return {
        "avg_bits": bits / weights,
        "storage_fraction": bits / (32 * weights),
        "storage_bits": bits,
        "energy_fraction": energy / whole if whole else np.zeros_like(energy),
        "energy_pj": energy,
    }


def realised(costs: Mapping[str, np.ndarray], chosen: Sequence[int], budget: Mapping[str, float]) -> dict[str, float]:
    """Return what a choice (L,) costs in each quantity of the budget."""
    rows = np.arange(len(chosen))
    return {quantity: float(costs[quantity][rows, list(chosen)].sum()) for quantity in budget}
