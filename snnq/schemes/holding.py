"""Schemes that hold zeros: of a masked layer, whose weights of exactly zero were pruned and stay zero.

A grid of such a layer has a level at exactly zero, so that a weight of zero is rounded to zero and nothing else. For
formats whose grids may lack one, the nearest grid that has it is taken wherever parameters are chosen or learned.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, reduce
from typing import TYPE_CHECKING

from snnq.base.errors import UsageError
from snnq.schemes.format import Format, Params
from snnq.schemes.scheme import Scheme, scheme

if TYPE_CHECKING:
    import torch
    from jaxtyping import Float
    from torch import Tensor
else:
    from snnq.base.lazy import torch

# How often codes and the scale of least squared error alternate on a grid whose zero-point was moved to a level.
ROUNDS = 3


def has_zero(name: str) -> bool:
    """Return whether a scheme has grids with a level at zero: it is a candidate for masked layers."""
    one = scheme(name)
    return one.is_float or one.format.around_zero is not None


def holding_zero(name: str) -> Scheme:
    """Return the scheme of that name for a masked layer; raises UsageError where it has no level at zero."""
    if not has_zero(name):
        raise UsageError(f"{name} has no level at zero, which masked weights need", "give the layer another scheme")
    return _holding(scheme(name))


def candidate(one: Scheme, masked: bool) -> Scheme:
    """Return a candidate as a layer has it: one that a masked layer cannot take stays as it is, for it is not taken."""
    return holding_zero(one.name) if masked and has_zero(one.name) else one


@cache
def _holding(one: Scheme) -> Scheme:
    return one if one.is_float else replace(one, format=_zeroed(one.format, one.width), holds_zero=True)


def _zeroed(one: Format, width: int) -> Format:
    """Return a format of one width all of whose grids have a level at zero."""

    def zeroed(params: Params) -> Params:
        return params if one.with_zero is None else one.with_zero(params, width)

    def refine(weight: Tensor, params: Params, _: int) -> Params:
        near = zeroed(one.refine(weight, params, width))
        if one.with_zero is None:
            return near
        for _ in range(ROUNDS):
            near = _better(one, weight, near, _rescaled(one, weight, near, width), width)
        return _better(one, weight, zeroed(params), near, width)

    def fit(weight: Tensor, _: int) -> Params:
        if one.with_zero is None:
            return _lively(one, weight, one.fit(weight, width))
        tried = map(zeroed, one.candidates(weight, width))
        best = reduce(lambda best, params: _better(one, weight, best, params, width), tried)
        return _lively(one, weight, refine(weight, best, width))

    return replace(
        one,
        fit=fit,
        refine=refine,
        cover=lambda weight, _: _lively(one, weight, zeroed(one.cover(weight, width))),
        candidates=lambda weight, _: map(zeroed, one.candidates(weight, width)),
        moved=lambda params, shifts: zeroed(one.moved(params, shifts)),
    )


def _lively(
    one: Format, weight: Float[Tensor, "out n"], params: dict[str, Float[Tensor, "out 1"]]
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the parameters where a channel whose weights are all masked has a scale such as the others have."""
    factor, dead = one.factor(params), (weight == 0).all(1, keepdim=True)
    if not bool(dead.any()):
        return params
    usual = factor[~dead].median() if not bool(dead.all()) else torch.ones_like(factor[0])
    return one.with_factor(params, torch.where(dead, usual, factor))


def _rescaled(
    one: Format, weight: Float[Tensor, "out n"], params: dict[str, Float[Tensor, "out 1"]], width: int
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return the parameters with the scale of least squared error for their codes: times ⟨w, ŵ⟩/⟨ŵ, ŵ⟩."""
    value = one.project(weight, params, width)[0]
    by = (weight * value).sum(1, keepdim=True) / value.square().sum(1, keepdim=True)
    by = torch.where(by.isfinite() & (by > 0), by, torch.ones_like(by))
    return one.with_factor(params, one.factor(params) * by)


def _better(
    one: Format,
    weight: Float[Tensor, "out n"],
    best: dict[str, Float[Tensor, "out 1"]],
    tried: dict[str, Float[Tensor, "out 1"]],
    width: int,
) -> dict[str, Float[Tensor, "out 1"]]:
    """Return, channel by channel, whichever has the smaller squared error; the earlier of equals."""
    errors = [
        (one.project(weight, params, width)[0] - weight).square().sum(1, keepdim=True) for params in (best, tried)
    ]
    better = errors[1] < errors[0]
    return {name: torch.where(better, tried[name], best[name]) for name in best}
