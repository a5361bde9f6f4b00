"""Schedules as pure functions of the step, and setting what they give."""

from __future__ import annotations

import math

from torch.optim import Optimizer


def learning_rate(step: int, total: int, *, peak: float, start: float, floor: float, warmup: float = 0.1) -> float:
    """Return the learning rate of ``step`` (0-based): linear from ``start`` to ``peak``, then cosine to ``floor``.

    ``warmup`` is the share of ``total`` steps spent rising. Source: the paper (1e-4 → 1e-3 → 1e-5).
    """
    rising = max(1, round(total * warmup))
    if step < rising:
        return start + (peak - start) * step / rising
    along = (step - rising) / max(1, total - rising)
    return floor + (peak - floor) * (1 + math.cos(math.pi * min(along, 1.0))) / 2


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every parameter group of an optimizer the learning rate ``rate``; one with a ``pace`` so many times it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("pace", 1)


def temperature(step: int, total: int, *, high: float, low: float) -> float:
    """Return the Gumbel temperature of ``step``: exponential decay from ``high`` to ``low``."""
    return high * (low / high) ** (step / max(1, total - 1))
