"""The best assignment of schemes under a budget: a small integer programme over scores.

    min Σ_l Σ_k s_lk x_lk   subject to   Σ_k x_lk = 1,   Σ_l Σ_k c_i,lk x_lk ≤ limit_i,   x ∈ {0, 1}

a multiple-choice knapsack, solved exactly by HiGHS (``scipy.optimize.milp``). Tied layers share their x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from snnq.base.errors import BudgetError, SnnqError
from snnq.searching.budget import realised, shown
from snnq.searching.constraints import Choices


def allocate(
    choices: Choices, scores: np.ndarray, costs: Mapping[str, np.ndarray], budget: Mapping[str, float]
) -> list[int]:
    """Return, for each layer, the position in ``choices.names`` that minimises the summed scores (L, K) in the budget.

    ``costs`` are those of ``limit_costs``. The plan never exceeds a limit, not by rounding either. Raises
    BudgetError, naming the smallest possible value, if no assignment keeps the budget.
    """
    # The solver allows a relative 1e-6 above a limit: where that was used, a hair less is asked for.
    for tightened in (1.0, 1 - 2e-6, 1 - 1e-5):
        chosen = _solve(choices, scores, [(costs[name] / limit, tightened) for name, limit in budget.items()])
        if chosen is None:
            break
        if all(value <= budget[name] for name, value in realised(costs, chosen, budget).items()):
            return chosen
    raise BudgetError(_impossible(choices, costs, budget), "snnq search --budget with that value, or a wider --space")


def check_budget(choices: Choices, costs: Mapping[str, np.ndarray], budget: Mapping[str, float]) -> None:
    """Raise BudgetError if no assignment keeps the budget."""
    if budget:
        allocate(choices, np.zeros((len(choices.layers), len(choices.names))), costs, budget)


def _impossible(choices: Choices, costs: Mapping[str, np.ndarray], budget: Mapping[str, float]) -> str:
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


def least(choices: Choices, costs: Mapping[str, np.ndarray], name: str, others: Mapping[str, float]) -> float | None:
    """Return the smallest value a quantity can have while others keep their limits; None if these cannot be kept."""
    whole = float(costs[name].max(1).sum()) or 1.0
    chosen = _solve(choices, costs[name] / whole, [(costs[other] / limit, 1.0) for other, limit in others.items()])
    return None if chosen is None else realised(costs, chosen, {name: 0.0})[name]


def _solve(choices: Choices, scores: np.ndarray, rows: Sequence[tuple[np.ndarray, float]]) -> list[int] | None:
    """Return the best choice (L,) under the rows (matrix (L, K), limit), or None if there is none."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array, eye_array, kron

    group, shape = np.asarray(choices.group), (choices.groups, len(choices.names))
    open_ = np.ones(shape, dtype=bool)
    for own, row in zip(group, choices.allowed, strict=True):
        open_[own] &= row

    def summed(matrix: np.ndarray) -> np.ndarray:
        total = np.zeros(shape)
        np.add.at(total, group, matrix)
        return total.ravel()

    one_each = LinearConstraint(csr_array(kron(eye_array(shape[0]), np.ones((1, shape[1])))), 1, 1)
    scores = np.where(choices.allowed, scores, 0.0)  # what is not allowed has no score
    limits = [LinearConstraint(csr_array(summed(matrix)[None]), -np.inf, limit) for matrix, limit in rows]
    found = milp(
        summed(scores),
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
    return [int(best[own]) for own in group]
