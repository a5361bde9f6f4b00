"""What a search aims for: scores under a budget, or scores and priced cost; and what cost weighs while it trains.

    L = CE + Σ_i μ_i · Σ_l Σ_k p_lk c_i,lk

With a trade-off, c is E/E_float32 and μ = λ [paper]. With budgets, c_i is cost/limit_i and μ_i follows by dual ascent:
while the expected cost is above its limit the price rises, below it falls,

    log μ_i ← log μ_i + η · clip(Σ p c_i / t − 1, ±½).

In the logarithm, because the right price lies anywhere over three decades, and against a target t that falls from
where the search starts to 1 over the first half of the run, so that no price piles up meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snnq.cost.quantities import ENERGY, declared
from snnq.cost.table import CostTable
from snnq.searching.budget import allocate, limit_costs, realised
from snnq.searching.constraints import Choices, matching
from snnq.searching.settings import SearchSettings

if TYPE_CHECKING:
    from jaxtyping import Float

START, RATE = 0.03, 0.1


class Price(nn.Module):
    """``costs`` (Q, L, K) and their multipliers; ``steered`` says whether these follow a budget."""

    log_price: Tensor
    first: Tensor
    costs: Tensor

    def __init__(self, costs: Float[Tensor, "Q L K"], *, trade_off: float | None) -> None:
        super().__init__()
        self.steered = trade_off is None
        start = START if trade_off is None else trade_off
        self.register_buffer("costs", costs, persistent=False)
        self.register_buffer("log_price", torch.full((len(costs),), start).log())
        self.register_buffer("first", torch.zeros(len(costs)))

    def forward(self, shares: Float[Tensor, "L K"]) -> Float[Tensor, ""]:
        """Return the penalty of shares (L, K)."""
        return self.log_price.exp() @ self._expected(shares)

    @torch.no_grad()
    def update(self, shares: Float[Tensor, "L K"], along: float) -> None:
        """Let the prices follow the expected costs of shares (L, K), ``along`` (0 … 1) the run."""
        if not self.steered:
            return
        expected = self._expected(shares)
        self.first.copy_(torch.where(self.first.any(), self.first, expected.clamp_min(1)))
        target = self.first ** max(0.0, 1 - 2 * along)
        self.log_price += RATE * (expected / target - 1).clamp(-0.5, 0.5)

    def _expected(self, shares: Float[Tensor, "L K"]) -> Float[Tensor, " Q"]:
        return (self.costs * shares).sum((1, 2))


@dataclass(frozen=True)
class Objective:
    """What the final plan minimises: scores, plus the priced cost where there is no budget."""

    choices: Choices
    costs: Mapping[str, Float[np.ndarray, "L K"]]
    budget: Mapping[str, float]
    penalty: Float[np.ndarray, "L K"]

    def solve(self, scores: Float[np.ndarray, "L K"]) -> list[int]:
        """Return the best choice (L,) for scores (L, K)."""
        return allocate(self.choices, scores + self.penalty, self.costs, self.budget)


def objective(choices: Choices, settings: SearchSettings, table: CostTable) -> Objective:
    """Return a search's objective. With a trade-off: λ_l · E_lk / E_float32 beside the scores [paper]."""
    costs = limit_costs(choices.layers, choices.names, table)
    penalty = np.zeros(choices.allowed.shape)
    if not settings.budget:
        penalty = trade_offs(choices, settings)[:, None] * costs[ENERGY.fraction]
    return Objective(choices, costs, settings.budget or {}, penalty)


def trade_offs(choices: Choices, settings: SearchSettings) -> Float[np.ndarray, " L"]:
    """Return λ of every layer, (L,)."""
    found = np.full(len(choices.layers), settings.trade_off, dtype=float)
    for pattern, value in settings.trade_offs:
        found[matching(pattern, choices.layers, "--trade-off")] = value
    return found


def same_cost(aim: Objective, chosen: list[int]) -> Objective:
    """Return the objective of a rival: the same budget, or else no more of any quantity than the choice (L,)."""
    limits = aim.budget or realised(
        aim.costs, chosen, {one.relative: 0.0 for one in declared() if one.relative in aim.costs}
    )
    return Objective(aim.choices, aim.costs, limits, np.zeros_like(aim.penalty))


def start_price(aim: Objective, settings: SearchSettings) -> Price:
    """Return what cost weighs: the trade-off on energy, or a steered price of every budget."""
    if not settings.budget:
        whole = settings.trade_off or 1.0  # where it is nothing, exceptions may still be something
        costs = (trade_offs(aim.choices, settings) / whole)[:, None] * aim.costs[ENERGY.fraction]
        return Price(torch.from_numpy(costs[None]).float(), trade_off=whole)
    rows = [aim.costs[name] / limit for name, limit in settings.budget.items()]
    return Price(torch.from_numpy(np.stack(rows)).float(), trade_off=None)
