"""Running a graph in float torch with a model's own weights, and comparing with what the model computes itself.

Nothing of the model's forward is used: only its layers, norms and neurons, by path. So a graph that gives the model's
logits says what the model computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from snnq.base.errors import VerificationError
from snnq.network.activations import Hold, KeyFrames, Quantise, Rectify
from snnq.network.combining import (
    Add,
    Concat,
    First,
    Flatten,
    MeanPool,
    Multiply,
    Pad,
    Pool,
    Residual,
    Sum,
    Switch,
)
from snnq.network.graph import Graph
from snnq.network.operations import Attention, Head, LayerOperation, Mean, Neuron
from snnq.network.streams import FRAMES, LOGITS

if TYPE_CHECKING:
    from jaxtyping import Num

TOLERANCE = 1e-9


@torch.no_grad()
def run_graph(
    graph: Graph,
    model: nn.Module,
    frames: Num[Tensor, "B T C H W"],
    worth: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> dict[str, Tensor]:
    """Return every stream, (T, B, C, h, w), of frames (B, T, C, H, W); ``LOGITS`` are (B, classes).

    The segments of a clip are samples of their own: B times as many, but for the logits.

    The model is in evaluation mode, its norms folded or not. ``worth``: what multiplies each stream that is taken, by
    what is given.
    """
    functional.reset_net(model)
    cut = frames if graph.segment is None else frames.unflatten(1, (-1, graph.segment)).flatten(0, 1)
    streams = {FRAMES: cut.transpose(0, 1)}
    for one in graph.operations:
        given = [streams[name] for name in one.takes]
        if isinstance(one, Head) and graph.segment is not None:
            given = [x.unflatten(1, (len(frames), -1)).mean(2) for x in given]
        if one.gives in worth:
            given = [factor * x for factor, x in zip(worth[one.gives], given, strict=True)]
        streams[one.gives] = _RUN[type(one)](one, model, *given)
    functional.reset_net(model)
    return streams


def check_graph(
    graph: Graph, model: nn.Module, frames: Num[Tensor, "B T C H W"], parts: nn.Module | None = None
) -> int:
    """Return how many spikes a batch of frames (B, T, C, H, W) made on both ways to the same logits.

    ``parts`` and errors as in ``agreeing_streams``.
    """
    streams = agreeing_streams(graph, model, frames, parts)
    return sum(int(streams[one.gives].sum()) for one in graph.operations if isinstance(one, Neuron))


@torch.no_grad()
def agreeing_streams(
    graph: Graph, model: nn.Module, frames: Num[Tensor, "B T C H W"], parts: nn.Module | None = None
) -> dict[str, Tensor]:
    """Return every stream of a batch of frames (B, T, C, H, W), as ``run_graph`` does, if the model's logits are its.

    ``parts`` has the layers, norms and neurons that the graph is run with, where they are not the model's. Both are run
    in float64, in which no order of sums moves a spike over a threshold. Raises VerificationError where they differ by
    more than 10^-9 of the largest logit.
    """
    model, frames = deepcopy(model).double().eval(), frames.double()
    parts = model if parts is None else deepcopy(parts).double().eval()
    streams, due = run_graph(graph, parts, frames), model(frames)
    most = float((streams[LOGITS] - due).abs().max())
    if not most <= TOLERANCE * float(due.abs().max()):
        raise VerificationError(f"the graph's logits differ from the model's by up to {most:g}", "please report this")
    return streams


def _layer(one: LayerOperation, model: nn.Module, x: Tensor) -> Tensor:
    """Return norm(W x): each kind of layer takes the shape it is made for."""
    layer, steps, (height, width) = model.get_submodule(one.layer), x.shape[:2], x.shape[3:]
    flat, kind = x.flatten(0, 1), innermost(layer)
    if isinstance(kind, nn.Conv2d):
        found = layer(flat)
        height, width = found.shape[2:]
    elif isinstance(kind, nn.Conv1d):
        found = layer(flat.flatten(2))
    else:
        found = layer(flat.flatten(2).transpose(-1, -2)).transpose(-1, -2)
    for path in [path for path in (one.norm, one.outer) if path is not None]:
        norm = model.get_submodule(path)
        if isinstance(norm, nn.BatchNorm2d) and found.ndim == 3:
            found = found.unflatten(2, (height, width))
        found = norm(found.flatten(2) if isinstance(norm, nn.BatchNorm1d) else found)
    return found.reshape(*steps, -1, height, width)


def innermost(layer: nn.Module) -> nn.Module:
    """Return the layer itself, where it stands in others that do something before or behind it."""
    while isinstance(inside := getattr(layer, "layer", None), nn.Module):
        layer = inside
    return layer


def _neuron(one: Neuron, model: nn.Module, x: Tensor) -> Tensor:
    return model.get_submodule(one.neuron)(x.contiguous())


def _pad(one: Pad, model: nn.Module, x: Tensor) -> Tensor:
    return nn.functional.pad(x, (1, 1, 1, 1))


def _pool(one: Pool, model: nn.Module, x: Tensor) -> Tensor:
    pool = nn.MaxPool2d(one.kernel, one.stride, one.padding)
    if one.heads is None:
        return pool(x.flatten(0, 1)).unflatten(0, x.shape[:2])
    return _joined(pool(_by_head(x, one.heads).flatten(0, 2)).unflatten(0, (*x.shape[:2], one.heads)), x)


def _mean_pool(one: MeanPool, model: nn.Module, x: Tensor) -> Tensor:
    return model.get_submodule(one.module)(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def _residual(one: Residual, model: nn.Module, x: Tensor) -> Tensor:
    x = model.get_submodule(one.module)(x)
    return x[1:] - x[:1]


def _key_frames(one: KeyFrames, model: nn.Module, x: Tensor) -> Tensor:
    return model.get_submodule(one.module)(x)[:1]


def _hold(one: Hold, model: nn.Module, x: Tensor) -> Tensor:
    return x.expand(one.steps, *x.shape[1:])


def _rectify(one: Rectify, model: nn.Module, x: Tensor) -> Tensor:
    return x.relu()


def _quantise(one: Quantise, model: nn.Module, x: Tensor) -> Tensor:
    return x  # the layer does it itself


def _flatten(one: Flatten, model: nn.Module, x: Tensor) -> Tensor:
    return x.flatten(2)[..., None, None]


def _add(one: Add, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return x + y


def _concat(one: Concat, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([x, y], 2)


def _first(one: First, model: nn.Module, x: Tensor) -> Tensor:
    return x[: one.steps]


def _switch(one: Switch, model: nn.Module, x: Tensor, later: Tensor) -> Tensor:
    down, across = one.strides
    return torch.cat([x, later[len(x) :, ..., ::down, ::across]])


def _multiply(one: Multiply, model: nn.Module, gate: Tensor, x: Tensor) -> Tensor:
    return gate.repeat_interleave(x.shape[2] // gate.shape[2], 2) * x


def _sum(one: Sum, model: nn.Module, x: Tensor) -> Tensor:
    if one.over == "tokens":
        return x.sum((3, 4), keepdim=True)
    return x.unflatten(2, (one.heads, -1)).sum(3)


def _attention(one: Attention, model: nn.Module, *spikes: Tensor) -> Tensor:
    steps, x = spikes[0].shape[0], spikes[0]
    q, k, v = (_chunks(_by_head(part, one.heads), one.chunk) for part in spikes)
    inner, end = (one.scale, 1.0) if one.scaled == "operand" else (1.0, one.scale)
    if one.order == "scores":
        mixed = ((q @ k.transpose(-2, -1)) * inner) @ v * end
    else:
        mixed = q @ ((k.transpose(-2, -1) @ v) * inner) * end
    if one.chunk > 1:
        mixed = mixed.unflatten(3, (one.chunk, -1)).permute(0, 3, 1, 2, 4, 5).flatten(0, 1)
    assert len(mixed) == steps
    return _joined(mixed, x)


def _mean(one: Mean, model: nn.Module, x: Tensor) -> Tensor:
    return x.flatten(3).mean(3)[..., None, None]


def _head(one: Head, model: nn.Module, x: Tensor) -> Tensor:
    return model.get_submodule(one.layer)(x.flatten(2).mean(0))


def _by_head(x: Num[Tensor, "T B C h w"], heads: int) -> Num[Tensor, "T B heads N d"]:
    """Return (T, B, heads, N, C/heads) of (T, B, C, h, w)."""
    return x.flatten(3).unflatten(2, (heads, -1)).transpose(-1, -2).contiguous()


def _joined(mixed: Num[Tensor, "T B heads N d"], x: Num[Tensor, "T B C h w"]) -> Num[Tensor, "T B features h w"]:
    """Return (T, B, heads, N, d) as (T, B, heads · d, h, w), of the images of x (T, B, C, h, w)."""
    return mixed.transpose(-1, -2).reshape(*x.shape[:2], -1, *x.shape[3:])


def _chunks(x: Num[Tensor, "T B heads N d"], chunk: int) -> Num[Tensor, "chunks B heads tokens d"]:
    """Return (T/chunk, B, heads, chunk · N, C/heads): the steps of a chunk behind one another."""
    return x if chunk == 1 else x.unflatten(0, (-1, chunk)).permute(0, 2, 3, 1, 4, 5).flatten(3, 4)


_RUN: dict[type, Callable[..., Any]] = {
    LayerOperation: _layer,
    Neuron: _neuron,
    Pad: _pad,
    Pool: _pool,
    MeanPool: _mean_pool,
    KeyFrames: _key_frames,
    Residual: _residual,
    Hold: _hold,
    Rectify: _rectify,
    Quantise: _quantise,
    Flatten: _flatten,
    Add: _add,
    Concat: _concat,
    First: _first,
    Switch: _switch,
    Multiply: _multiply,
    Sum: _sum,
    Attention: _attention,
    Mean: _mean,
    Head: _head,
}
