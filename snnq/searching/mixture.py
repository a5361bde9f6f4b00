"""Composite layers with one shared latent weight: one convolution or product a layer, whatever the candidates.

The paper's composite layer is y = Σ_k p_k · f(Q_k(W), x). A layer f is linear in its weight and activations are not
quantised, so y = f(Σ_k p_k Q_k(W), x) exactly: only the weights are mixed (METHOD §4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snnq.schemes.scheme import Params, Scheme, scheme


class _Mix(torch.autograd.Function):
    """W_eff = Σ_k p_k Q_k(W); straight-through to W where Q_k does not clip, exact to p."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, probabilities: Tensor, candidates: Sequence[tuple[Scheme, Params]]) -> Tensor:
        mixed, passing = torch.zeros_like(weight), torch.zeros_like(weight)
        values = []
        for share, (one, params) in zip(probabilities.unbind(), candidates, strict=True):
            value, inside = one.project(weight, params)
            values.append(value)
            mixed.addcmul_(value, share)
            passing.addcmul_(inside.to(weight.dtype), share)
        ctx.save_for_backward(passing, *(values if ctx.needs_input_grad[1] else ()))
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # pyright: ignore
        passing, *values = ctx.saved_tensors
        to_weight = gradient * passing if ctx.needs_input_grad[0] else None
        to_shares = torch.stack([(gradient * value).sum() for value in values]) if values else None
        return to_weight, to_shares, None


class Mixture(nn.Module):
    """Parametrization of a layer's weight: the latent weight goes in, the mixed weight comes out.

    ``probabilities`` (K,) is set before every forward. The candidates' scales are fitted to the latent weight by
    ``refresh`` and are kept as buffers, so that they are saved with a run.
    """

    def __init__(self, names: Sequence[str], weight: Tensor) -> None:
        super().__init__()
        self.schemes = tuple(scheme(name) for name in names)
        self.probabilities = torch.full((len(names),), 1 / len(names))
        for k, one in enumerate(self.schemes):
            for name, value in one.fit(weight).items():
                self.register_buffer(f"{name}_{k}", value)

    def _params(self, k: int) -> Params:
        return {name: getattr(self, f"{name}_{k}") for name in self.schemes[k].parameters}

    def refresh(self, weight: Tensor) -> None:
        """Fit every candidate's parameters to the latent weight again."""
        for k, one in enumerate(self.schemes):
            for name, value in one.fit(weight).items():
                getattr(self, f"{name}_{k}").copy_(value)

    def forward(self, weight: Tensor) -> Tensor:
        """Return Σ_k p_k Q_k(W), same shape as the latent weight."""
        candidates = [(one, self._params(k)) for k, one in enumerate(self.schemes)]
        return _Mix.apply(weight, self.probabilities, candidates)  # pyright: ignore


class Supernet(nn.Module):
    """A model whose planned layers are mixtures, with its architecture parameters ``logits`` (L, K), zero at first."""

    def __init__(self, model: nn.Module, layers: Sequence[str], names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.layers = tuple(layers)
        self.names = tuple(names)
        self.logits = nn.Parameter(torch.zeros(len(layers), len(names)))
        self.mixtures: list[Mixture] = []
        for name in layers:
            layer = model.get_submodule(name)
            mixture = Mixture(names, layer.weight)  # pyright: ignore
            parametrize.register_parametrization(layer, "weight", mixture, unsafe=True)
            self.mixtures.append(mixture)

    def weight_parameters(self) -> list[nn.Parameter]:
        """Return everything that is trained but the architecture parameters."""
        return list(self.model.parameters())

    def refresh(self) -> None:
        """Fit the candidates' scales of every layer to its latent weight."""
        for name, mixture in zip(self.layers, self.mixtures, strict=True):
            original = self.model.get_submodule(name).parametrizations["weight"].original  # pyright: ignore
            mixture.refresh(original.detach())

    def forward(self, frames: Tensor, probabilities: Tensor) -> Tensor:
        """Return logits (B, classes) of frames (B, T, C, H, W) under the shares ``probabilities`` (L, K)."""
        for mixture, shares in zip(self.mixtures, probabilities.unbind(), strict=True):
            mixture.probabilities = shares
        return self.model(frames)


def sample(logits: Tensor, temperature: float, generator: torch.Generator, *, one_hot: bool) -> Tensor:
    """Return Gumbel-softmax shares (L, K): p = softmax((a + g)/τ), or onehot(argmax) - stop(p) + p [paper].

    g ~ Gumbel(0, 1), drawn from ``generator`` on the CPU.
    """
    uniform = torch.rand(logits.shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    gumbel = -torch.log(-torch.log(uniform)).to(logits.device)
    soft = torch.softmax((logits + gumbel) / temperature, dim=-1)
    if not one_hot:
        return soft
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())
