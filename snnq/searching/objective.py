"""What a search aims for: scores under a budget, or scores and priced cost; and the price while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from snnq.cost.quantities import ENERGY, declared
from snnq.cost.table import CostTable
from snnq.searching.allocation import allocate
from snnq.searching.budget import limit_costs, realised
from snnq.searching.constraints import Choices
from snnq.searching.patterns import matching
from snnq.searching.price import Price
from snnq.searching.settings import SearchSettings


@dataclass(frozen=True)
class Objective:
    """What the final plan minimises: scores, plus the priced cost where there is no budget."""

    choices: Choices
    costs: Mapping[str, np.ndarray]
    budget: Mapping[str, float]
    penalty: np.ndarray

    def solve(self, scores: np.ndarray) -> list[int]:
        """Return the best choice (L,) for scores (L, K)."""
        return allocate(self.choices, scores + self.penalty, self.costs, self.budget)


def objective(choices: Choices, settings: SearchSettings, table: CostTable) -> Objective:
    """Return a search's objective. With a trade-off: λ_l · E_lk / E_float32 beside the scores [paper]."""
    costs = limit_costs(choices.layers, choices.names, table)
    penalty = np.zeros(choices.allowed.shape)
    if not settings.budget:
        penalty = trade_offs(choices, settings)[:, None] * costs[ENERGY.fraction]
    return Objective(choices, costs, settings.budget or {}, penalty)


def trade_offs(choices: Choices, settings: SearchSettings) -> np.ndarray:
    """Return λ of every layer, (L,)."""
    found = np.full(len(choices.layers), settings.trade_off)
    for pattern, value in settings.trade_offs:
        found[matching(pattern, choices.layers, "--trade-off")] = value
    return found


def same_cost(aim: Objective, chosen: list[int]) -> Objective:
    """Return the objective of a rival: the same budget, or else no more of any quantity than the choice (L,)."""
    limits = aim.budget or realised(aim.costs, chosen, {one.relative: 0.0 for one in declared()})
    return Objective(aim.choices, aim.costs, limits, np.zeros_like(aim.penalty))


def start_price(choices: Choices, aim: Objective, settings: SearchSettings) -> Price:
    """Return what cost weighs: the trade-off on energy, or a steered price of every budget."""
    if not settings.budget:
        relative = trade_offs(choices, settings) / (settings.trade_off or 1.0)
        costs = relative[:, None] * aim.costs[ENERGY.fraction]
        return Price(torch.from_numpy(costs[None]).float(), trade_off=settings.trade_off)
    rows = [aim.costs[name] / limit for name, limit in settings.budget.items()]
    return Price(torch.from_numpy(np.stack(rows)).float(), trade_off=None)
