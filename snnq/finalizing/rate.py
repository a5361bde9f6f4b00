"""Rate in the loss: the bits that an entropy coder takes for a layer's codes, as a price that training pays.

    L = task + μ · Σ bits(w) / weights
    bits(w) = (1 - f) · len(k) + f · len(k + 1),   len(k) = -log2 p_k

for a weight at the share f between the levels k and k + 1 of its channel, with p the frequencies of the layer's codes
at that very step (entropy-penalised training: Oktay et al. 2020, Wiedemann et al. 2020; docs/method.md §6). μ is one
price for the whole model, the Lagrange multiplier of one budget: so the bits find their own layers. It is given, or
steered until the codes keep a budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnq.base.errors import BudgetError, PlanError
from snnq.finalizing.budget import limits_of
from snnq.finalizing.quantized import FakeQuantize, quantized_layers
from snnq.finalizing.settings import FinalizeSettings
from snnq.plan import Plan
from snnq.schemes.rated import between, code_lengths, entropy
from snnq.schemes.scheme import Params, Scheme, scheme

# Where a grid begins of which no rate is asked: finer than any budget below two bits ends at.
FIRST_RATE = 2.0
# A price that is given rises from nothing over this share of the steps.
RISE = 0.5
# The price of a budget: its first value, and how much its logarithm moves for an error of the rate by a factor e, at
# once and for good. It aims a little below the budget, so that little is left to trim. Below the least price nothing is
# paid any more, and from far below it the way back would be long.
FIRST_PRICE, LEAST_PRICE, AT_ONCE, EACH_STEP, BELOW = 0.05, 1e-3, 8.0, 0.5, 0.99
# An epoch counts as keeping its budget up to here: the rest is trimmed.
NEAR = 1.02


@dataclass(frozen=True)
class Aim:
    """Which layers of a plan are trained to a rate, and how far: ``price`` of a bit, or ``target`` bits of them all.

    ``weights`` are all that the plan counts. Without rated layers there is nothing to aim at.
    """

    schemes: Mapping[str, Scheme]
    weights: int
    price: float | None = None
    target: float | None = None
    first: float = FIRST_RATE

    def begin(self, name: str, weight: Tensor) -> Params | None:
        """Return the parameters of the grid that a rated layer begins with; None for other layers."""
        if name not in self.schemes:
            return None
        one = self.schemes[name]
        return one.coarse(weight, min(self.first, one.width - 0.5))

    def rate(self, model: nn.Module) -> Rate | None:
        """Return what the codes of a model of ``quantize_model`` take; None without rated layers."""
        return Rate(model, self) if self.schemes else None


def aim_of(plan: Plan, settings: FinalizeSettings, rest: Callable[[Collection[str]], float]) -> Aim:
    """Return what a plan and settings ask of the codes.

    The rated layers are those whose scheme names a rate; without any, with a price or a budget, all that have a level
    at zero. ``rest`` gives the bits of the file that are not the codes of these layers, where the file is limited.

    Raises PlanError for a price or budget without such a layer, BudgetError where all else exceeds the budget alone.
    """
    entries = {layer.name: layer for layer in plan.layers}
    zeroed = {name: one for name, entry in entries.items() if (one := scheme(entry.scheme)).format.around_zero}
    named = {name: one for name, one in zeroed.items() if one.rate is not None}
    asked = settings.rate is not None or bool(settings.budget)
    rated = named or (zeroed if asked else {})
    weights = plan.totals.weights
    if not rated:
        if asked:
            raise PlanError("no layer of the plan has a level at zero: there is no rate to train", "give one uniform-4")
        return Aim({}, weights)
    if settings.rate is not None:
        return Aim(rated, weights, price=settings.rate)
    limits = limits_of(plan, settings.budget)
    target = limits.plan - math.fsum(entry.storage_bits for name, entry in entries.items() if name not in rated)
    if limits.file < math.inf:
        target = min(target, limits.file - rest(rated))
    if target <= 0:
        raise BudgetError(
            f"the budget is kept by no codes: all else takes {-target / weights:.3f} bits a weight more than it allows",
            "allow more bits, or give the layers that are trained to no rate other schemes",
        )
    count = sum(math.prod(entries[name].shape) for name in rated)
    return Aim(rated, weights, target=target, first=min(FIRST_RATE, target / count))


def layer_bits(chain: FakeQuantize, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coded bits of a layer as it stands: for the loss, and the entropy of its codes, without gradient."""
    one, rows = chain.scheme, latent.flatten(1)
    levels = one.format.grid(chain.params(), one.width)
    below, share = between(rows, levels)
    nearest = below + (share.detach() > 0.5)
    length = code_lengths(nearest, levels.shape[1])
    smooth = (length[below] * (1 - share) + length[below + 1] * share).sum()
    return smooth, entropy(nearest) * nearest.numel()


