"""A finished model's parameters in as few bits as its whole numbers need; codes stay as they are.

A channel's scale s and the norm's multiplier m behind it only ever act as their product. So the scale moves into the
norm: all channels of a layer share one power of two 2^k, and m' = m · s / 2^k. Multipliers, and what stays real where
no norm follows, are rounded to ``SIGNIFICANT`` significant bits; offsets to a step that is the same for all channels of
a layer, ``OFFSET`` bits below its largest. float32 layers and the norms behind them keep every bit. This happens before
anything is evaluated: what is packed is what was measured. Source: ours (docs/method.md §6).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from snnq.packed.coding import Coded
from snnq.schemes.scheme import scheme

# A threshold is off by a 512th at most, and by less than a 1000th on average: far less than a weight of four bits is.
SIGNIFICANT = 8
OFFSET = 10


@torch.no_grad()
def shortened(
    folded: nn.Module, coded: Mapping[str, Coded], norms: Mapping[str, str]
) -> tuple[nn.Module, dict[str, Coded]]:
    """Return a copy of a folded model, and its codes, with short parameters.

    ``norms`` names the folded norm behind each layer. Each coded layer's weight is what its codes decode to.
    """
    model, found = deepcopy(folded), {}
    for name, one in coded.items():
        layer = model.get_submodule(name)
        norm = model.get_submodule(norms[name]) if name in norms else None
        params = _shared(one, norm) if norm is not None else None
        found[name] = one._replace(params=params or _rounded(one))
        weight = layer.get_parameter("weight")
        decoded = scheme(one.scheme).decode(one.codes, found[name].params)
        weight.copy_(decoded.view_as(weight))
        if norm is not None:
            for key, short in (("multiplier", significant), ("offset", stepped)):
                norm.get_buffer(key).copy_(short(norm.get_buffer(key)))
        elif isinstance(layer.bias, Tensor):
            layer.bias.copy_(significant(layer.bias))
    return model, found


def _shared(one: Coded, norm: nn.Module) -> dict[str, Tensor] | None:
    """Move a layer's scale into its norm; return parameters with one scale for all, None where that overflows."""
    form = scheme(one.scheme)
    factor = form.factor(one.params).double()
    shared = torch.exp2(factor.median().log2().round())
    multiplier = norm.get_buffer("multiplier")
    moved = (multiplier.double() * (factor / shared).flatten().to(multiplier.device)).float()
    if not bool(moved.isfinite().all()):
        return None
    multiplier.copy_(moved)
    return form.with_factor(one.params, shared.expand_as(factor).float())


def _rounded(one: Coded) -> dict[str, Tensor]:
    form = scheme(one.scheme)
    return form.with_factor(one.params, significant(form.factor(one.params)))


def significant(values: Tensor) -> Tensor:
    """Return float32 numbers rounded to ``SIGNIFICANT`` significant bits."""
    mantissa, exponent = torch.frexp(values.double())
    return torch.ldexp((mantissa * 2**SIGNIFICANT).round(), exponent - SIGNIFICANT).float()


def stepped(values: Tensor) -> Tensor:
    """Return float32 numbers rounded to multiples of one power of two, ``OFFSET`` bits below the largest."""
    exponent = torch.frexp(values.double().abs().max()).exponent - OFFSET
    return torch.ldexp(torch.ldexp(values.double(), -exponent).round(), exponent).float()
