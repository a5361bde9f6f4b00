"""The edit ``activations``: what a layer is given becomes whole numbers times a step, within a learned range.

    {"edit": "activations", "layers": {"ann.conv1": {"bits": 8, "signed": true}, …}}

    x̂ = s · clamp(round(x / s), −n, n),   n = 2^(b−1) − 1 and s = r/n        (signed)
    x̂ = s · clamp(round(x / s), 0, n),    n = 2^b − 1 and s = r/n            (what is never negative)

r is a parameter of the layer, ``input_range``, kept as its logarithm: it is trained with the weights, straight through
the rounding, as LSQ's step (Esser et al. 2020, arXiv:1902.08153) and PACT's clip (Choi et al. 2018, arXiv:1805.06085)
are. With a quantised weight every product is then one of two whole numbers, and s belongs behind the sum. It is for
networks that do not spike, or parts that do not: spikes are whole numbers already. A later edit replaces an earlier
one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from snnq.base.errors import UsageError
from snnq.base.strict_json import Config
from snnq.network.activations import Quantise, levels
from snnq.network.graph import Graph, Operation
from snnq.network.layers import INPUT_BITS, quantisable
from snnq.network.operations import Head, LayerOperation
from snnq.structure.edits import STRUCTURE

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
else:
    from snnq.base.lazy import torch

ACTIVATIONS, RANGE, SIGNED = "activations", "input_range", "input_signed"
BITS = (2, 8)


def quantised(model: nn.Module, layers: Mapping[str, Config]) -> nn.Module:
    """Quantise what layers are given, in place, with ranges of 1; raises ``UsageError`` for no layer or no bits."""
    known = quantisable(model)
    for name, one in layers.items():
        if name not in known:
            raise UsageError(f"{STRUCTURE}: '{name}', whose activations are quantised, is no layer of the model")
        bits, signed = one.get("bits"), one.get("signed")
        if type(bits) is not int or not BITS[0] <= bits <= BITS[1] or type(signed) is not bool:
            raise UsageError(
                f"{STRUCTURE}: activations of '{name}' cannot have {bits!r} bits, signed {signed!r}: "
                f"bits are {BITS[0]} to {BITS[1]}, signed is true or false"
            )
        layer = known[name][0]
        if not hasattr(layer, INPUT_BITS):
            layer.register_parameter(RANGE, torch.nn.Parameter(torch.zeros((), device=layer.weight.device)))
            layer.register_forward_pre_hook(_quantise)
        setattr(layer, INPUT_BITS, bits)
        setattr(layer, SIGNED, signed)
    return model


def described(layers: Mapping[str, Config]) -> str:
    """Return the edit in words."""
    bits = sorted({one["bits"] for one in layers.values()})
    return f"activations of {len(layers)} layers have {' or '.join(map(str, bits))} bits"


def redrawn(graph: Graph, layers: Mapping[str, Config]) -> Graph:
    """Return the graph of the edited model; raises ``UsageError`` for a layer that it has not."""
    operations, left = list[Operation](), set(layers)
    before = {one.layer for one in graph.operations if isinstance(one, Quantise)}
    for one in graph.operations:
        if isinstance(one, LayerOperation | Head | Quantise) and one.layer in layers:
            left.discard(one.layer)
            how = {name: layers[one.layer][name] for name in ("bits", "signed")}
            if isinstance(one, Quantise):
                one = replace(one, **how)
            elif isinstance(one, Head):
                one = replace(one, quantised=Quantise(one.layer, one.takes, f"{one.layer}, given", **how))
            elif one.layer not in before:
                operations.append(Quantise(one.layer, one.takes, f"{one.layer}, given", **how))
                one = replace(one, takes=(operations[-1].gives,))
        operations.append(one)
    if left:
        raise UsageError(f"{STRUCTURE}: '{min(left)}', whose activations are quantised, is no layer of the graph")
    return replace(graph, operations=tuple(operations))


def rounded(x: Tensor, step: Tensor, bits: int, signed: bool) -> Tensor:
    """Return the codes of activations, float32 whole numbers; gradients pass where nothing was cut off."""
    codes = (x / step).clamp(*levels(bits, signed))
    return codes + (codes.round() - codes).detach()


def step_of(layer: nn.Module) -> Tensor:
    """Return the step s of a layer's activations, ()."""
    _, most = levels(getattr(layer, INPUT_BITS), getattr(layer, SIGNED))
    return layer.get_parameter(RANGE).exp() / most


def without(layer: nn.Module) -> None:
    """Let a layer take what it is given as it is: whole numbers come to it already."""
    for key in [key for key, hook in layer._forward_pre_hooks.items() if hook is _quantise]:
        del layer._forward_pre_hooks[key]
    layer.register_parameter(RANGE, None)


def _quantise(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    step = step_of(layer)
    return (rounded(given[0], step, getattr(layer, INPUT_BITS), getattr(layer, SIGNED)) * step, *given[1:])


def best_range(values: Tensor, bits: int, signed: bool) -> float:
    """Return the logarithm of the range with the least mean squared error on some activations, of 100 that are tried.

    They lie between a hundredth of the largest amount and all of it; zero where all activations are zero.
    """
    largest, most = float(values.abs().max()), levels(bits, signed)[1]
    if not largest:
        return 0.0
    errors = []
    for part in range(1, 101):
        step = torch.tensor(largest * part / 100 / most)
        errors.append((float((rounded(values, step, bits, signed) * step - values).square().mean()), part))
    return math.log(largest * min(errors)[1] / 100)
