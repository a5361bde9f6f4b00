"""The blocks of a model that are reconstructed one after the other, found by watching it run once.

The model's *parts* are its children that hold layers, ``ModuleList`` and ``Sequential`` opened: ``patch_embed``,
``block.0``, …, ``head``. A part is one block, but a tokenizer of several layers is cut into a *stage* for each layer,
with the norm, neuron and pooling behind it. Where a part runs more than once in a pass, as in models that loop over
time steps themselves, or hands on more than its output (reused attentions), the whole model is one block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from snnq.network.neurons import is_neuron

# An output of a pass: (part, -1) is that of a part, (part, i) that of the i-th call of a unit in it.
Address = tuple[int, int]
WHOLE = -1


@dataclass(frozen=True)
class ModelPart:
    """A child module that holds layers; ``staged``: it is cut at its layers; ``bare``: it is nothing but a layer."""

    path: str
    layers: tuple[str, ...]
    staged: bool = False
    bare: bool = False


@dataclass(frozen=True)
class Block:
    """A stretch of a pass: unit calls ``first`` up to ``last`` of a part (None: to its end), with its layers.

    ``affines``: the folded norms in it. ``needs``: the outputs of earlier blocks that it is computed from.
    """

    name: str
    part: int
    first: int
    last: int | None
    layers: tuple[str, ...]
    affines: tuple[str, ...] = ()
    needs: tuple[Address, ...] = ()


def parts_of(model: nn.Module, groups: Mapping[str, str]) -> list[ModelPart]:
    """Return the parts in the order of the modules; ``groups`` is the group of every layer that runs."""
    found: list[ModelPart] = []

    def walk(module: nn.Module, path: str) -> None:
        for name, child in module.named_children():
            where = f"{path}.{name}" if path else name
            layers = tuple(one for one in groups if one == where or one.startswith(f"{where}."))
            if layers and isinstance(child, nn.ModuleList | nn.Sequential):
                walk(child, where)
            elif layers:
                bare = layers == (where,)
                staged = not bare and len(layers) > 1 and all(groups[one] == "tokenizer" for one in layers)
                found.append(ModelPart(where, layers, staged, bare))

    walk(model, "")
    return found


def passes_spikes(model: nn.Module) -> bool:
    """Return whether an attention takes the spikes of another one, past the output of the part that both are in."""
    return any(getattr(module, "takes", None) is not None for module in model.modules())


def whole_model(groups: Mapping[str, str]) -> list[ModelPart]:
    """Return the one part that is everything."""
    return [ModelPart("", tuple(groups))]


def units_of(module: nn.Module, path: str) -> dict[str, nn.Module]:
    """Return the modules that compute, by path: neurons, and what has no modules inside it."""
    if is_neuron(module) or not any(True for _ in module.children()):
        return {path: module}
    found: dict[str, nn.Module] = {}
    for name, child in module.named_children():
        found |= units_of(child, f"{path}.{name}" if path else name)
    return found


def cut(index: int, part: ModelPart, calls: list[str], affines: tuple[str, ...], model: nn.Module) -> list[Block]:
    """Return the blocks of a part from its unit calls in their order; a layer that runs twice leaves it whole.

    ``affines`` are the folded norms that ran in it.
    """
    at = [number for number, path in enumerate(calls) if path in part.layers]
    if not part.staged or sorted(calls[i] for i in at) != sorted(part.layers):
        return [Block(part.path or "model", index, 0, None, part.layers, affines)]
    ends: list[int | None] = [*at[1:], None]
    starts = [0, *at[1:]]
    return [
        Block(
            calls[layer], index, first, last, (calls[layer],), tuple(one for one in calls[first:last] if one in affines)
        )
        for layer, first, last in zip(at, starts, ends, strict=True)
    ]
