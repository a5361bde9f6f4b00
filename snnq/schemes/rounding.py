"""Straight-through building blocks that the schemes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def round_ste(x: Tensor) -> Tensor:
    """Round to the nearest integer (ties to even); the gradient is that of the identity."""
    return x + (x.round() - x).detach()
