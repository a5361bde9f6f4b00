"""Channels that never fire, or that no weight reads: found by what cannot happen, not by what was not seen.

A free channel (``network.readers``) is dead where its column of the reader is zero; where its row is zero and neurons
that are given its constant current for T steps put out no spike; or where no input can make it fire: LIF neurons
v ← v + (x − v)/τ that start at rest stay below their largest current, and of spikes 0 and 1 that is

    x ≤ gain · bias' + Σ_j max(gain · w_j, 0)

Its spikes are zeros, and what reads them adds nothing: without it every sum is what it was, and so is every logit, up
to the order in which floating-point numbers are added; in whole numbers bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from snnq.base.strict_json import Config, Json
from snnq.network.readers import Chain
from snnq.structure.narrowed import NARROWED, keep

# How far below the threshold the largest current must be, as a share of it: float32 sums are off by less.
MARGIN = 1e-3


@torch.no_grad()
def living(model: nn.Module, chain: Chain, kind: str, steps: int) -> Tensor:
    """Return the mask (C,) of a chain's channels that are not dead; ``kind`` is of the layer's inputs.

    ``model`` is in evaluation mode.
    """
    row, column = (model.get_submodule(path).get_parameter("weight") for path in (chain.layer, chain.reader))
    read = column.transpose(0, 1).flatten(1).ne(0).any(1)
    matrix = row.flatten(1)
    gain, offset = _affine(model, chain)
    node = model.get_submodule(chain.neuron)
    silent = ~matrix.ne(0).any(1) & ~_fires(node, offset, steps)
    if kind == "spikes" and type(node) in (neuron.LIFNode, neuron.ParametricLIFNode) and _bounded(node):
        largest = (matrix * gain[:, None]).clamp_min(0).sum(1) + offset
        silent |= largest < node.v_threshold * (1 - MARGIN)  # pyright: ignore[reportOperatorIssue]
    return read & ~silent


def _affine(model: nn.Module, chain: Chain) -> tuple[Tensor, Tensor]:
    """Return gain and offset (C,) of the currents: x = gain · (row · inputs) + offset, the offset as it is computed."""
    layer = model.get_submodule(chain.layer)
    none = torch.zeros_like(layer.get_parameter("weight").flatten(1)[:, 0])
    bias = layer.bias if isinstance(layer.bias, Tensor) else none
    if chain.norm is None:
        return torch.ones_like(bias), bias
    norm = model.get_submodule(chain.norm)
    shape = (1, -1, *[1] * (2 if isinstance(norm, nn.BatchNorm2d) else 1))
    exact = deepcopy(norm).double()
    zero, one = (exact(torch.full_like(bias, at).double().view(shape)).flatten() for at in (0.0, 1.0))
    return (one - zero).to(bias.dtype), norm(bias.view(shape)).flatten()


def _fires(node: nn.Module, currents: Tensor, steps: int) -> Tensor:
    """Return which neurons fire when they are given constant currents (C,) for so many steps."""
    alone = deepcopy(node).eval()
    functional.reset_net(alone)
    given = currents.view(1, 1, -1, 1, 1).expand(steps, 1, -1, 1, 1).contiguous()
    outputs = alone(given) if getattr(alone, "step_mode", "s") == "m" else torch.stack([alone(one) for one in given])
    return outputs.ne(0).any(0).flatten()


def _bounded(node: nn.Module) -> bool:
    """Return whether a LIF neuron's voltage stays below its largest current, from rest."""
    reset = getattr(node, "v_reset", None)
    return bool(getattr(node, "decay_input", False)) and (reset is None or reset == 0) and node.v_threshold > 0  # pyright: ignore


@torch.no_grad()
def remove_dead(model: nn.Module, chains: Sequence[Chain], kinds: Mapping[str, str], steps: int) -> list[Json]:
    """Take the dead channels of all chains out of a model, in place; return the entries of the edit ``narrowed``.

    Again and again, for a channel that goes may be the last that another one's weights read. At least one channel of a
    chain stays.
    """
    left: dict[str, int] = {}
    model.eval()
    while True:
        before = dict(left)
        for chain in chains:
            alive = living(model, chain, kinds[chain.layer], steps)
            alive[0] |= not bool(alive.any())
            if not bool(alive.all()):
                keep(model, chain.layer, chain.norm, chain.reader, torch.nonzero(alive).flatten())
                left[chain.layer] = int(alive.sum())
        if left == before:
            break
    rows = [{"layer": one.layer, "norm": one.norm, "reader": one.reader} for one in chains if one.layer in left]
    return [row | {"left": left[str(row["layer"])]} for row in rows]


def narrowed_edit(entries: Sequence[Config]) -> Json:
    """Return the edit of what was taken out."""
    return {"edit": NARROWED, "channels": [dict(one) for one in entries]}
