"""``--method rate``: coded bits in the loss at one price for all layers, so that they find their own layers.

Training is finetuning's (``training.rate``; docs/method.md §6): μ is given by the trade-off, or steered to the budget.
The plan takes from each layer the entropy r_l that its codes came to. There every layer loses μ nats for each bit a
weight, the condition of the Lagrangian's optimum, so that for other budgets its score is, with n_l of n weights,

    s_l(r) = μ · n_l / n · 2^(−2 (r − r_l)) / (2 ln 2)

the distortion of a Gaussian weight at r bits (Shannon), of which a bit is worth μ at r_l. Layers then move together:
reverse water-filling. Source: ours.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.cost.table import CostTable
from snnq.network.layers import Layer
from snnq.schemes.scheme import Scheme, rated, scheme
from snnq.searching.budget import realised
from snnq.searching.constraints import Choices, resolve
from snnq.searching.objective import Objective, objective
from snnq.searching.settings import SearchSettings
from snnq.structure.masked import masked_layers
from snnq.training.rate import FIRST_RATE, Aim

if TYPE_CHECKING:
    from jaxtyping import Float

# The rates that a plan for another budget may give a layer of a grid, as far as they are below its width.
RATES = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
# No layer is planned for less; a layer whose codes are all zero came to nothing.
LEAST = 0.01


@dataclass(frozen=True)
class RateSpace:
    """What a search of rates may choose: ``choices`` of rated schemes, and by layer what is trained.

    ``schemes``: the grid of every layer. ``grids``: those that are trained to a rate. ``free``: those of them that may
    take any rate; others have a few in their space.
    """

    choices: Choices
    schemes: dict[str, str]
    grids: dict[str, Scheme]
    free: frozenset[str]


def rates_of(grid: str) -> tuple[str, ...]:
    """Return a grid's schemes at ``RATES``."""
    one = scheme(grid)
    return tuple(rated(grid, rate) for rate in RATES if rate < one.code_width)


def rate_choices(layers: tuple[Layer, ...], settings: SearchSettings, masked: Collection[str] = ()) -> Choices:
    """Return the choices of a search of rates: every grid with a level at zero stands for its rates; locks stay."""
    constraints = settings.constraints
    spaces = tuple((pattern, _expanded(names)) for pattern, names in constraints.spaces)
    return resolve(layers, _expanded(settings.space), replace(constraints, spaces=spaces), masked)


