"""Layers that train under a fixed scheme."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from snnq.schemes.holding import holding_zero
from snnq.schemes.scheme import Params, Scheme, scheme
from snnq.structure.masked import hold, masked_layers

# How many times as fast as a weight the scale of a rated layer learns.
RATED_PACE = 10


class FakeQuantize(nn.Module):
    """Parametrization of a layer's weight: latent weight in, quantised weight out, straight-through gradients.

    The scheme's parameters start at the least-squares fit and are learned as shifts (``Scheme.moved``): a scale moves
    by a factor, a zero-point and a power-of-two exponent by a difference. So one learning rate fits all of them, where
    LSQ divides the gradient by √(n·levels): AdamW divides by the gradient's size anyway.

    ``coarse``: the layer is ``rated``, trained to be coded in few bits. It starts from these parameters, a grid about
    zero, whose zero-point stays where it is: most weights are to become zero.
    """

    def __init__(self, name: str | Scheme, weight: Tensor, coarse: Params | None = None) -> None:
        super().__init__()
        self.scheme, self.rated = scheme(name) if isinstance(name, str) else name, coarse is not None
        for key, value in (coarse or self.scheme.fit(weight)).items():
            self.register_buffer(f"{key}_start", value)
            learned = not (self.rated and key == "zero_point")
            self.register_parameter(f"{key}_shift", nn.Parameter(torch.zeros_like(value), requires_grad=learned))

    def params(self) -> Params:
        """Return the scheme's parameters as they stand, differentiable in the shifts."""
        names = self.scheme.parameters
        starts = {name: getattr(self, f"{name}_start") for name in names}
        return self.scheme.moved(starts, {name: getattr(self, f"{name}_shift") for name in names})

    def forward(self, weight: Tensor) -> Tensor:
        """Return the quantised weight, same shape."""
        return self.scheme.quantize(weight, self.params())


def quantize_model(
    model: nn.Module, schemes: Mapping[str, str], coarse: Callable[[str, Tensor], Params | None] = lambda *_: None
) -> nn.Module:
    """Put a ``FakeQuantize`` on every layer the plan does not leave in float32; changes and returns ``model``.

    ``coarse`` gives the first parameters of a layer that is trained to a rate, by its name and weight; None for others.
    Masked weights are held at zero from here on.
    """
    masked = masked_layers(hold(model))
    for name, scheme_name in schemes.items():
        if scheme(scheme_name).is_float:
            continue
        layer = model.get_submodule(name)
        weight = layer.get_parameter("weight")
        one = holding_zero(scheme_name) if name in masked else scheme(scheme_name)
        parametrization = FakeQuantize(one, weight, coarse(name, weight))
        parametrize.register_parametrization(layer, "weight", parametrization, unsafe=True)
    return model


def quantized_layers(model: nn.Module) -> Iterator[tuple[str, FakeQuantize, Tensor]]:
    """Yield the name, the parametrization and the latent weight of every quantised layer."""
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            yield name, *chain_of(module)


def chain_of(layer: nn.Module) -> tuple[FakeQuantize, Tensor]:
    """Return the parametrization and the latent weight of a quantised layer."""
    chain = layer.get_submodule("parametrizations.weight")
    found = chain.get_submodule("0")
    assert isinstance(found, FakeQuantize)
    return found, chain.get_parameter("original")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return optimizer groups: weight decay for weights, none for BN, biases and scheme parameters.

    The parameters of rated layers are a group of their own, which moves at ``RATED_PACE``: coarser grids are far away.
    """
    rated = {id(one) for _, chain, _ in quantized_layers(model) if chain.rated for one in chain.parameters()}
    decayed, free, fast = [], [], []
    for name, parameter in model.named_parameters():
        is_weight = parameter.ndim > 1 and not name.endswith("_shift")
        (fast if id(parameter) in rated else decayed if is_weight else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [*groups, {"params": fast, "weight_decay": 0.0, "pace": RATED_PACE}] if fast else groups
