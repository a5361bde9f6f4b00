"""Rate in the loss: the bits that an entropy coder takes for a layer's codes, as a price that training pays.

    L = task + μ · Σ bits(w) / weights
    bits(w) = (1 - f) · len(k) + f · len(k + 1),   len(k) = -log2 p_k

for a weight at the share f between the levels k and k + 1 of its channel, with p the frequencies of the layer's codes
at that very step (entropy-penalised training: Oktay et al. 2020, Wiedemann et al. 2020; docs/method.md §6). μ is one
price for the whole model, the Lagrange multiplier of one budget: so the bits find their own layers. It is given, or
steered until the codes keep a budget. What keeps a budget is not the entropy but what the coder makes of the codes: by
its contexts it takes less, with its tables more. It is asked now and then, and in between the entropy is corrected by
the ratio of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from snnq.schemes.scheme import Params, Scheme
from snnq.training.code_bits import code_bits, layer_bits
from snnq.training.quantized import FakeQuantize, quantized_layers

# Where a grid begins of which no rate is asked. A price only takes away: with a budget, grids begin where it ends.
FIRST_RATE = 2.0
# A price that is given rises from nothing over this share of the steps.
RISE = 0.5
# The price of a budget: its first value, and how much its logarithm moves for an error of the rate by a factor e, at
# once and for good. It aims a little above the budget: a thousandth is trimmed without harm, and what is below is
# given away. Below the least price nothing is paid any more, and from far below it the way back would be long.
FIRST_PRICE, LEAST_PRICE, AT_ONCE, EACH_STEP, ABOVE = 0.05, 1e-3, 8.0, 0.5, 1.001
# How often in a run the coder is asked.
MEASURINGS = 16
# Codes (rows, n) and the taps of their kernels → the bits they take in a file, tables included.
Coder = Callable[[np.ndarray, int], float]
# A layer's name, its chain and its latent weight.
RatedLayer = tuple[str, FakeQuantize, Tensor]
# An epoch counts as keeping its budget up to here: the rest is trimmed.
NEAR = 1.02


@dataclass(frozen=True)
class Aim:
    """Which layers of a plan are trained to a rate, and how far: ``price`` of a bit, or ``target`` bits of them all.

    ``weights`` are all that the plan counts. Without rated layers there is nothing to aim at. ``each``: every layer is
    held to the rate of its own scheme; the target is the sum of these. ``coder`` tells what codes take; without one it
    is their entropy.
    """

    schemes: Mapping[str, Scheme]
    weights: int
    price: float | None = None
    target: float | None = None
    first: float = FIRST_RATE
    each: bool = False
    coder: Coder | None = None

    def begin(self, name: str, weight: Tensor) -> Params | None:
        """Return the parameters of the grid that a rated layer begins with; None for other layers."""
        if name not in self.schemes:
            return None
        one = self.schemes[name]
        first = one.rate if self.each and one.rate is not None else self.first
        return one.coarse(weight, min(first, one.width - 0.5))

    def rate(self, model: nn.Module) -> Rate | None:
        """Return what the codes of a model of ``quantize_model`` take; None without rated layers."""
        if not self.schemes:
            return None
        return HeldRates(model, self) if self.each else Rate(model, self)


class Rate(nn.Module):
    """What a model's codes take, and the price of a bit.

    ``weights``: all that the plan counts; the loss pays for each of their bits the same. ``target``: the bits that the
    rated layers may take in the end, or None where ``price`` is given: it then rises over the first half. ``gain``
    (layers,): what the coder took of each one's entropy when it was last asked, and ``asked`` how often it was.
    ``spare``: by how many bits the target was too low when the file was last measured.
    """

    memory: Tensor
    gain: Tensor
    asked: Tensor
    spare: Tensor

    def __init__(self, model: nn.Module, aim: Aim) -> None:
        super().__init__()
        self.layers = [(name, chain, latent) for name, chain, latent in quantized_layers(model) if chain.rated]
        self.weights, self.price, self.target = aim.weights, aim.price, aim.target
        self.coder = aim.coder
        self.register_buffer("memory", torch.tensor(math.log(FIRST_PRICE), dtype=torch.float64))
        self.register_buffer("gain", torch.ones(len(self.layers), dtype=torch.float64))
        self.register_buffer("asked", torch.zeros((), dtype=torch.int64))
        self.register_buffer("spare", torch.zeros((), dtype=torch.float64))
        self.times_asked, self.more = 0, 0.0  # the last two, known without waiting for a device
        self.register_load_state_dict_post_hook(_count)

    def loss(self, along: float) -> tuple[Tensor, Tensor]:
        """Return what the codes cost, and their bits a weight of the model, both (); ``along``: share of steps done."""
        smooth, bits = code_bits(self.layers)
        self._ask(along, bits)
        return self._price(along, bits) * smooth / self.weights, bits.sum() / self.weights

    def _price(self, along: float, bits: Tensor) -> float | Tensor:
        if self.target is None:
            return (self.price or 0.0) * min(1.0, along / RISE)
        error = ((bits * self.gain).sum().log() - math.log(self._goal() * ABOVE)).clamp(-0.5, 0.5)
        self.memory.add_(EACH_STEP * error).clamp_(min=math.log(LEAST_PRICE))
        return (self.memory + AT_ONCE * error).exp().float()

    def _ask(self, along: float, bits: Tensor) -> None:
        """Ask the coder, ``MEASURINGS`` times over all steps, what it takes of the codes' entropy."""
        self.to(bits.device)
        if self.coder is None or self.target is None or along * MEASURINGS < self.times_asked:
            return
        self.asked += 1
        self.times_asked += 1
        taken = torch.tensor(list(self.bits().values()), dtype=torch.float64, device=bits.device)
        self.gain.copy_(torch.where(bits > 0, taken / bits, 1.0))

    def steered(self) -> float:
        """Return the price of a bit as it is saved: given, or steered to, without the last step's swing.

        Where every layer has its own, it is their geometric mean.
        """
        return self.price if self.price is not None else float(self.memory.mean().exp())

    def per_weight(self) -> float:
        """Return what the rated layers' codes take, in bits a weight of the model."""
        return self.total() / self.weights

    def fits(self) -> bool:
        """Return whether the codes are so near to the target that trimming them changes little."""
        return self.target is None or self.total() <= self._goal() * NEAR

    def leave(self, spare: float) -> None:
        """Take note that the file's other content leaves the codes so many bits more than the target, or fewer."""
        self.more = max(spare, -0.5 * (self.target or 0.0))
        self.spare.fill_(self.more)

    def _goal(self) -> float:
        return (self.target or 0.0) + self.more

    def limits(self) -> list[tuple[Sequence[RatedLayer], float]]:
        """Return which layers may take how many bits together in the end; none where a price is given."""
        return [] if self.target is None else [(self.layers, self.target)]

    def total(self, layers: Sequence[RatedLayer] | None = None) -> float:
        """Return what the codes of rated layers take, in bits; of all by default."""
        return math.fsum(self.bits(layers).values())

    @torch.no_grad()
    def bits(self, layers: Sequence[RatedLayer] | None = None) -> dict[str, float]:
        """Return what the codes of each of these layers take, in bits: by the coder, or else their entropy."""
        layers = self.layers if layers is None else layers
        if self.coder is None:
            _, each = code_bits(layers)
            return {name: bits for (name, _, _), bits in zip(layers, each.tolist(), strict=True)}
        return {name: self.coder(*_codes(chain, latent)) for name, chain, latent in layers}


