"""A user's own model as its graph says: its layers and norms by path, run operation by operation, and the proof of it.

Nothing but weights and norms' numbers is the model's: kernels, strides and neurons are what the graph says. So the
proof covers all of it, and a class of the user's own that computes something else than its base is found out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError, VerificationError
from snnq.network.folding import ChannelAffine
from snnq.network.graph import Graph, Operation
from snnq.network.graph_check import agreeing_streams, run_graph
from snnq.network.graph_file import misfit
from snnq.network.leaks import leak
from snnq.network.operations import Head, LayerOperation, Neuron
from snnq.network.streams import LOGITS

if TYPE_CHECKING:
    from jaxtyping import Float, Num

# Means of random event counts, one a step: what a class of the user's own does to large ones alone, shows, too.
RATES = (0.5, 8.0, 0.05, 60.0, 1000.0)
# Of their own, those of all neurons, as long as some of them have always put out the same.
THRESHOLDS = (1.0, 2.0**-4, 2.0**4, 2.0**-12)


class Said(nn.Module):
    """Neurons as an operation says, of currents (T, …); ``w`` is their leak where it was learned."""

    w: Tensor | None

    def __init__(self, one: Neuron, w: Float[Tensor, ""] | None = None) -> None:
        super().__init__()
        self.one = one
        self.register_parameter("w", None if w is None else nn.Parameter(w.detach().clone()))

    def forward(self, x: Float[Tensor, " T *rest"]) -> Float[Tensor, " T *rest"]:
        """Return the spikes; every call starts from neurons at rest."""
        one = self.one
        if one.rounds is not None:
            found = (x * one.rounds.gain).clamp(0, one.rounds.most)
            return torch.floor(found + 0.5) if one.rounds.half_up else found.round()
        spikes, v = [], torch.zeros_like(x[0])
        for current in x:
            h = self._charged(v, current)
            spikes.append((h >= one.threshold).to(x))
            v = h * (1 - spikes[-1])
        return torch.stack(spikes)

    def _charged(self, v: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        one = self.one
        if one.integrates:
            return v + x
        if self.w is None:
            return v + (x - v) / (one.tau or 2.0)
        rate = torch.sigmoid(self.w)
        return v + (x - v) * rate if one.decays_input else v * (1 - rate) + x


class Drawn(nn.Module):
    """A graph's layers, norms and neurons, under their paths: frames (B, T, C, H, W) → logits (B, classes).

    ``worth`` is as of ``run_graph``.
    """

    def __init__(self, graph: Graph, model: nn.Module) -> None:
        super().__init__()
        self.graph, self.worth = graph, dict[str, tuple[int, ...]]()
        for one in graph.operations:
            if isinstance(one, Neuron):
                place(self, one.neuron, Said(one, _learned(one, model)))
            elif isinstance(one, LayerOperation | Head):
                place(self, one.layer, _layer(one, model.get_submodule(one.layer)))
                for path in one.norms if isinstance(one, LayerOperation) else ():
                    place(self, path, _norm(model.get_submodule(path)))

    def forward(self, frames: Num[Tensor, "B T C H W"]) -> Float[Tensor, "B classes"]:
        """Return the logits."""
        return run_graph(self.graph, self, frames, self.worth)[LOGITS]


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module at a path; what is above it is made. Raises ``UsageError`` for a name that something else has."""
    *above, name = parts = path.split(".")
    for number, part in enumerate(parts):
        if part in ("", "arithmetic") or (part not in root._modules and hasattr(root, part)):
            raise UsageError(f"graph: module '{path}' cannot be called that")
        if number < len(above):
            root = root._modules.setdefault(part, nn.Module()) or root
    root._modules[name] = module


def without_code(graph: Graph, shapes: Mapping[str, tuple[int, ...]], biased: Collection[str]) -> nn.Module:
    """Return the layers and folded norms that a graph needs, by path, of weights of these shapes, without values.

    ``biased`` are the layers with a bias. Raises ``UsageError`` for a shape that is no layer's.
    """
    root = nn.Module()
    if wrong := misfit(graph, shapes):
        raise UsageError(f"graph: {wrong}")
    for one in graph.operations:
        if isinstance(one, Neuron) and leak(one) is None:
            place(root, one.neuron, Said(one, torch.zeros(())))
        if not isinstance(one, LayerOperation | Head):
            continue
        outputs, inputs, *sides = shapes[one.layer]
        kind: Any = (nn.Linear, nn.Conv1d, nn.Conv2d)[len(sides)]
        kernel = {"kernel_size": tuple(sides)} if sides else {}
        # Of groups, that a weight has this shape is all that counts.
        place(root, one.layer, kind(inputs, outputs, bias=one.layer in biased, **kernel))
        for path in one.norms if isinstance(one, LayerOperation) else ():
            place(root, path, ChannelAffine(torch.ones(outputs), torch.zeros(outputs)))
    return root


