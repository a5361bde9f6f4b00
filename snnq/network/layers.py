"""The layer table of a model: what can be quantised, how large it is, how often it is used and what it sees.

A layer is one ``Linear``, ``Conv1d`` or ``Conv2d`` weight. The table is found by running the model once and watching
its layers, so that it needs no knowledge of the architecture beyond the path patterns that name the groups.
Source: docs/method.md §1 (groups, input kinds) and §3 (number of multiplications).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from snnq.base.errors import PlanError, UsageError
from snnq.base.strict_json import Config
from snnq.network.neurons import drawn, stream, stream_of, substeps

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    Weighted = nn.Linear | nn.Conv1d | nn.Conv2d

# The branches of a hybrid network, one that spikes and one that does not, and what joins them, are groups, too.
BRANCHES = ("ann", "snn", "fusion")
GROUPS = ("tokenizer", "attention", "mlp", *BRANCHES, "head")
KINDS = {"linear": 2, "conv1d": 3, "conv2d": 4}  # kind → dimensions of its weight
# What a layer is given, the more general later: spikes 0 and 1; of −1, 0 and 1; several a step (0 … D); sums of those;
# event counts; anything else; what a part of the network that does not spike puts out, which is multiplied densely.
INPUTS = ("spikes", "ternary", "multispikes", "integers", "counts", "reals", "activations")
# A model may bring its own patterns in an attribute ``groups``; the first that is found in a path decides. A user's own
# model has a table instead, in an attribute ``layer_groups`` (layer → group). Layers whose path has one of the patterns
# in an attribute ``dense`` are given activations.
GROUP_PATTERNS = (
    (r"(^|\.)patch_embed\d*\.", "tokenizer"),
    (r"(^|\.)attn\.", "attention"),
    (r"(^|\.)mlp\.", "mlp"),
    (r"(^|\.)head$", "head"),
)


@dataclass(frozen=True)
class Layer:
    """One quantisable weight.

    ``shape`` is that of the weight: (out, in/groups, k, k) for a convolution in groups, (out, 1, k, k) for a depth-wise
    one. ``macs`` are multiply-accumulates per time step and sample (of a head that sees the mean over time: per sample)
    and count output positions; ``multiplications`` is N_mul of the paper's energy model, which counts input positions:
    tokens · in · out for linear layers, k² · c_in · c_out · H · W of the input image for convolutions, divided by the
    groups (docs/method.md §3). A layer of integer spikes 0 … D is run in D binary sub-steps: its multiplications are D
    times as many. ``input_bits``: of activations that are quantised (``structure.activations``): its products are of
    whole numbers then; None where they are not.
    """

    name: str
    group: str
    kind: str
    shape: tuple[int, ...]
    macs: int
    multiplications: int
    input: str
    input_bits: int | None = None

    @property
    def weights(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def rows(self) -> int:
        """Number of output channels."""
        return self.shape[0]


class _Counted(Protocol):
    @property
    def macs(self) -> int: ...


@dataclass
class _Seen:
    """What a layer was given while tracing, summed over its calls."""

    inputs: int = 0
    outputs: int = 0
    calls: int = 0
    axes: set[int] = field(default_factory=set)  # how long those beside the channels were
    kind: str = "spikes"

    def every_step(self, steps: int) -> bool:
        """Return whether it was given every step, one by one or as an axis, rather than the mean over them."""
        return steps in self.axes or self.calls >= steps


def forward_macs(layers: Iterable[_Counted], steps: int, samples: int) -> int:
    """Return the multiply-accumulates of a pass of ``samples`` samples of ``steps`` time steps through the layers."""
    return sum(layer.macs for layer in layers) * steps * samples


def frames_shape(config: Config) -> tuple[int, int, int, int]:
    """Return (T, C, H, W), the shape of one sample, from an architecture's configuration."""
    height, width = config["image_size"]
    return (config["steps"], config["in_channels"], height, width)


# The attribute of a layer whose activations are quantised (``structure.activations``).
INPUT_BITS = "input_bits"
NO_COUNTS = "frames must be event counts: whole numbers of at least 0"


def check_frames_shape(found: tuple[int, ...], due: tuple[int, ...]) -> None:
    """Raise UsageError unless ``found`` is (B, *due), where ``due`` is the (T, C, H, W) of one sample."""
    if len(found) == 5 and found[1:] == tuple(due):
        return
    turned = len(found) == 5 and (found[0], *found[2:]) == tuple(due)
    hint = "they are (T, B, C, H, W): give frames.transpose(0, 1) or, of numpy, frames.swapaxes(0, 1)" if turned else ""
    raise UsageError(f"frames of shape {tuple(found)}: the model takes (B, {', '.join(map(str, due))})", hint)


def group_of(name: str, patterns: Iterable[tuple[str, str]] = GROUP_PATTERNS) -> str:
    """Return the group of the layer at a module path; raises PlanError if no pattern is found in it."""
    if group := group_in(name, patterns):
        return group
    raise PlanError(
        f"layer '{name}' belongs to none of the groups {', '.join(GROUPS)}",
        "give the model an attribute 'groups': a tuple of (regular expression, group)",
    )


def group_in(name: str, patterns: Iterable[tuple[str, str]]) -> str | None:
    """Return the group of the first pattern that is found in a module path, None if none is."""
    return next((group for pattern, group in patterns if re.search(pattern, name)), None)


