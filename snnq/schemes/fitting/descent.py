"""A layer's rounding chosen for the outputs of that layer alone, in a few passes and without gradients.

    min over levels of Σ rows δ G δᵀ,   δ = ŵ − w,   G = mean of x xᵀ over samples, steps and positions

by coordinate descent, column after column: with all others fixed, the best level of weight j is the one nearest to
ŵ_j − (δ G)_j / G_jj (QuantEase, Behdin et al. 2023, arXiv:2309.01885). No pass makes the error larger. Whole blocks are
reconstructed better and take longer (``reconstruction``).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snnq.schemes.fitting.clips import choose
from snnq.schemes.scheme import Scheme

# The number of a column and where its weights (out, 1) should be → the levels they take.
Levels = Callable[[int, Tensor], Tensor]


@torch.no_grad()
def descend(rows: Tensor, value: Tensor, gram: Tensor, passes: int, levels: Levels) -> Tensor:
    """Return ``value`` (out, n) after coordinate descent; ``rows`` (out, n) are the float weights, ``gram`` (n, n)."""
    value, diagonal = value.clone(), gram.diagonal()
    product = (value - rows) @ gram
    for column in torch.nonzero(diagonal > 0).flatten().tolist() * passes:
        old = value[:, column : column + 1]
        new = levels(column, old - product[:, column : column + 1] / diagonal[column])
        product += (new - old) * gram[column]
        value[:, column : column + 1] = new
    return value


@torch.no_grad()
def reconstructed(weight: Tensor, scheme: Scheme, gram: Tensor | None, passes: int) -> Tensor:
    """Return a weight (out, …) under a scheme, on AWQ's clips, its levels chosen so that the outputs change little.

    Without ``gram`` (n, n), and with no passes, weights go to the nearest level of their grid.
    """
    if scheme.is_float:
        return weight
    params, rows = choose("awq", weight, scheme, gram), weight.flatten(1)
    value = scheme.project(rows, params)[0]

    def levels(column: int, wanted: Tensor) -> Tensor:
        found = scheme.project(wanted, params)[0]
        return found.where(rows[:, column : column + 1] != 0, 0) if scheme.holds_zero else found

    if gram is not None:
        value = descend(rows, value, gram, passes, levels)
    return value.view_as(weight)
