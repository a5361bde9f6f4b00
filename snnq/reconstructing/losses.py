"""How far a block is from its target, and what pushes weights to one side where no schedule decides them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snnq.network.replay import Ran
from snnq.reconstructing.sides import Target

# AdaRound's regulariser λ · mean(1 − |2h − 1|^β): its weight, β at the end of the warm-up and at the last step, and the
# share of the steps that is warm-up.
PUSH, BETA, WARM_UP = 0.01, (20.0, 2.0), 0.2


def normalised(found: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error over the target's variance: 0 is equal, 1 as far off as the target's mean."""
    spread = target.var(correction=0).clamp_min(1e-6)
    return (found - target).square().mean() / spread


def block_loss(ran: Ran, target: Target, kind: str) -> Tensor:
    """Return the output's error, the mean of the neurons' currents' errors, or their sum; a block without neurons has
    its output only."""
    losses = []
    if kind != "current" or not target.stored_currents:
        losses.append(normalised(ran.output, target.output))
    if kind != "output" and target.stored_currents:
        pairs = zip(ran.currents, target.currents, strict=True)
        losses.append(torch.stack([normalised(*pair) for pair in pairs]).mean())
    return torch.stack(losses).sum()


def push(soft: Tensor, share: float) -> Tensor | float:
    """Return AdaRound's regulariser of h values after ``share`` (0 … 1) of the steps; nothing during the warm-up.

    β falls by a cosine: at first only the undecided are pushed, at last all.
    """
    if share < WARM_UP:
        return 0.0
    first, last = BETA
    along = math.cos((share - WARM_UP) / (1 - WARM_UP) * math.pi)
    beta = last + (first - last) * (1 + along) / 2
    return PUSH * (1 - (2 * soft - 1).abs().pow(beta)).mean()
