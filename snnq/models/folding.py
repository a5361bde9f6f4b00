"""Folding batch normalisation: what is left behind each layer is one multiplier and one offset per channel."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn


class ChannelAffine(nn.Module):
    """y = multiplier · x + offset with one of each per channel; channels are dim 1 of x, as for batch normalisation."""

    multiplier: Tensor
    offset: Tensor

    def __init__(self, multiplier: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("multiplier", multiplier)
        self.register_buffer("offset", offset)

    def forward(self, x: Tensor) -> Tensor:
        """Return the affine of (B, C, …)."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x * self.multiplier.view(shape) + self.offset.view(shape)


def fold_batchnorm(model: nn.Module, norms: Mapping[str, str]) -> nn.Module:
    """Return a copy of ``model`` in eval mode whose norms are ``ChannelAffine`` and whose layers have no bias.

    ``norms`` names the batch normalisation behind each layer. multiplier = γ/√(σ² + ε) and
    offset = β + (bias − μ) · multiplier, computed in float64 and stored in float32, of shape (channels,).
    Layers outside ``norms`` (the head) keep their bias.
    """
    folded = deepcopy(model).eval()
    for layer_name, norm_name in norms.items():
        layer, norm = folded.get_submodule(layer_name), folded.get_submodule(norm_name)
        multiplier, offset = _affine_of(norm, layer)
        _install(folded, layer, norm_name, multiplier, offset)
    return folded


def affine_skeleton(model: nn.Module, norms: Mapping[str, str]) -> nn.Module:
    """Return the structure ``fold_batchnorm`` gives, with multipliers of 1 and offsets of 0, to load values into."""
    skeleton = deepcopy(model).eval()
    for layer_name, norm_name in norms.items():
        layer = skeleton.get_submodule(layer_name)
        channels = layer.get_parameter("weight").shape[0]
        _install(skeleton, layer, norm_name, torch.ones(channels), torch.zeros(channels))
    return skeleton


def _affine_of(norm: nn.Module, layer: nn.Module) -> tuple[Tensor, Tensor]:
    mean, variance = (norm.get_buffer(name).double() for name in ("running_mean", "running_var"))
    gamma, beta = (norm.get_parameter(name).detach().double() for name in ("weight", "bias"))
    bias = layer.bias.detach().double() if isinstance(layer.bias, Tensor) else torch.zeros_like(mean)
    multiplier = gamma / torch.sqrt(variance + float(norm.eps))  # pyright: ignore[reportArgumentType]
    return multiplier.float(), (beta + (bias - mean) * multiplier).float()


def _install(model: nn.Module, layer: nn.Module, norm_name: str, multiplier: Tensor, offset: Tensor) -> None:
    layer.register_parameter("bias", None)
    parent, _, name = norm_name.rpartition(".")
    model.get_submodule(parent).register_module(name, ChannelAffine(multiplier, offset))
