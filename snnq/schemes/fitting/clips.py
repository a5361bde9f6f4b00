"""Where a layer's grid begins and ends, chosen before anything is learned: three ways, from plain to best.

``rtn``: the grid covers the channel's least and greatest weight. ``clip``: least squared error of the weights, what
finetuning starts from. ``awq``: least squared error of the layer's *output* on the calibration samples,

    E ‖(ŵ − w) x‖² = δ G δᵀ,   G = mean of x xᵀ over samples, steps and positions, δ = ŵ − w, row by row

over the same candidates. This is AWQ's clip search (Lin et al. 2023, arXiv:2306.00978) with the whole G instead of a
sample of outputs. AWQ's scaling of input channels is left out: the input of a layer here is a neuron's spikes, or a sum
of them, and a neuron that fires 1 cannot absorb a factor. Amplitudes of a power of two a channel, which shifts could
carry, were tried and brought nothing (``examples/ptq/amplitudes.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnq.schemes.scheme import Params, Scheme

# Unfolded patches of a convolution's input are made for as many numbers at a time.
CHUNK = 2**24
# Grids around the best candidate, as factors of its scale.
NEAR = (0.8, 0.86, 0.92, 0.96, 1.04, 1.08, 1.15, 1.25)


def columns(layer: nn.Module, x: Tensor) -> Tensor:
    """Return a layer's inputs as rows (positions, n) that its flattened weight (out, n) is multiplied with."""
    if isinstance(layer, nn.Conv2d):
        patches = F.unfold(
            x,
            layer.kernel_size,
            layer.dilation,
            _number(layer.padding),
            layer.stride,  # pyright: ignore[reportArgumentType]
        )
        return patches.transpose(1, 2).flatten(0, 1)
    if isinstance(layer, nn.Conv1d):
        size, step = layer.kernel_size[0], layer.stride[0]
        padded = F.pad(x, [int(_number(layer.padding)[0])] * 2)  # pyright: ignore[reportIndexIssue]
        if layer.dilation[0] != 1:
            padded = F.unfold(padded.unsqueeze(2), (1, size), (1, layer.dilation[0]), 0, (1, step))
            return padded.transpose(1, 2).flatten(0, 1)
        return padded.unfold(2, size, step).transpose(1, 2).flatten(2).flatten(0, 1)
    return x.flatten(0, -2)


def _number(padding: object) -> tuple[int, ...]:
    if isinstance(padding, str):
        raise ValueError(padding)
    return tuple(padding)  # pyright: ignore[reportArgumentType]


def has_columns(layer: nn.Module) -> bool:
    """Whether ``columns`` knows the layer: no groups, and padding by numbers of zeros."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return layer.groups == 1 and not isinstance(layer.padding, str) and layer.padding_mode == "zeros"
    return isinstance(layer, nn.Linear)


class Gram:
    """G = mean of x xᵀ of a layer's inputs, (n, n), gathered call by call."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.total: Tensor | None = None
        self.count = 0

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Add a call's input."""
        # spikingjelly's layers in multi-step mode are given (T, B, …).
        x = x.flatten(0, 1) if getattr(self.layer, "step_mode", "s") == "m" else x
        kernel = math.prod(getattr(self.layer, "kernel_size", (1,)))
        size = max(1, CHUNK // max(1, kernel * x[0].numel()))
        for part in x.split(size):
            rows = columns(self.layer, part)
            product = rows.T @ rows
            self.total = product if self.total is None else self.total + product
            self.count += len(rows)

    def see(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        """Add a call's input, as a hook before the layer's forward."""
        self.add(given[0])

    def mean(self) -> Tensor | None:
        """Return G, or None where nothing was added."""
        return None if self.total is None else self.total / self.count


@torch.no_grad()
def grams(layers: Mapping[str, nn.Module], run: Callable[[], object]) -> dict[str, Tensor]:
    """Return G (n, n) of every layer's inputs while ``run`` runs; layers it cannot be computed for are left out."""
    found = {name: Gram(layer) for name, layer in layers.items() if has_columns(layer)}
    hooks = [one.layer.register_forward_pre_hook(one.see) for one in found.values()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return {name: mean for name, one in found.items() if (mean := one.mean()) is not None}


def row_errors(weight: Tensor, value: Tensor, gram: Tensor | None) -> Tensor:
    """Return δ G δᵀ of every row, (out, 1); without a Gram matrix that of the identity. Both weights are (out, n)."""
    delta = value - weight
    product = delta if gram is None else delta @ gram
    return (product * delta).sum(1, keepdim=True)


@torch.no_grad()
def choose(method: str, weight: Tensor, scheme: Scheme, gram: Tensor | None = None) -> Params:
    """Return the parameters (out, 1) of a weight's grid by ``rtn``, ``clip`` or ``awq``, as they will be stored.

    ``gram`` is needed by awq only; without it (grouped convolutions) awq is clip.
    """
    if method == "rtn":
        return scheme.stored(scheme.cover(weight))
    fitted = scheme.stored(scheme.fit(weight))
    if method == "clip" or gram is None:
        return fitted
    best = _best(weight, scheme, gram, [fitted, *scheme.candidates(weight)])
    if "scale" not in scheme.parameters:
        return best
    near = [best | {"scale": best["scale"] * by} for by in (1.0, *NEAR)]
    best = _best(weight, scheme, gram, near)
    return _best(weight, scheme, gram, [best, _closed(weight, scheme, best, gram)])


def _best(weight: Tensor, scheme: Scheme, gram: Tensor, tried: list[Params]) -> Params:
    """Return, row by row, the parameters of least error; the earlier of equals."""
    rows = weight.detach().flatten(1)
    tried = [scheme.stored(params) for params in tried]
    errors = torch.cat([row_errors(rows, scheme.project(rows, params)[0], gram) for params in tried], 1)
    at = errors.argmin(1, keepdim=True)
    return {name: torch.cat([params[name] for params in tried], 1).gather(1, at) for name in scheme.parameters}


def _closed(weight: Tensor, scheme: Scheme, params: Params, gram: Tensor) -> Params:
    """Return the parameters with the scale that is best for their codes: times ŵ G w / ŵ G ŵ."""
    rows = weight.detach().flatten(1)
    value = scheme.project(rows, params)[0]
    product = value @ gram
    own = (product * value).sum(1, keepdim=True)
    by = (product * rows).sum(1, keepdim=True) / own.clamp_min(torch.finfo(rows.dtype).tiny)
    return params | {"scale": torch.where((by > 0) & (own > 0), params["scale"] * by, params["scale"])}
