"""The architecture parameters: what the search thinks of every candidate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnq.searching.constraints import Choices
from snnq.training.transfers import moved


class Architecture(nn.Module):
    """Parameters ``logits`` (groups, K), zero at first: equal probabilities for all that is allowed [paper].

    Apart from the network, whose weights another optimizer trains. Tied layers share a row.
    """

    allowed: Tensor
    group: Tensor

    def __init__(self, choices: Choices) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(choices.groups, len(choices.names)))
        allowed = torch.ones_like(self.logits, dtype=torch.bool)
        for own, row in zip(choices.group, torch.from_numpy(choices.allowed), strict=True):
            allowed[own] &= row
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("group", torch.tensor(choices.group), persistent=False)

    def sample(self, temperature: float, generator: torch.Generator, *, one_hot: bool) -> Tensor:
        """Return Gumbel-softmax shares (L, K) of every layer."""
        return sample(self._masked(), temperature, generator, one_hot=one_hot)[self.group]

    def shares(self) -> Tensor:
        """Return softmax(a), (L, K): the probabilities without noise."""
        return torch.softmax(self._masked(), dim=-1)[self.group]

    def _masked(self) -> Tensor:
        return self.logits.masked_fill(~self.allowed, -torch.inf)


def sample(logits: Tensor, temperature: float, generator: torch.Generator, *, one_hot: bool) -> Tensor:
    """Return Gumbel-softmax shares (L, K): p = softmax((a + g)/τ), or onehot(argmax) - stop(p) + p [paper].

    g ~ Gumbel(0, 1), drawn from ``generator`` on the CPU.
    """
    uniform = torch.rand(logits.shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    gumbel = -torch.log(-torch.log(uniform))
    gumbel = moved(gumbel, logits.device)
    soft = torch.softmax((logits + gumbel) / temperature, dim=-1)
    if not one_hot:
        return soft
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())
