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
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnq.schemes.scheme import Params, Scheme
from snnq.training.code_bits import code_bits
from snnq.training.quantized import quantized_layers

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
        smooth, each = code_bits(self.layers)
        bits = each.sum()
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
        _, each = code_bits(self.layers)
        return {name: bits for (name, _, _), bits in zip(self.layers, each.tolist(), strict=True)}
