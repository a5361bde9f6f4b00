"""Budgets, what a plan may cost at most in the units of its totals, and the best assignment of schemes under one.

The latter is a small integer programme over scores,

    min Σ_l Σ_k s_lk x_lk   subject to   Σ_k x_lk = 1,   Σ_l Σ_k c_i,lk x_lk ≤ limit_i,   x ∈ {0, 1}

a multiple-choice knapsack, solved exactly by HiGHS (``scipy.optimize.milp``). Tied layers share their x.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from snnq.base.errors import BudgetError, SnnqError, UsageError, nearest
from snnq.base.quiet import output_discarded
from snnq.cost.quantities import costs_beside, declared, known, layer_costs
from snnq.cost.table import CostTable
from snnq.hardware.crossbars import quantities as _on_arrays  # noqa: F401 (declares its quantities)
from snnq.network.layers import Layer
from snnq.schemes.names import FLOAT32
from snnq.searching.constraints import Choices

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# Of a sum of some hundred shares, relatively.
_ROUNDING = 1e-12


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


def limit_costs(layers: Sequence[Layer], names: Sequence[str], table: CostTable) -> dict[str, Float[np.ndarray, "L K"]]:
    """Return, by the key of ``Totals`` that a budget may limit, what each layer under each scheme adds to it, (L, K).

    All quantities are sums over the layers (docs/method.md §3), so a plan's total is the sum of its layers' entries;
    what stands beside the layers of a quantised model is spread evenly over them.
    """
    priced = [[layer_costs(layer, name, table) for name in names] for layer in layers]
    floats = [layer_costs(layer, FLOAT32, table) for layer in layers]
    weights = sum(layer.weights for layer in layers)
    beside, beside_floats = costs_beside(table, True), costs_beside(table, False)
    costs: dict[str, np.ndarray] = {}
    for one in known(floats[0]):
        amounts = np.array([[paid[one.key] for paid in row] for row in priced], dtype=np.float64)
        amounts += beside.get(one.key, 0.0) / len(layers)
        whole = sum(paid[one.key] for paid in floats) + beside_floats.get(one.key, 0.0)
        costs |= dict.fromkeys(one.means, amounts / weights)
        costs |= {one.fraction: amounts / whole if whole else np.zeros_like(amounts), one.key: amounts}
    return costs


def realised(
    costs: Mapping[str, Float[np.ndarray, "L K"]], chosen: Sequence[int], budget: Mapping[str, float]
) -> dict[str, float]:
    """Return what a choice (L,) costs by each key of the budget."""
    rows = np.arange(len(chosen))
    return {key: float(costs[key][rows, list(chosen)].sum()) for key in budget}


def allocate(
    choices: Choices,
    scores: Float[np.ndarray, "L K"],
    costs: Mapping[str, Float[np.ndarray, "L K"]],
    budget: Mapping[str, float],
) -> list[int]:
    """Return, for each layer, the position in ``choices.names`` that minimises the summed scores (L, K) in the budget.

    ``costs`` are those of ``limit_costs``. The plan never exceeds a limit, but by the rounding of a sum where the limit
    is the least that is possible. Raises BudgetError, naming the smallest possible value, if no assignment keeps the
    budget.
    """
    given, limits = choices, {name: limit for name, limit in budget.items() if limit}  # of zero: nothing costs any
    for name in tuple(limits):
        if _is_least(choices, costs[name], limits[name]):
            choices = _cheapest(choices, costs[name])
            del limits[name]
    # The solver allows a relative 1e-6 above a limit: where that was used, a hair less is asked for.
    for tightened in (1.0, 1 - 2e-6, 1 - 1e-5):
        chosen = _solve(choices, scores, [(costs[name] / limit, tightened) for name, limit in limits.items()])
        if chosen is None:
            break
        if all(value <= limits[name] for name, value in realised(costs, chosen, limits).items()):
            return chosen
    raise BudgetError(_impossible(given, costs, budget), "snnq search --budget with that value, or a wider --space")


def _is_least(choices: Choices, costs: Float[np.ndarray, "L K"], limit: float) -> bool:
    """Return whether a limit is the least that is possible, but for the rounding of the sum."""
    total = np.where(_open(choices), _summed(choices, costs), np.inf)
    return abs(float(total.min(1).sum()) - limit) <= _ROUNDING * limit


def _cheapest(choices: Choices, costs: Float[np.ndarray, "L K"]) -> Choices:
    """Return what is left to choose where every group takes a scheme of least cost."""
    total = np.where(_open(choices), _summed(choices, costs), np.inf)
    least = total <= total.min(1, keepdims=True) * (1 + _ROUNDING)
    return replace(choices, allowed=choices.allowed & least[list(choices.group)])


def check_budget(choices: Choices, costs: Mapping[str, Float[np.ndarray, "L K"]], budget: Mapping[str, float]) -> None:
    """Raise BudgetError if no assignment keeps the budget."""
    if budget:
        allocate(choices, np.zeros((len(choices.layers), len(choices.names))), costs, budget)


def _impossible(choices: Choices, costs: Mapping[str, Float[np.ndarray, "L K"]], budget: Mapping[str, float]) -> str:
    """Say which limit cannot be kept and how low its quantity can go: alone, or while the other limits hold."""
    for name, limit in budget.items():
        lowest = least(choices, costs, name, {})
        if lowest is not None and lowest > limit:
            return f"no plan keeps {shown(name, limit)}; the smallest possible is {shown(name, lowest, up=True)}"
    parts = []
    for name in budget:
        others = {other: value for other, value in budget.items() if other != name}
        lowest = least(choices, costs, name, others)
        if lowest is not None:
            kept = ", ".join(shown(other, value) for other, value in others.items())
            parts.append(f"with {kept} the smallest possible is {shown(name, lowest, up=True)}")
    asked = ", ".join(shown(name, limit) for name, limit in budget.items())
    return f"no plan keeps {asked} together; {'; '.join(parts)}"


def least(
    choices: Choices, costs: Mapping[str, Float[np.ndarray, "L K"]], name: str, others: Mapping[str, float]
) -> float | None:
    """Return the smallest value a quantity can have while others keep their limits; None if these cannot be kept."""
    whole = float(costs[name].max(1).sum()) or 1.0
    chosen = _solve(choices, costs[name] / whole, [(costs[other] / limit, 1.0) for other, limit in others.items()])
    return None if chosen is None else realised(costs, chosen, {name: 0.0})[name]


def _open(choices: Choices) -> Bool[np.ndarray, "groups K"]:
    """Return what all layers of a group allow, (groups, K)."""
    found = np.ones((choices.groups, len(choices.names)), dtype=bool)
    for own, row in zip(choices.group, choices.allowed, strict=True):
        found[own] &= row
    return found


def _summed(choices: Choices, matrix: Float[np.ndarray, "L K"]) -> Float[np.ndarray, "groups K"]:
    """Return the sums over the layers of each group, (groups, K)."""
    total = np.zeros((choices.groups, len(choices.names)))
    np.add.at(total, np.asarray(choices.group), matrix)
    return total


def _solve(
    choices: Choices, scores: Float[np.ndarray, "L K"], rows: Sequence[tuple[Float[np.ndarray, "L K"], float]]
) -> list[int] | None:
    """Return the best choice (L,) under the rows (matrix (L, K), limit), or None if there is none."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, eye_array, kron

    open_, shape = _open(choices), (choices.groups, len(choices.names))
    one_each = LinearConstraint(csr_array(kron(eye_array(shape[0]), np.ones((1, shape[1])))), 1, 1)
    scores = np.where(choices.allowed, scores, 0.0)  # what is not allowed has no score
    sums = [(_summed(choices, matrix).ravel(), limit) for matrix, limit in rows]
    limits = [LinearConstraint(csr_array(row[None]), -np.inf, limit) for row, limit in sums]
    with output_discarded():  # HiGHS says which of its functions it has come to
        found = milp(
            _summed(choices, scores).ravel(),
            constraints=[one_each, *limits],
            integrality=np.ones(shape[0] * shape[1]),
            bounds=Bounds(np.zeros(open_.size), open_.ravel().astype(float)),  # pyright: ignore
            options={"mip_rel_gap": 0.0},
        )
    if found.status == 2:
        return None
    if found.x is None:
        raise SnnqError(f"the integer programme was not solved: {found.message}")
    best = found.x.reshape(shape).argmax(1)
    return [int(best[own]) for own in choices.group]
