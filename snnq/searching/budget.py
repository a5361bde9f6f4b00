"""Budgets: what a plan may cost at most, in the units of its totals."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snnq.base.errors import UsageError, nearest
from snnq.cost.quantities import declared, layer_costs
from snnq.cost.table import CostTable
from snnq.network.layers import Layer
from snnq.schemes.names import FLOAT32


@dataclass(frozen=True)
class Unit:
    """One way to state a limit: the key of a plan's totals it limits, how many of it one unit is, and an example."""

    key: str
    factor: float
    example: str = "40"
    per_cent: bool = False


def units() -> dict[str, Unit]:
    """Return every way to state a limit, by its name: of each declared quantity the mean, the fraction, the amount."""
    found: dict[str, Unit] = {}
    for one in declared():
        found |= {key.replace("_", "-"): Unit(key, 1, "2.2") for key in one.means}
        found[one.name] = Unit(one.fraction, 0.01, one.example, per_cent=True)
        found |= {name: Unit(one.key, factor) for name, factor in one.limits.items()}
    return found


def parse_budget(texts: Sequence[str]) -> dict[str, float]:
    """Read ``avg-bits=2.2``, ``storage=6.6%``, ``storage-kib=40``, ``energy=10%``, … (also separated by commas).

    Returns limits by the keys of ``Totals``; of two limits on one key in different units the smaller
    holds. Raises UsageError for an unknown name, one that is given twice, a limit that is no positive number, and a
    share without its per cent sign.
    """
    budget: dict[str, float] = {}
    typed: dict[str, str] = {}
    known = units()
    for text in (part.strip() for one in texts for part in one.split(",")):
        name, _, limit = (part.strip() for part in text.partition("="))
        if name not in known:
            raise UsageError(f"--budget {text}: unknown '{name}'{nearest(name, known)}; allowed: {', '.join(known)}")
        unit = known[name]
        sign = "%" if unit.per_cent else ""
        written = re.fullmatch(rf"(\d*\.?\d+(e[-+]?\d+)?){sign}", limit)
        value = float(written[1]) * unit.factor if written else 0
        if not 0 < value < math.inf:
            share = " per cent of float32, with its sign" if unit.per_cent else ""
            plain = re.fullmatch(r"\d*\.?\d+", limit) if unit.per_cent else None
            meant = f"did you mean {name}={limit}%?" if plain and float(limit) > 0 else ""
            raise UsageError(f"--budget {text}: give a number above 0{share}, such as {name}={unit.example}", meant)
        if typed.setdefault(name, text) != text:
            raise UsageError(f"--budget {typed[name]} {text}: '{name}' is given twice", "give one of them")
        budget[unit.key] = min(value, budget.get(unit.key, value))
    return budget


def shown(key: str, value: float, *, up: bool = False) -> str:
    """Return a limit as it is typed; with ``up``, rounded so that typing it back is no less than ``value``."""
    name, unit = _unit_of(key)
    scaled = value / unit.factor
    digits = 4 if scaled < 1000 else 1
    text = f"{np.ceil(scaled * 10**digits) / 10**digits if up else scaled:.{digits}f}".rstrip("0").rstrip(".")
    return f"{name}={text}{'%' if unit.per_cent else ''}"


def exact(key: str, value: float) -> str:
    """Return a limit as it is typed so that ``parse_budget`` gives this very value."""
    name, unit = _unit_of(key)
    scaled = value / unit.factor
    # Division and multiplication do not always meet again: look beside it.
    near = (scaled, math.nextafter(scaled, 0), math.nextafter(scaled, math.inf))
    number = next((one for one in near if one * unit.factor == value), scaled)
    return f"{name}={number!r}{'%' if unit.per_cent else ''}"


def _unit_of(key: str) -> tuple[str, Unit]:
    """Return the first way to state a limit of this key, by its name."""
    return next((name, unit) for name, unit in units().items() if unit.key == key)


def limit_costs(layers: Sequence[Layer], names: Sequence[str], table: CostTable) -> dict[str, np.ndarray]:
    """Return, by the key of ``Totals`` that a budget may limit, what each layer under each scheme adds to it, (L, K).

    All quantities are sums over the layers (docs/method.md §3), so a plan's total is the sum of its layers' entries.
    """
    priced = [[layer_costs(layer, name, table) for name in names] for layer in layers]
    floats = [layer_costs(layer, FLOAT32, table) for layer in layers]
    weights = sum(layer.weights for layer in layers)
    costs: dict[str, np.ndarray] = {}
    for one in declared():
        amounts = np.array([[paid[one.key] for paid in row] for row in priced], dtype=np.float64)
        whole = sum(paid[one.key] for paid in floats)
        costs |= dict.fromkeys(one.means, amounts / weights)
        costs |= {one.fraction: amounts / whole if whole else np.zeros_like(amounts), one.key: amounts}
    return costs


def realised(costs: Mapping[str, np.ndarray], chosen: Sequence[int], budget: Mapping[str, float]) -> dict[str, float]:
    """Return what a choice (L,) costs by each key of the budget."""
    rows = np.arange(len(chosen))
    return {key: float(costs[key][rows, list(chosen)].sum()) for key in budget}
