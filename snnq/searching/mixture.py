"""Composite layers with one shared latent weight: one convolution or product a layer, whatever the candidates.

The paper's composite layer is y = Σ_k p_k · f(Q_k(W), x). A layer f is linear in its weight and activations are not
quantised, so y = f(Σ_k p_k Q_k(W), x) exactly: only the weights are mixed (docs/method.md §4). The weights of all
layers are quantised together as one long vector: a few large operations instead of many small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from snnq.schemes.scheme import Params, Scheme, scheme


class _Mix(torch.autograd.Function):
    """W_eff = Σ_k p_k Q_k(W) of every layer; straight-through to W where Q_k does not clip, exact to p."""

    @staticmethod
    def forward(
        ctx: Any, probabilities: Tensor, candidates: Sequence[tuple[Scheme, Params]], *weights: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.sizes = [weight.numel() for weight in weights]
        flat = torch.cat([weight.detach().flatten() for weight in weights])
        mixed, passing, values = torch.zeros_like(flat), torch.zeros_like(flat), []
        for (one, params), shares in zip(candidates, probabilities.detach().to(flat.dtype).unbind(1), strict=True):
            value, inside = one.project(flat, params)
            spread = torch.cat([share.expand(size) for share, size in zip(shares.unbind(), ctx.sizes, strict=True)])
            mixed.addcmul_(value, spread)
            passing.add_(spread * inside)
            values.append(value)
        ctx.save_for_backward(passing, *(values if ctx.needs_input_grad[0] else ()))
        return tuple(part.view_as(one) for part, one in zip(mixed.split(ctx.sizes), weights, strict=True))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore
        passing, *values = ctx.saved_tensors
        to_shares = None
        if ctx.needs_input_grad[0]:
            columns = [
                torch.stack([part @ one.flatten() for part, one in zip(value.split(ctx.sizes), gradients, strict=True)])
                for value in values
            ]
            to_shares = torch.stack(columns, 1)
        to_weights: tuple[Tensor | None, ...] = (None,) * len(gradients)
        if any(ctx.needs_input_grad[2:]):
            parts = zip(passing.split(ctx.sizes), gradients, strict=True)
            to_weights = tuple(gradient * part.view_as(gradient) for part, gradient in parts)
        return to_shares, None, *to_weights


class Supernet(nn.Module):
    """A model whose planned layers are mixtures.

    The candidates' scales are buffers of one value a row of all layers (R,), so that they are saved with a run; they
    start at the least-squares fit and follow the latent weights by ``refresh``.
    """

    rows_of_weights: Tensor

    def __init__(self, model: nn.Module, layers: Sequence[str], names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.layers = tuple(layers)
        self.schemes = tuple(scheme(name) for name in names)
        weights = self.latent_weights()
        lengths = torch.cat([torch.full((len(weight),), weight[0].numel()) for weight in weights])
        self.register_buffer("rows_of_weights", torch.arange(len(lengths)).repeat_interleave(lengths), persistent=False)
        for k, one in enumerate(self.schemes):
            fitted = [one.fit(weight) for weight in weights]
            for name in one.parameters:
                self.register_buffer(f"{name}_{k}", torch.cat([params[name] for params in fitted]).squeeze(1))

    def latent_weights(self) -> list[Tensor]:
        """Return the weights that are shared by all candidates, layer by layer."""
        return [self.model.get_parameter(f"{name}.weight") for name in self.layers]

    def weight_parameters(self) -> list[nn.Parameter]:
        """Return everything that is trained but the architecture parameters."""
        return list(self.model.parameters())

    def refresh(self) -> None:
        """Let every candidate's scales follow the latent weights, which have moved since the last time."""
        weights = self.latent_weights()
        sizes = [len(weight) for weight in weights]
        for k, one in enumerate(self.schemes):
            before = {name: getattr(self, f"{name}_{k}").split(sizes) for name in one.parameters}
            for i, weight in enumerate(weights):
                params = one.refine(weight, {name: rows[i].unsqueeze(1) for name, rows in before.items()})
                for name, value in params.items():
                    before[name][i].copy_(value.squeeze(1))

    def forward(self, frames: Tensor, probabilities: Tensor) -> Tensor:
        """Return logits (B, classes) of frames (B, T, C, H, W) under the shares ``probabilities`` (L, K)."""
        candidates = [
            (one, {name: getattr(self, f"{name}_{k}")[self.rows_of_weights] for name in one.parameters})
            for k, one in enumerate(self.schemes)
        ]
        mixed = _Mix.apply(probabilities, candidates, *self.latent_weights())
        weights = {f"{name}.weight": part for name, part in zip(self.layers, mixed, strict=True)}  # pyright: ignore
        return functional_call(self.model, weights, (frames,))
