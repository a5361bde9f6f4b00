"""Which channels can be taken out of a network: those between two layers that nothing else sees.

Found by running the model, not by knowing its architecture. Every neuron's output is replaced by random bits, and every
layer's output by what it was at first, so that a change of some channels goes to what reads them and no further. A
channel of ``layer`` is free where

    a change of the layer's output in some channels reaches one neuron, in these channels, and nothing else, and
    a change of that neuron's output in these channels reaches one layer, in these channels, and nothing else;

and nothing else reaches that neuron or that layer: their input is of one writer each, and zero where that is silent.

Norms and pooling in between work channel by channel; residual sums, attention products and reshaping do not, or reach
other places, and so are found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from snnq.network.layers import quantisable
from snnq.network.tracing import neurons_of, seeing

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# How many of the random bits are 1: few, so that neither a max-pool nor a mean of them is what it is of ones alone.
RATE = 0.1


@dataclass(frozen=True)
class Chain:
    """Channels that only ``reader`` sees: those of ``layer``, by way of ``norm`` (None: there is none), ``neuron``."""

    layer: str
    norm: str | None
    neuron: str
    reader: str


@torch.no_grad()
def chains(model: nn.Module, norms: Mapping[str, str], frames_shape: tuple[int, int, int, int]) -> tuple[Chain, ...]:
    """Return the chains of a model in the order its layers run; its modes and weights are as before afterwards.

    ``norms`` names the batch normalisation behind each layer, ``frames_shape`` is (T, C, H, W).
    """
    layers, neurons = {name: one for name, (one, _) in quantisable(model).items()}, neurons_of(model)
    modes = [(module, module.training) for module in model.modules()]
    frames = torch.randint(0, 4, (1, *frames_shape), generator=torch.Generator().manual_seed(0))
    frames = frames.to(next(model.parameters()))
    found: list[Chain] = []
    try:
        model.eval()

        def ran(change: _Change | None, known: Mapping[str, list[Tensor]]) -> _Run:
            return _run(model, layers, neurons, frames, _Run(known, change))

        base = ran(None, {})
        writers = _writers(base, ran, lambda: _run(model, layers, neurons, frames + 1, _Run(base.outputs)), neurons)
        for name in base.order:
            some = _half(layers[name].weight.shape[0])
            reached = _reached(ran(_Change(name, _channel_axis(layers[name]), some), base.outputs), base, some)
            if reached is None or reached[0] not in neurons or writers[reached[0]] != {name}:
                continue
            change = _Change(*reached, some)
            reader = _reached(ran(change, base.outputs), base, some)
            if reader is None or reader[0] not in layers or writers[reader[0]] != {reached[0]}:
                continue
            silent = ran(change._replace(silent=True), base.outputs)
            zeros = all(_zero(one, some, reader[1]) for at, one in silent.given if at == reader[0])
            if zeros and _takes(layers[reader[0]], reader[1], len(some)):
                found.append(Chain(name, norms.get(name), reached[0], reader[0]))
    finally:
        for module, training in modes:
            module.training = training
        functional.reset_net(model)
    return tuple(found)


class _Change(NamedTuple):
    """Some channels (C,) of a module's output are to be others, or ``silent``: all zero; None: all are to be others.

    ``axis`` of the output, from its end, has the channels.
    """

    name: str
    axis: int = -1
    some: Tensor | None = None
    silent: bool = False

    def of(self, values: Float[Tensor, "*shape"], other: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return ``values`` with ``other`` in these channels."""
        if self.some is None:
            return other
        shape = [1] * values.ndim
        shape[self.axis] = -1
        return torch.where(self.some.view(shape).to(values.device), other, values)


