"""The composite layer as the paper writes it, y = Σ_k p_k · f(Q_k(W), x): K convolutions or products a layer.

Slow and obvious. It is the oracle that ``mixture`` is tested against, and the plain formulation that
``snnq bench search`` times it against; nothing else uses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from snnq.schemes.scheme import Params, scheme


class Branches(nn.Module):
    """One layer as K quantised copies of itself, weighted by ``probabilities`` (K,)."""

    def __init__(self, layer: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.layer = layer
        self.schemes = tuple(scheme(name) for name in names)
        # Not refitted while it trains: only the time and the values of one step are asked of it.
        self.fitted = [one.fit(layer.weight) for one in self.schemes]  # pyright: ignore
        self.probabilities = torch.full((len(names),), 1 / len(names))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the candidates' outputs."""
        weight: Tensor = self.layer.weight  # pyright: ignore
        parts = [
            share * functional_call(self.layer, {"weight": one.quantize(weight, _like(params, weight))}, (x,))
            for share, one, params in zip(self.probabilities.unbind(), self.schemes, self.fitted, strict=True)
        ]
        return torch.stack(parts).sum(0)


def _like(params: Params, weight: Tensor) -> Params:
    return {name: value.to(weight) for name, value in params.items()}


class BranchNet(nn.Module):
    """A model whose planned layers are ``Branches``; called as ``mixture.Supernet`` is."""

    def __init__(self, model: nn.Module, layers: Sequence[str], names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.branches: list[Branches] = []
        for name in layers:
            parent, _, own = name.rpartition(".")
            branch = Branches(model.get_submodule(name), names)
            setattr(model.get_submodule(parent), own, branch)
            self.branches.append(branch)

    def forward(self, frames: Tensor, probabilities: Tensor) -> Tensor:
        """Return logits (B, classes) of frames (B, T, C, H, W) under the shares ``probabilities`` (L, K)."""
        for branch, shares in zip(self.branches, probabilities.unbind(), strict=True):
            branch.probabilities = shares
        return self.model(frames)