class HeldRates(Rate):
    """What a model's codes take where every layer is held to its own rate at most: no bits move between layers.

    Each layer has a price of its own, steered to its rate as ``Rate`` steers one price to a budget:

        L = task + Σ_l μ_l · Σ_{w in l} bits(w) / weights

    Allocations are compared so: at one price for all, finetuning would undo their differences.
    """

    targets: Tensor

    def __init__(self, model: nn.Module, aim: Aim) -> None:
        super().__init__(model, aim)
        bits = [(aim.schemes[name].rate or 0.0) * latent.numel() for name, _, latent in self.layers]
        share = 1.0 if self.target is None else min(1.0, self.target / math.fsum(bits))
        self.register_buffer("targets", share * torch.tensor(bits, dtype=torch.float64), persistent=False)
        self.memory = torch.full_like(self.targets, math.log(FIRST_PRICE))

    def loss(self, along: float) -> tuple[Tensor, Tensor]:
        """Return what the codes cost, and their bits a weight of the model, both ()."""
        parts = [layer_bits(chain, latent) for _, chain, latent in self.layers]
        smooth, bits = (torch.stack(column) for column in zip(*parts, strict=True))
        self._ask(along, bits)
        # A layer whose codes are all zero by now has no bits: the error is bounded all the same.
        error = ((bits * self.gain).clamp_min(1e-9) / (self.targets * ABOVE)).log().clamp(-0.5, 0.5)
        self.memory.add_(EACH_STEP * error).clamp_(min=math.log(LEAST_PRICE))
        prices = (self.memory + AT_ONCE * error).exp().float()
        return (prices * smooth).sum() / self.weights, bits.sum() / self.weights

    def limits(self) -> list[tuple[Sequence[RatedLayer], float]]:
        """Return every layer with its own bits."""
        return [([layer], target) for layer, target in zip(self.layers, self.targets.tolist(), strict=True)]


def _count(rate: nn.Module, _: object) -> None:
    assert isinstance(rate, Rate)
    rate.times_asked, rate.more = int(rate.asked), float(rate.spare)


def _codes(chain: FakeQuantize, latent: Tensor) -> tuple[np.ndarray, int]:
    """Return a layer's codes (rows, n) and the taps of its kernels."""
    return chain.scheme.encode(latent, chain.params()).cpu().numpy(), math.prod(latent.shape[2:])