def _expanded(names: tuple[str, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        one = scheme(name)
        found += rates_of(name) if one.rate is None and one.format.around_zero is not None else [name]
    return tuple(dict.fromkeys(found))


def rate_space(model: nn.Module, layers: tuple[Layer, ...], settings: SearchSettings) -> RateSpace:
    """Return what a search of rates on a float model may choose.

    Of several grids, layers that take one scheme are trained on that of least error at ``FIRST_RATE``, and keep to it.
    Raises UsageError where a layer may choose a scheme without a rate, and where all layers are locked.
    """
    choices = rate_choices(layers, settings, masked_layers(model))
    plain = resolve(layers, settings.space, settings.constraints)
    names, allowed = np.array(choices.names), choices.allowed.copy()
    schemes, grids, free = {}, {}, set()
    for group in range(choices.groups):
        members = choices.members(group)
        open_ = names[allowed[members[0]]].tolist()
        together = [layers[i] for i in members]
        if len(open_) == 1:
            schemes |= {layer.name: open_[0] for layer in together}
            continue
        grid = _grid(model, together, open_)
        keeping = np.array([scheme(name).grid_name == grid for name in choices.names])
        allowed[members] &= keeping
        schemes |= {layer.name: grid for layer in together}
        grids |= {layer.name: scheme(grid) for layer in together}
        if all(grid in (plain.names[k] for k in np.flatnonzero(plain.allowed[i])) for i in members):
            free |= {layer.name for layer in together}
    if not grids:
        raise UsageError("--method rate: every layer is locked, there is no rate to train", "unlock some layers")
    ordered = {layer.name: schemes[layer.name] for layer in layers}
    return RateSpace(replace(choices, allowed=allowed), ordered, grids, frozenset(free))


def _grid(model: nn.Module, together: list[Layer], names: list[str]) -> str:
    """Return the grid of least error for layers that take one of these schemes; raises UsageError."""
    without = [name for name in names if scheme(name).rate is None]
    if without:
        raise UsageError(
            f"--method rate: layer {together[0].name} may take {without[0]}, which has no rate",
            "give grids with a level at zero, such as --space uniform-4, and lock or exclude what stays as it is",
        )
    weights = [model.get_submodule(layer.name).get_parameter("weight") for layer in together]
    grids = dict.fromkeys(scheme(name).grid_name for name in names)
    return min(grids, key=lambda grid: sum(_first_error(grid, weight) for weight in weights))


@torch.no_grad()
def _first_error(grid: str, weight: Float[Tensor, "out ..."]) -> float:
    one = scheme(grid)
    value = one.project(weight, one.coarse(weight, min(FIRST_RATE, one.code_width - 0.5)))[0]
    return float((value - weight).square().sum())


def rate_aim(space: RateSpace, settings: SearchSettings, table: CostTable) -> Aim:
    """Return what training aims at: bits of all rated layers by the budget, or the trade-off's price of a bit.

    The bits are those at which all rated layers, at one rate, keep every limit. Between two ``RATES`` costs are
    interpolated: most are affine in the rate.
    """
    layers = space.choices.layers
    count = sum(layer.weights for layer in layers if layer.name in space.grids)
    weights = sum(layer.weights for layer in layers)
    shares = [_shares(space, settings, table, rate) for rate in RATES]
    if not settings.budget:
        slope = (shares[-1][""] - shares[0][""]) / (RATES[-1] - RATES[0])
        return Aim(space.grids, weights, price=slope * weights / count)
    rate = min(_where_one([one[key] for one in shares]) for key in settings.budget)
    return Aim(space.grids, weights, target=rate * count, first=rate)


def _where_one(shares: list[float]) -> float:
    """Return the rate at which a cost, given at ``RATES`` and growing with them, reaches its limit, 1."""
    at = int(np.searchsorted(shares, 1.0))
    if at in (0, len(shares)):
        return RATES[min(at, len(shares) - 1)]
    return float(np.interp(1.0, shares[at - 1 : at + 1], RATES[at - 1 : at + 1]))


def _shares(space: RateSpace, settings: SearchSettings, table: CostTable, rate: float) -> dict[str, float]:
    """Return what the plan with all rated layers at one rate costs, as a share of each limit; λ · E/E_float without
    any, under no name."""
    layers = space.choices.layers
    at = space.schemes | {name: rated(grid.name, rate) for name, grid in space.grids.items()}
    names = tuple(dict.fromkeys(at.values()))
    everything = np.ones((len(layers), len(names)), dtype=bool)
    aim = objective(Choices(layers, names, everything, tuple(range(len(layers)))), settings, table)
    chosen = [names.index(at[layer.name]) for layer in layers]
    if not aim.budget:
        return realised({"": aim.penalty}, chosen, {"": 0.0})
    return {key: paid / aim.budget[key] for key, paid in realised(aim.costs, chosen, aim.budget).items()}


@dataclass(frozen=True)
class Trained:
    """What training came to: the bits of every rated layer, and the price of a bit a weight of the plan."""

    bits: Mapping[str, float]
    price: float


def trained_rates(space: RateSpace, trained: Trained) -> dict[str, float]:
    """Return the rate of every rated layer, tied layers at the mean of theirs, in bits a weight."""
    choices, found = space.choices, {}
    for group in range(choices.groups):
        members = [choices.layers[i] for i in choices.members(group) if choices.layers[i].name in space.grids]
        if members:
            bits = math.fsum(trained.bits[layer.name] for layer in members)
            mean = max(bits / sum(layer.weights for layer in members), LEAST)
            found |= {layer.name: mean for layer in members}
    return found


def water_filled(rates: Mapping[str, float], weights: Mapping[str, int], bits: float) -> dict[str, float]:
    """Return rates that take so many bits together: all of them the same step away, but none below ``LEAST``.

    That is the least sum of the scores: reverse water-filling (Cover & Thomas 2006, §10.3.3).
    """

    def moved(step: float) -> dict[str, float]:
        return {name: max(rate + step, LEAST) for name, rate in rates.items()}

    low, high = -max(rates.values()), bits / sum(weights[name] for name in rates)
    for _ in range(60):
        middle = (low + high) / 2
        over = math.fsum(rate * weights[name] for name, rate in moved(middle).items()) > bits
        low, high = (low, middle) if over else (middle, high)
    return moved(low)


def with_own(space: RateSpace, rates: Mapping[str, float]) -> tuple[Choices, list[int] | None]:
    """Return the choices with every free layer's own rate among them, and the plan of these rates, (L,).

    None where a layer may take but a few rates.
    """
    choices = space.choices
    own = {name: rated(space.schemes[name], rates[name]) for name in space.free}
    names = tuple(dict.fromkeys((*choices.names, *own.values())))
    allowed = np.zeros((len(choices.layers), len(names)), dtype=bool)
    allowed[:, : len(choices.names)] = choices.allowed
    for i, layer in enumerate(choices.layers):
        if layer.name in own:
            allowed[i, names.index(own[layer.name])] = True
    wider = Choices(choices.layers, names, allowed, choices.group)
    if space.free < space.grids.keys():
        return wider, None
    return wider, [names.index((space.schemes | own)[layer.name]) for layer in choices.layers]


def rate_scores(choices: Choices, rates: Mapping[str, float], price: float) -> Float[np.ndarray, "L K"]:
    """Return the scores s_l(r) (L, K) in nats, NaN where a layer may not take a scheme; 0 of a layer without a rate."""
    whole = sum(layer.weights for layer in choices.layers)
    bits = np.array([float(scheme(name).bits) for name in choices.names])
    scores = np.where(choices.allowed, 0.0, np.nan)
    for i, layer in enumerate(choices.layers):
        if layer.name in rates:
            scores[i] += price * layer.weights / whole / (2 * math.log(2)) * 4.0 ** (rates[layer.name] - bits)
    return scores


def keeps(aim: Objective, chosen: list[int]) -> bool:
    """Return whether a choice (L,) keeps the budget, if there is one."""
    return all(paid <= aim.budget[key] for key, paid in realised(aim.costs, chosen, aim.budget).items())
