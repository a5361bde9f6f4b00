"""What becomes of trained layers at the end: codes and parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.utils import parametrize

from snnq.packed.coding import Coded
from snnq.training.quantized import chain_of


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
        chain, latent = chain_of(layer)
        one, params = chain.scheme, {key: value.detach().clone() for key, value in chain.params().items()}
        codes = one.encode(latent.detach(), params)
        params = one.stored(params)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        layer.weight.copy_(one.decode(codes, params).view_as(layer.weight))  # pyright: ignore
        coded[name] = Coded(one.name, codes, params)
    return coded
