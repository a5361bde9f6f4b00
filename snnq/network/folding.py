"""Folding batch normalisation: what is left behind each layer is one multiplier and one offset per channel."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnq.base.errors import UsageError

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


class ChannelAffine(nn.Module):
    """y = multiplier · x + offset with one of each per channel.

    Channels are dim 1 of x, as for batch normalisation, or dim 2 where it is given all steps, (T, B, C, …).

    A module of the user's own may read its norm's numbers, as RepConv's padding does. They are those of a norm of mean
    0 and variance 1: β + (0 − μ)·γ/√(σ² + ε) is the offset.
    """

    affine, eps = True, 0.0

    multiplier: Tensor
    offset: Tensor

    def __init__(self, multiplier: Float[Tensor, " C"], offset: Float[Tensor, " C"], *, steps: bool = False) -> None:
        super().__init__()
        self.leading = 2 if steps else 1
        self.register_buffer("multiplier", multiplier)
        self.register_buffer("offset", offset)

    @property
    def weight(self) -> Float[Tensor, " C"]:
        """γ, the multiplier."""
        return self.multiplier

    @property
    def bias(self) -> Float[Tensor, " C"]:
        """β, the offset."""
        return self.offset

    @property
    def running_mean(self) -> Float[Tensor, " C"]:
        """μ, zeros."""
        return torch.zeros_like(self.offset)

    @property
    def running_var(self) -> Float[Tensor, " C"]:
        """σ², ones."""
        return torch.ones_like(self.offset)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the affine of (B, C, …), or of (T, B, C, …)."""
        shape = (-1, *[1] * (x.ndim - self.leading - 1))
        return x * self.multiplier.view(shape) + self.offset.view(shape)


def fold_batchnorm(model: nn.Module, norms: Mapping[str, str]) -> nn.Module:
    """Return a copy of ``model`` in eval mode whose norms are ``ChannelAffine`` and whose layers have no bias.

    ``norms`` names the batch normalisation behind each layer. multiplier = γ/√(σ² + ε) and
    offset = β + (bias − μ) · multiplier, computed in float64 and stored in float32, of shape (channels,).
    Layers outside ``norms`` (the head) keep their bias; norms outside it, in a user's own model, become the affine of
    themselves. Raises ``UsageError`` for one that keeps no running statistics.
    """
    folded = deepcopy(model).eval()
    for layer_name, norm_name in norms.items():
        layer, norm = folded.get_submodule(layer_name), folded.get_submodule(norm_name)
        layer_bias = layer.bias.detach() if isinstance(layer.bias, Tensor) else None
        layer.register_parameter("bias", None)
        _install(folded, norm_name, *_affine_of(norm_name, norm, layer_bias))
    for norm_name, norm in _norms(folded):
        _install(folded, norm_name, *_affine_of(norm_name, norm, None))
    return folded


def affine_skeleton(model: nn.Module, norms: Mapping[str, str]) -> nn.Module:
    """Return the structure ``fold_batchnorm`` gives, with multipliers of 1 and offsets of 0, to load values into."""
    skeleton = deepcopy(model).eval()
    for layer_name, norm_name in norms.items():
        layer = skeleton.get_submodule(layer_name)
        layer.register_parameter("bias", None)
        channels = layer.get_parameter("weight").shape[0]
        _install(skeleton, norm_name, torch.ones(channels), torch.zeros(channels))
    for norm_name, norm in _norms(skeleton):
        _install(skeleton, norm_name, torch.ones(norm.num_features), torch.zeros(norm.num_features))
    return skeleton


def _norms(model: nn.Module) -> list[tuple[str, _BatchNorm]]:
    return [(name, one) for name, one in model.named_modules() if isinstance(one, _BatchNorm)]


def _affine_of(
    name: str, norm: nn.Module, bias: Float[Tensor, " C"] | None
) -> tuple[Float32[Tensor, " C"], Float32[Tensor, " C"]]:
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        raise UsageError(f"{name}: a batch normalisation without running statistics cannot be folded")
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    multiplier = gamma / torch.sqrt(variance + float(norm.eps))
    shift = -mean if bias is None else bias.double() - mean
    return multiplier.float(), (beta + shift * multiplier).float()


def _install(
    model: nn.Module, norm_name: str, multiplier: Float32[Tensor, " C"], offset: Float32[Tensor, " C"]
) -> None:
    parent, _, name = norm_name.rpartition(".")
    # SpikingJelly's layers in multi-step mode are given all steps at once.
    steps = getattr(model.get_submodule(norm_name), "step_mode", "s") == "m"
    model.get_submodule(parent).register_module(name, ChannelAffine(multiplier, offset, steps=steps))
