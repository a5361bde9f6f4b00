"""The edit ``narrowed``: channels between two layers that are gone for good.

    {"edit": "narrowed", "channels": [{"layer": "block.0.mlp.fc1", "norm": "block.0.mlp.fc1_bn",
                                       "reader": "block.0.mlp.fc2", "left": 57}, …]}

A channel is a row of ``layer``, its place in ``norm`` (null where there is none) and a column of ``reader``, the only
layer that sees it (``network.readers``). The edit keeps the first ``left`` channels: a model whose other channels go
brings those that stay to the front, and so loads what was saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snnq.base.errors import UsageError
from snnq.base.strict_json import Config
from snnq.structure.edits import STRUCTURE

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
else:
    from snnq.base.lazy import torch

NARROWED = "narrowed"
# What a module calls the number of its channels, on the side of its outputs and of its inputs.
_WIDTHS = {0: ("out_channels", "out_features", "num_features"), 1: ("in_channels", "in_features")}


def narrowed(model: nn.Module, channels: Sequence[Config]) -> nn.Module:
    """Return the model with the first ``left`` channels of each entry; raises ``UsageError`` where it has no such."""
    for one in channels:
        layer = model.get_submodule(one["layer"])
        width, left = layer.get_parameter("weight").shape[0], one["left"]
        if type(left) is not int or not 0 < left <= width:
            raise UsageError(f"{STRUCTURE}: {left!r} of the {width} channels of '{one['layer']}' cannot be left")
        keep(model, one["layer"], one["norm"], one["reader"], torch.arange(left))
    return model


def described(channels: Sequence[Config]) -> str:
    """Return the edit in words."""
    counts = ", ".join(f"{one['layer']} {one['left']}" for one in channels)
    return f"channels that are left: {counts}"


@torch.no_grad()
def keep(model: nn.Module, layer: str, norm: str | None, reader: str, kept: Tensor) -> None:
    """Leave only the channels ``kept`` (n,), in that order, between a layer and its only reader; in place."""
    _take(model.get_submodule(layer), kept, 0)
    if norm is not None:
        _take(model.get_submodule(norm), kept, 0)
    _take(model.get_submodule(reader), kept, 1)


def _take(module: nn.Module, kept: Tensor, axis: int) -> None:
    """Take the channels of one axis of all that a module has of that many axes; its bias belongs to its outputs."""
    from torch.nn import Parameter

    for name, tensor in list(module.named_parameters(recurse=False)):
        if tensor.ndim > axis:
            taken = tensor.detach().index_select(axis, kept.to(tensor.device))
            module.register_parameter(name, Parameter(taken, requires_grad=tensor.requires_grad))
    for name, tensor in list(module.named_buffers(recurse=False)):
        if tensor.ndim > axis:
            module.register_buffer(name, tensor.index_select(axis, kept.to(tensor.device)))
    for name in _WIDTHS[axis]:
        if hasattr(module, name):
            setattr(module, name, len(kept))
