"""What hardware cost weighs in the loss: a fixed trade-off, or multipliers that a budget steers.

    L = CE + Σ_i μ_i · Σ_l Σ_k p_lk c_i,lk

With a trade-off, c is E/E_float32 and μ = λ [paper]. With budgets, c_i is cost/limit_i and μ_i follows by dual ascent:
while the expected cost is above its limit the price rises, below it falls,

    log μ_i ← log μ_i + η · clip(Σ p c_i / t − 1, ±½).

In the logarithm, because the right price lies anywhere over three decades, and against a target t that falls from
where the search starts to 1 over the first half of the run, so that no price piles up meanwhile.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

START, RATE = 0.03, 0.1


class Price(nn.Module):
    """``costs`` (Q, L, K) and their multipliers; ``steered`` says whether these follow a budget."""

    log_price: Tensor
    first: Tensor
    costs: Tensor

    def __init__(self, costs: Tensor, *, trade_off: float | None) -> None:
        super().__init__()
        self.steered = trade_off is None
        start = START if trade_off is None else trade_off
        self.register_buffer("costs", costs, persistent=False)
        self.register_buffer("log_price", torch.full((len(costs),), start).log())
        self.register_buffer("first", torch.zeros(len(costs)))

    def forward(self, shares: Tensor) -> Tensor:
        """Return the penalty of shares (L, K)."""
        return self.log_price.exp() @ self._expected(shares)

    @torch.no_grad()
    def update(self, shares: Tensor, along: float) -> None:
        """Let the prices follow the expected costs of shares (L, K), ``along`` (0 … 1) the run."""
        if not self.steered:
            return
        expected = self._expected(shares)
        self.first.copy_(torch.where(self.first.any(), self.first, expected.clamp_min(1)))
        target = self.first ** max(0.0, 1 - 2 * along)
        self.log_price += RATE * (expected / target - 1).clamp(-0.5, 0.5)

    def _expected(self, shares: Tensor) -> Tensor:
        return (self.costs * shares).sum((1, 2))