def _learned(one: Neuron, model: nn.Module) -> Float[Tensor, ""] | None:
    """Return w of neurons that have learned their leak."""
    return model.get_submodule(one.neuron).get_parameter("w") if leak(one) is None else None


def _layer(one: LayerOperation | Head, layer: nn.Module) -> nn.Module:
    """Return a plain layer of the operation's kernel, stride and groups, with a copy of another's weights."""
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    with torch.device("meta"):
        if isinstance(layer, nn.Linear) or isinstance(one, Head):
            made: nn.Module = nn.Linear(weight.shape[1], weight.shape[0])
        elif isinstance(layer, nn.Conv1d):
            made = nn.Conv1d(weight.shape[1] * one.groups, weight.shape[0], 1, groups=one.groups)
        else:
            groups = len(weight) if one.depthwise else one.groups
            padding = tuple(side // 2 if one.padded else 0 for side in one.sides)
            channels = weight.shape[1] * groups, weight.shape[0]
            made = nn.Conv2d(*channels, one.sides, one.strides, padding, groups=groups)  # pyright: ignore
    made.register_parameter("weight", nn.Parameter(weight.detach().clone()))
    made.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().clone()))
    return made


def _norm(norm: nn.Module) -> nn.Module:
    """Return a copy of a norm that takes one time step, or many as more samples: (n, C, …)."""
    if isinstance(norm, nn.modules.batchnorm._BatchNorm):
        plain = nn.BatchNorm1d if isinstance(norm, nn.BatchNorm1d) else nn.BatchNorm2d
        made = plain(norm.num_features, norm.eps, affine=norm.affine)
        made.load_state_dict(norm.state_dict())
        return made
    made = deepcopy(norm)
    made.leading = 1  # pyright: ignore  # a folded one
    return made


@torch.no_grad()
def prove(graph: Graph, model: nn.Module, *, lively: bool = True) -> None:
    """Raise VerificationError unless a graph gives the logits of a user's own model on random event counts.

    Both are run in float64, with the model's own weights. Where neurons are silent on all counts, or never, which hides
    what is before and behind them, the thresholds of both are moved alike, and both are run again. Where the logits
    never depend on the counts nothing is proven: that is an error where they must be ``lively``.
    """
    samples = 3 if graph.steps == 2 else 2  # so that samples and steps cannot be mixed up
    turns = torch.arange(graph.steps) - torch.arange(samples)[:, None]  # each sample begins with another rate
    rates = torch.tensor(RATES)[turns % len(RATES)][..., None, None, None]
    draw = torch.Generator().manual_seed(0)
    frames = torch.poisson(rates.expand(-1, -1, graph.frames.channels, *graph.frames.size), generator=draw)
    hiding, proven = {one.gives for one in graph.operations if isinstance(one, Neuron)}, False
    for scale in THRESHOLDS:
        eased, other = (graph, model) if scale == 1 else _eased(graph, model, scale)
        streams = agreeing_streams(eased, other, frames, Drawn(eased, other))
        hiding = {name for name in hiding if bool((found := streams[name]).min() == found.max())}
        proven |= bool((streams[LOGITS] != streams[LOGITS][:1]).any())
        if proven and not hiding:
            return
    if lively and not proven:
        raise VerificationError("its logits do not depend on random frames, so that nothing can be proven of it")


def _eased(graph: Graph, model: nn.Module, scale: float) -> tuple[Graph, nn.Module]:
    """Return a graph and a copy of its model whose neurons all fire at ``scale`` of what they did."""
    model, operations = deepcopy(model), list[Operation]()
    for one in graph.operations:
        if isinstance(one, Neuron) and one.rounds is not None:
            node = cast(Any, model.get_submodule(one.neuron))
            node.gain /= scale
            one = replace(one, rounds=replace(one.rounds, gain=one.rounds.gain / scale))
        elif isinstance(one, Neuron):
            node = cast(Any, model.get_submodule(one.neuron))
            node.v_threshold *= scale
            one = replace(one, threshold=one.threshold * scale)
        operations.append(one)
    return replace(graph, operations=tuple(operations)), model
