"""The share of weights that a scheme makes zero, before any are trained: of float weights, or else of Gaussian ones.

    z(scheme) = P(Q(w) = 0),   w ~ N(0, 1), Q with the parameters that fit it

A rated scheme's grid is the one whose codes have its rate in entropy, so that its rate tells its zeros. Trained weights
are no Gaussian, and their zeros are counted when there are any (docs/method.md §3).
"""

from __future__ import annotations

from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING

from snnq.schemes.scheme import Scheme, scheme, scheme_names

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor
else:
    from snnq.base.lazy import torch

_QUANTILES = 4096


def expected_zeros(name: str) -> float:
    """Return the expected share of zeros under a scheme, 0 … 1; none of float32, nor of a grid without a zero."""
    return _share(scheme(name))


def zero_shares(weight: Float[Tensor, " out *n"]) -> dict[str, float]:
    """Return, by scheme, the share of a layer's weights that its fit to them makes zero; float32 is left out."""
    weight = weight.detach().float()
    return {one.name: _zeros(weight, one) for one in map(scheme, scheme_names()) if not one.is_float}


def _zeros(weight: Tensor, one: Scheme) -> float:
    return float((one.project(weight, one.stored(one.fit(weight)))[0] == 0).double().mean())


@cache
def _share(one: Scheme) -> float:
    if one.is_float:
        return 0.0
    normal = NormalDist()
    weight = torch.tensor([[normal.inv_cdf((i + 0.5) / _QUANTILES) for i in range(_QUANTILES)]])
    return _zeros(weight, one)
