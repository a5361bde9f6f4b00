"""The edit ``reused``: attentions whose spikes are made of those of the attention before them.

    {"edit": "reused", "attentions": {"block.2.attn": "block.1.attn", "block.3.attn": "block.2.attn"}}

In place of q, k, v and both products stand one layer, its norm and its neuron (``models.reusable``), and the projection
stays:

    A_i = LIF(norm(W A_{i−1})),   W (C, C), A_{i−1} the spikes of the attention before, all heads side by side

It is the transformation block of TReX (Moitra et al. 2024, arXiv:2408.12742), LayerNorm → FC → GELU there, as spikes
have it. A_{i−1} may be made so itself. Whole numbers go on: layer, norm and neuron are stages as all others are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from snnq.base.errors import UsageError, nearest
from snnq.network.graph import Graph, Operation
from snnq.network.operations import LayerOperation, Neuron
from snnq.structure.edits import STRUCTURE

if TYPE_CHECKING:
    from torch import nn

    from snnq.network.products import Products

_PROJECTIONS = ("proj", "proj_conv")  # what architectures call the layer behind their products


def reused(model: nn.Module, attentions: Mapping[str, str]) -> nn.Module:
    """Let attentions take the spikes of others, in place; raises ``UsageError`` where that cannot be."""
    if not isinstance(attentions, Mapping) or not attentions:
        raise UsageError(f"{STRUCTURE}: reused attentions {attentions!r}: one by the name of another is wanted")
    modules = dict(model.named_modules())
    order = {name: place for place, name in enumerate(modules)}
    for name, source in attentions.items():
        for one in (name, source):
            if not hasattr(modules.get(one), "reuse_spikes_of"):
                close = nearest(one, modules) if one not in modules else ""
                raise UsageError(f"{STRUCTURE}: '{one}' is no attention that can be reused{close}")
        if order[source] >= order[name]:
            raise UsageError(f"{STRUCTURE}: '{source}' does not run before '{name}', which is to reuse its spikes")
    for name in sorted(attentions, key=order.__getitem__):  # along chains
        one: Any = modules[name]
        try:
            one.reuse_spikes_of(modules[attentions[name]])
        except ValueError as problem:
            said = f"{STRUCTURE}: '{name}' cannot reuse the spikes of '{attentions[name]}': {problem}"
            raise UsageError(said) from problem
    return model


def described(attentions: Mapping[str, str]) -> str:
    """Return the edit in words."""
    return "reused attention: " + ", ".join(f"{name} takes {source}'s spikes" for name, source in attentions.items())


def still_mixing(products: Sequence[Products], attentions: Mapping[str, str]) -> tuple[Products, ...]:
    """Return the products of the attentions that still have any."""
    return tuple(one for one in products if one.name not in attentions)


def redrawn(graph: Graph, attentions: Mapping[str, str]) -> Graph:
    """Return the graph of the edited model: what nothing reads any more is gone."""
    operations = list(graph.operations)
    for name in [path for path in _projections(operations) if path in attentions]:  # along chains
        operations = _reusing(operations, name, attentions[name])
    needed, kept = {graph.head.gives}, []
    for one in reversed(operations):
        if one.gives in needed:
            kept.append(one)
            needed |= set(one.takes)
    return replace(graph, operations=tuple(reversed(kept)))


def _projections(operations: Sequence[Operation]) -> dict[str, LayerOperation]:
    """Return the projection of every attention, by the attention's path, in the order they run."""
    found = (one for one in operations if isinstance(one, LayerOperation))
    return {path: one for one in found for path, _, name in [one.layer.rpartition(".")] if name in _PROJECTIONS}


def _reusing(operations: Sequence[Operation], name: str, source: str) -> list[Operation]:
    """Return the operations with layer and neuron of an attention's own in front of its projection."""
    projections = _projections(operations)
    own, theirs = projections[name], projections[source]
    tau = next(one.tau for one in operations if isinstance(one, Neuron) and one.gives == own.takes[0])
    layer = LayerOperation(
        f"{name}.{own.layer.rpartition('.')[2].replace('proj', 'reuse')}",
        f"{name}.reuse_bn",
        theirs.takes,
        f"{name}.reuse_bn",
        own.outputs,
    )
    neuron = Neuron(f"{name}.reuse_lif", (layer.gives,), f"{name}.reuse_lif", tau=tau)
    place = operations.index(own)
    return [*operations[:place], layer, neuron, replace(own, takes=(neuron.gives,)), *operations[place + 1 :]]
