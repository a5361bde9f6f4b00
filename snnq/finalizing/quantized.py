"""Layers that train under a fixed scheme, and what becomes of them at the end: codes and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snnq.packed.coding import Coded
from snnq.schemes.scheme import Params, scheme


class FakeQuantize(nn.Module):
    """Parametrization of a layer's weight: latent weight in, quantised weight out, straight-through gradients.

    The scheme's parameters start at the least-squares fit and are learned as shifts (``Scheme.moved``): a scale moves
    by a factor, a zero-point and a power-of-two exponent by a difference. So one learning rate fits all of them, where
    LSQ divides the gradient by √(n·levels): AdamW divides by the gradient's size anyway.
    """

    def __init__(self, name: str, weight: Tensor) -> None:
        super().__init__()
        self.scheme = scheme(name)
        for key, value in self.scheme.fit(weight).items():
            self.register_buffer(f"{key}_start", value)
            self.register_parameter(f"{key}_shift", nn.Parameter(torch.zeros_like(value)))

    def params(self) -> Params:
        """Return the scheme's parameters as they stand, differentiable in the shifts."""
        names = self.scheme.parameters
        starts = {name: getattr(self, f"{name}_start") for name in names}
        return self.scheme.moved(starts, {name: getattr(self, f"{name}_shift") for name in names})

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantised weight, same shape."""
        return self.scheme.quantize(weight, self.params())


def quantize_model(model: nn.Module, schemes: Mapping[str, str]) -> nn.Module:
    """Put a ``FakeQuantize`` on every layer the plan does not leave in float32; changes and returns ``model``."""
    for name, scheme_name in schemes.items():
        if scheme(scheme_name).is_float:
            continue
        layer = model.get_submodule(name)
        parametrization = FakeQuantize(scheme_name, layer.weight)  # pyright: ignore
        parametrize.register_parametrization(layer, "weight", parametrization, unsafe=True)
    return model


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return optimizer groups: weight decay for weights, none for BN, biases and scheme parameters."""
    decayed, free = [], []
    for name, parameter in model.named_parameters():
        is_weight = parameter.ndim > 1 and not name.endswith("_shift")
        (decayed if is_weight else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


@torch.no_grad()
def encode_model(model: nn.Module, schemes: Mapping[str, str]) -> dict[str, Coded]:
    """Take the parametrizations off again and return every quantised layer's codes.

    Afterwards each layer's weight is exactly what its codes decode to: the codes are the truth from here on.
    """
    coded = {}
    for name in schemes:
        layer = model.get_submodule(name)
        if not parametrize.is_parametrized(layer, "weight"):
            continue
        chain: Any = layer.parametrizations["weight"]  # pyright: ignore
        one, latent = chain[0].scheme, chain.original.detach()
        params = {key: value.detach().clone() for key, value in chain[0].params().items()}
        codes = one.encode(latent, params)
        params = one.stored(params)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        layer.weight.copy_(one.decode(codes, params).view_as(layer.weight))  # pyright: ignore
        coded[name] = Coded(one.name, codes, params)
    return coded