class Rate(nn.Module):
    """What a model's codes take, and the price of a bit.

    ``weights``: all that the plan counts; the loss pays for each of their bits the same. ``target``: the bits that the
    rated layers may take in the end, or None where ``price`` is given: it then rises over the first half.
    """

    memory: Tensor

    def __init__(self, model: nn.Module, aim: Aim) -> None:
        super().__init__()
        self.layers = [(name, chain, latent) for name, chain, latent in quantized_layers(model) if chain.rated]
        self.weights, self.price, self.target = aim.weights, aim.price, aim.target
        self.register_buffer("memory", torch.tensor(math.log(FIRST_PRICE), dtype=torch.float64))
        self.now = 0.0

    def loss(self, along: float) -> tuple[Tensor, Tensor]:
        """Return what the codes cost, and their bits a weight of the model, both (); ``along``: share of steps done."""
        parts = [layer_bits(chain, latent) for _, chain, latent in self.layers]
        smooth = torch.stack([part for part, _ in parts]).sum()
        bits = torch.stack([part for _, part in parts]).sum()
        self.now = self._price(along, bits)
        return self.now * smooth / self.weights, bits / self.weights

    def _price(self, along: float, bits: Tensor) -> float | Tensor:
        if self.target is None:
            return (self.price or 0.0) * min(1.0, along / RISE)
        error = (bits.log() - math.log(self.target * BELOW)).clamp(-0.5, 0.5)
        self.memory.add_(EACH_STEP * error).clamp_(min=math.log(LEAST_PRICE))
        return (self.memory + AT_ONCE * error).exp().float()

    def per_weight(self) -> float:
        """Return the entropy of the rated layers' codes, in bits a weight of the model."""
        return math.fsum(self.bits().values()) / self.weights

    def fits(self) -> bool:
        """Return whether the codes are so near to the target that trimming them changes little."""
        return self.target is None or math.fsum(self.bits().values()) <= self.target * NEAR

    @torch.no_grad()
    def bits(self) -> dict[str, float]:
        """Return the entropy of every rated layer's codes, in bits altogether."""
        return {name: float(layer_bits(chain, latent)[1]) for name, chain, latent in self.layers}


@torch.no_grad()
def trim(rate: Rate) -> int:
    """Exchange codes for shorter ones, the cheapest first, until the rated layers' entropy keeps the target.

    A weight takes the level l of its channel that is least in (w - l)²/s² + λ · len(l), out of the two beside it and
    zero, s being the distance of the two; λ is the least, within a per cent, that keeps the target (rate-distortion
    optimised quantisation: Sullivan & Wiegand 1998). The latent weights become the levels chosen; how many is returned.
    """
    before = {name: latent.detach().clone() for name, _, latent in rate.layers}
    target = rate.target
    if target is None or sum(rate.bits().values()) <= target:
        return 0
    low, high = 0.0, 1e-3
    while _trimmed(rate, before, high) > target and high < 1e6:
        low, high = high, high * 4
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _trimmed(rate, before, middle) > target else (low, middle)
    _trimmed(rate, before, high)
    return sum(int((latent != before[name]).sum()) for name, _, latent in rate.layers)


def _trimmed(rate: Rate, before: dict[str, Tensor], price: float) -> float:
    """Exchange codes at this price; return the bits of all rated layers."""
    for name, chain, latent in rate.layers:
        latent.copy_(_exchanged(chain, before[name], price).view_as(latent))
    return sum(rate.bits().values())


def _exchanged(chain: FakeQuantize, latent: Tensor, price: float) -> Tensor:
    rows = latent.flatten(1)
    levels = chain.scheme.grid(chain.params())
    below, share = between(rows, levels)
    nearest = below + (share > 0.5)
    length = code_lengths(nearest, levels.shape[1])
    zero = levels.abs().argmin(1, keepdim=True).expand_as(below)
    choices = torch.stack([below, below + 1, zero])
    values = torch.stack([levels.gather(1, one) for one in choices])
    step = levels.gather(1, below + 1) - levels.gather(1, below)
    best = (((rows - values) / step).square() + price * length[choices]).argmin(0)
    chosen = choices.gather(0, best[None])[0]
    return torch.where(chosen == nearest, rows, levels.gather(1, chosen))
