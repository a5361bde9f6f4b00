"""Looking at modules while a model runs, and the stages of a packed model that are found so.

A stage is layer → folded norm → neuron; which feeds which is found, too.

What lies between stages (pooling, residual sums, the attention product, means) is not looked into: a stage has a source
only where its input is the very tensor that an earlier stage put out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from snnq.network.folding import ChannelAffine
from snnq.network.layers import quantisable
from snnq.network.neurons import is_neuron

# A module's path, itself, what it was given and what it put out; what is returned, unless None, takes that place.
See = Callable[[str, nn.Module, tuple[Tensor, ...], Tensor], object]


@contextmanager
def seeing(modules: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """Call ``see(path, module, inputs, output)`` behind every call of ``modules``, which are given by path.

    What it returns, unless None, is the module's output instead.
    """
    hooks = [module.register_forward_hook(partial(see, path)) for path, module in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def neurons_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return a model's spiking neurons by path."""
    return {path: module for path, module in model.named_modules() if is_neuron(module)}


def affines_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return a model's folded norms by path."""
    return {path: module for path, module in model.named_modules() if isinstance(module, ChannelAffine)}


@dataclass(frozen=True)
class Traced:
    """One layer with the norms and the neuron behind it, by module path; a neuron may stand alone, as may a layer.

    ``outer``: folded norms behind that, each of which was given the very tensor that the one before, or the layer, put
    out, and has the layer's channels for its own.
    Shapes are those of one time step of one sample, as torch has them: (C, H, W), (C, N), or for linear layers (N, C)
    or (C,). ``source`` is the name of the stage whose output is this one's input.
    """

    layer: str | None
    norm: str | None
    neuron: str | None
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    source: str | None
    outer: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The layer's path, or that of a neuron that stands alone."""
        return self.layer or self.neuron or ""


@dataclass(frozen=True)
class _Call:
    """One call of a watched module; the tensors are kept, so that no two of them share an address.

    ``given`` and ``made``: the input and the output as they stood, for what may follow one another.
    """

    name: str
    kind: Literal["layer", "norm", "neuron"]
    input: Tensor
    output: Tensor
    given: _Content | None
    made: _Content | None


@dataclass(frozen=True)
class _Content:
    """Where a tensor begins, how often it was written into, and how many channels it has, so far apart."""

    begin: int
    version: int
    channels: int
    apart: int


def _content(tensor: Tensor, axis: int | None) -> _Content | None:
    """Return what tells whether a norm's channels are those of a layer; ``axis`` None: it has none."""
    if axis is None:
        return None
    return _Content(tensor.data_ptr(), tensor._version, tensor.shape[axis], tensor.stride(axis))


def _axes(module: nn.Module) -> tuple[int | None, int | None]:
    """Return the axes of channels that a norm is given, and that a layer or norm puts out."""
    if is_neuron(module):
        return None, None
    if isinstance(module, ChannelAffine):
        return module.leading, module.leading
    return None, -max(1, module.get_parameter("weight").ndim - 1)


@torch.no_grad()
def trace(model: nn.Module, norms: Mapping[str, str], frames_shape: tuple[int, int, int, int]) -> tuple[Traced, ...]:
    """Return the stages of a model in the order they run, from one time step of one empty sample.

    ``norms`` names the folded norm behind each layer, ``frames_shape`` is (T, C, H, W).
    """
    calls: list[_Call] = []

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kind = "neuron" if is_neuron(module) else "norm" if isinstance(module, ChannelAffine) else "layer"
        axes = _axes(module)
        contents = _content(inputs[0], axes[0]), _content(output, axes[1])
        calls.append(_Call(name, kind, inputs[0], output, *contents))

    watched = {name: module for name, (module, _) in quantisable(model).items()} | affines_of(model)
    try:
        with seeing(watched | neurons_of(model), note):
            model(torch.zeros(1, 1, *frames_shape[1:]))
    finally:
        functional.reset_net(model)
    return _stages(calls, norms)


def _stages(calls: list[_Call], norms: Mapping[str, str]) -> tuple[Traced, ...]:
    stages: list[Traced] = []
    putting: dict[int, str] = {}  # where a tensor that a stage put out begins → the stage
    behind: dict[_Content | None, int] = {}  # what a layer and its norms put out → the stage's number
    for call in calls:
        if call.kind == "norm":
            _add_norm(stages, call, behind)
            continue
        # Neurons see (T, B, …), layers (T·B, …); the head (B, C).
        fires = call.kind == "neuron"
        shapes = [tuple(one.shape[2 if fires else 1 :]) for one in (call.input, call.output)]
        if fires and stages and stages[-1].layer and not stages[-1].neuron:
            stages[-1] = replace(stages[-1], neuron=call.name)
        else:
            names = (None, None, call.name) if fires else (call.name, norms.get(call.name), None)
            stages.append(Traced(*names, shapes[0], shapes[1], putting.get(call.input.data_ptr())))
            behind[call.made] = len(stages) - 1
        putting[call.output.data_ptr()] = stages[-1].name
    return tuple(stages)


def _add_norm(stages: list[Traced], call: _Call, behind: dict[_Content | None, int]) -> None:
    own = next((number for number, stage in enumerate(stages) if stage.norm == call.name), None)
    number = behind.get(call.given) if own is None else own
    if number is None or not stages[number].layer:
        return
    if own is None:
        stages[number] = replace(stages[number], outer=(*stages[number].outer, call.name))
    behind[call.made] = number