@dataclass
class _Run:
    """One pass: what every call was given and every layer put out; ``known``: the layers' outputs to go on with."""

    known: Mapping[str, list[Tensor]]
    change: _Change | None = None
    given: list[tuple[str, Tensor]] = field(default_factory=list)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def order(self) -> tuple[str, ...]:
        """The layers in the order they ran."""
        return tuple(self.outputs)

    def layer(
        self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """Note a layer's call; return its output as it was at first."""
        self.given.append((name, inputs[0].clone()))
        calls = self.outputs.setdefault(name, [])
        known = self.known[name][len(calls)] if self.known else output.clone()
        calls.append(known)
        return self.change.of(known, known + 1.5) if self.change and name == self.change.name else known

    def neuron(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> object:
        """Note a neuron's call; return random bits, the same in every pass."""
        if not isinstance(output, Tensor):
            return output
        self.given.append((name, inputs[0].clone()))
        draw = torch.Generator().manual_seed(len(self.given))
        bits = (torch.rand(output.shape, generator=draw) < RATE).to(output)
        if self.change is None or name != self.change.name:
            return bits
        return self.change.of(bits, torch.full_like(bits, 0.0 if self.change.silent else 1.0))


def _run(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    neurons: Mapping[str, nn.Module],
    frames: Float[Tensor, "B T C H W"],
    run: _Run,
) -> _Run:
    """Run the model once; what it puts out counts as what a module of no name was given."""
    functional.reset_net(model)
    with seeing(layers, run.layer), seeing(neurons, run.neuron):
        run.given.append(("", model(frames)))
    return run


def _writers(
    base: _Run,
    ran: Callable[[_Change | None, Mapping[str, list[Tensor]]], _Run],
    other_frames: Callable[[], _Run],
    neurons: Iterable[str],
) -> dict[str, set[str]]:
    """Return by module the layers and neurons whose output reaches its input with none between; "" are the frames."""
    runs = {name: ran(_Change(name), base.outputs) for name in (*base.order, *neurons)} | {"": other_frames()}
    found: dict[str, set[str]] = {name: set() for name, _ in base.given}
    for source, run in runs.items():
        for (name, one), (_, due) in zip(run.given, base.given, strict=True):
            if not torch.equal(one, due):
                found[name].add(source)
    return found


def _half(width: int) -> Bool[Tensor, " width"]:
    """Return about half of the channels, neither none nor all where there are two and more, as a mask (width,)."""
    some = torch.rand(width, generator=torch.Generator().manual_seed(width)) < 0.5
    some[: width // 2 + 1] = torch.arange(width // 2 + 1) % 2 == 0
    return some


def _reached(run: _Run, base: _Run, some: Bool[Tensor, " C"]) -> tuple[str, int] | None:
    """Return the one module whose input differs between two passes, and the axis of its channels, from the end.

    None unless it is one, and what differs is exactly the channels ``some`` of an axis.
    """
    if [(name, one.shape) for name, one in run.given] != [(name, one.shape) for name, one in base.given]:
        return None
    pairs = zip(run.given, base.given, strict=True)
    differing = [(name, one != other) for (name, one), (_, other) in pairs if not torch.equal(one, other)]
    if len({name for name, _ in differing}) != 1:
        return None
    masks = [mask for _, mask in differing]
    for axis in range(-1, -masks[0].ndim - 1, -1):
        if masks[0].shape[axis] == len(some):
            lines = [mask.movedim(axis, 0).flatten(1).any(1).cpu() for mask in masks]
            if torch.equal(torch.stack(lines).any(0), some):
                return differing[0][0], axis
    return None


def _zero(values: Float[Tensor, "*shape"], some: Bool[Tensor, " C"], axis: int) -> bool:
    """Return whether values are zero in the channels ``some`` of an axis."""
    return not bool(values.movedim(axis, 0)[some.to(values.device)].any())


def _channel_axis(layer: nn.Module) -> int:
    """Return which axis of a layer's input and output has the channels, from the end."""
    return -max(1, layer.get_parameter("weight").ndim - 1)


def _takes(layer: nn.Module, axis: int, width: int) -> bool:
    """Return whether a layer has a column of its own for each of so many channels of that axis of its input."""
    fits = axis == _channel_axis(layer) and layer.get_parameter("weight").shape[1] == width
    return fits and getattr(layer, "groups", 1) == 1