def quantisable(model: nn.Module) -> dict[str, tuple[Weighted, str]]:
    """Return the modules whose weight can be quantised, by path, with their kind: linear, conv1d or conv2d."""
    from torch import nn

    kinds: dict[type[Weighted], str] = {nn.Linear: "linear", nn.Conv1d: "conv1d", nn.Conv2d: "conv2d"}
    return {
        name: (module, kind)
        for name, module in model.named_modules()
        for cls, kind in kinds.items()
        if isinstance(module, cls)
    }


def layer_table(model: nn.Module, frames_shape: tuple[int, int, int, int], *, reals: bool = False) -> tuple[Layer, ...]:
    """Return the layers of a model in the order of its modules, from one forward pass of a batch of 1.

    ``frames_shape`` is (T, C, H, W); the model takes frames (1, T, C, H, W) of event counts, or ``reals``: images.
    Layers the forward pass never reaches are left out. The model's weights, modes and the global random state are as
    before afterwards.

    The kind of input is found independently of the weights: while tracing, every neuron's output is replaced by
    random bits, so that {0, 1} means spikes, other whole numbers mean sums of spikes, and the rest are reals. Whole
    numbers that reach a layer before any neuron are event counts. Where a neuron puts out other numbers than 0 and 1
    (``snnq.network.neurons``), a second pass with such numbers says which of them the layers are given as they are.

    Raises PlanError for a layer that no group pattern matches, UsageError for neurons whose output is not known.
    """
    watched = quantisable(model)
    modules = {name: module for name, (module, _) in watched.items()}
    seen, streams = _trace(model, modules, frames_shape, {}, reals)
    for one in seen.values():
        one.kind = "integers" if one.kind == "ternary" else one.kind  # a difference of spikes
    if set(streams.values()) - {"spikes"}:
        for name, again in _trace(model, modules, frames_shape, streams, reals)[0].items():
            if seen[name].kind == "spikes":
                seen[name].kind = again.kind if again.kind != "integers" else "multispikes"
    most = substeps(model)
    table, patterns = getattr(model, "layer_groups", {}), getattr(model, "groups", GROUP_PATTERNS)
    for name, one in seen.items():
        if any(re.search(pattern, name) for pattern in getattr(model, "dense", ())):
            one.kind = "activations"
    layers = []
    for name, (module, kind) in watched.items():
        if name not in seen:
            continue
        shape, group = tuple(module.weight.shape), table.get(name) or group_of(name, patterns)
        # Most heads see the mean over time and run once a sample; everything else runs once a time step.
        steps = 1 if group == "head" and not seen[name].every_step(frames_shape[0]) else frames_shape[0]
        macs, products = (-(-math.prod(shape) * count // steps) for count in (seen[name].outputs, seen[name].inputs))
        products *= most if seen[name].kind == "multispikes" else 1
        bits = getattr(module, INPUT_BITS, None)
        layers.append(Layer(name, group, kind, shape, macs, products, seen[name].kind, bits))
    return tuple(layers)


@dataclass
class _Pass:
    """A run of a model on random counts: what its layers ``saw``, and the ``streams`` of all its neurons, by path.

    Neurons put out random bits, or the streams of ``drawn_as``; those of reals always put out reals.
    """

    layers: Mapping[str, Weighted]
    drawn_as: Mapping[str, str]
    streams: dict[str, str]
    generator: Generator
    saw: dict[str, _Seen] = field(default_factory=dict)
    fired: bool = False

    def fire(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> object:
        """Return what neurons put out instead of their output."""
        import torch

        if not isinstance(output, torch.Tensor):  # a non-spiking neuron's voltages
            return output
        self.fired = True
        if name not in self.streams:
            self.streams[name] = stream(name, module, inputs[0], output)
        kind = "reals" if self.streams[name] == "reals" else self.drawn_as.get(name, "spikes")
        return drawn(kind, tuple(output.shape), self.generator).to(output)

    def watch(self, name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Note a call of a layer."""
        record, (input, *_) = self.saw.setdefault(name, _Seen()), inputs
        axis = -max(1, self.layers[name].weight.ndim - 1)  # where a linear layer, and a convolution, has its channels
        record.calls += 1
        record.axes |= {*input.shape[:axis], *input.shape[axis:][1:]}
        record.inputs += input.numel() // input.shape[axis]
        record.outputs += output.numel() // output.shape[axis]
        record.kind = max(record.kind, _input_kind(input, self.fired), key=INPUTS.index)


def _trace(
    model: nn.Module, watched: Mapping[str, Weighted], shape: tuple[int, ...], drawn_as: Mapping[str, str], reals: bool
) -> tuple[dict[str, _Seen], dict[str, str]]:
    """Run the model once on random counts or reals; return what layers saw, and the stream of all neurons."""
    import torch
    from spikingjelly.activation_based import functional

    from snnq.network.tracing import neurons_of, seeing

    run = _Pass(watched, drawn_as, dict(drawn_as), torch.Generator().manual_seed(0))
    modes = [(module, module.training) for module in model.modules()]
    frames = torch.randint(0, 4, (1, *shape), generator=run.generator).to(next(model.parameters()))
    frames = frames - 0.25 if reals else frames
    try:
        model.eval()
        with torch.no_grad(), seeing(neurons_of(model), run.fire), seeing(watched, run.watch):
            model(frames)
    finally:
        for module, training in modes:
            module.training = training
        functional.reset_net(model)
    return run.saw, run.streams


def _input_kind(values: Tensor, fired: bool) -> str:
    """Return which of ``INPUTS`` these values are, but for multispikes, which look like sums."""
    if not bool((values == values.round()).all()):
        return "reals"
    if not fired:
        return "counts"
    kind = stream_of(values)
    return "integers" if kind == "multispikes" else kind
