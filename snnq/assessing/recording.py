"""Recording what layers multiply and neurons put out, one sample at a time, by forward hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from snnq.arithmetic.whole_modules import WHOLE_NEURONS, IntegerHead
from snnq.assessing import counting
from snnq.assessing.watching import core
from snnq.hardware.operands import ConvolutionWindow, Operands, bit_planes
from snnq.network.layers import Layer
from snnq.network.neurons import is_neuron
from snnq.network.tracing import seeing
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme

FLOAT_BITS = 32
# Why a layer is not spikes times weights.
REALS = "real numbers times weights"
PADDED = "a convolution that pads with other than zeros"


@dataclass
class SampleRecording:
    """What one sample made a model do, in the order of its run.

    ``operands`` of the layers that multiply bits, one a call, image or segment; ``outputs``, the spikes (T, neurons)
    that neurons put out after each layer, and before any other; ``outside``, the other layers and why. ``runs``: the
    segments of a clip, 1 elsewhere, and in how many steps of them all a part of the model runs (``Watch``).
    """

    steps: int
    layers: Mapping[str, Layer]
    widths: Mapping[str, int]
    runs: tuple[int, ...] = ()
    operands: dict[str, list[Operands]] = field(default_factory=dict)
    outputs: dict[str, list[np.ndarray]] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    _calls: dict[str, list[Tensor]] = field(default_factory=dict)
    _modules: dict[str, nn.Module] = field(default_factory=dict)
    _last: str | None = None
    _spikes: dict[str, tuple[str | None, list[Tensor]]] = field(default_factory=dict)

    def saw_layer(self, name: str, layer: nn.Module, given: Tensor) -> None:
        """Note a call of a layer."""
        self._calls.setdefault(name, []).append(given.detach().cpu())
        self._modules[name], self._last = layer, name

    def saw_neurons(self, name: str, output: Tensor, all_steps: bool) -> None:
        """Note what neurons put out: (T, …), or one step of it."""
        steps = output.detach().cpu() if all_steps else output.detach().cpu().unsqueeze(0)
        self._spikes.setdefault(name, (self._last, []))[1].append(steps)

    def close(self) -> None:
        """Turn the calls of the sample into operands and outputs."""
        for name, calls in self._calls.items():
            self._close_layer(name, self._modules[name], calls)
        for after, parts in self._spikes.values():
            steps = torch.cat(parts)
            if after is not None:
                self.outputs.setdefault(after, []).append((steps != 0).flatten(1).numpy())

    def _close_layer(self, name: str, layer: nn.Module, calls: list[Tensor]) -> None:
        if len(calls) == self.steps and {len(one) for one in calls} == {1}:  # step by step
            parts = [torch.stack(calls)]
        else:
            parts = [self._by_step(one, counting.leading_axes(layer, one, self.steps)) for one in calls]
        parts = [single for one in parts for single in _singles(layer, one)]
        values = [one.double().numpy() for one in parts]
        # What is real by its kind can be whole by chance, where nothing fires.
        whole = self.layers[name].input not in ("reals", "activations") and all(
            np.array_equal(one, np.round(one)) for one in values
        )
        if not whole:
            self.outside[name] = REALS
        elif getattr(layer, "padding_mode", "zeros") != "zeros":
            self.outside[name] = PADDED
        else:
            self.operands[name] = [_operands(name, layer, one, self.widths[name]) for one in values]

    def _by_step(self, given: Tensor, leading: int) -> Tensor:
        """Return inputs as ``counting.by_step`` does; of what runs segment by segment (S − 1, segments, …)."""
        found = counting.by_step(given, self.steps, leading, self.runs)
        return found.unflatten(0, (-1, self.runs[0])) if len(found) in self.runs else found


def _singles(layer: nn.Module, given: Tensor) -> list[Tensor]:
    """Return inputs (T, …); of a convolution with images on an axis more, (T, n, …), those of each image."""
    several = isinstance(layer, nn.Conv1d | nn.Conv2d) and given.ndim == layer.weight.ndim + 1
    return list(given.unbind(1)) if several else [given]


def value_bits(scheme_name: str) -> int:
    """Return the bits of a weight that is stored where it is not zero: those of the largest code."""
    return FLOAT_BITS if scheme_name == FLOAT32 else scheme(scheme_name).code_bits


def _operands(name: str, layer: nn.Module, values: np.ndarray, width: int) -> Operands:
    """Return what a layer multiplies, of values (T, …)."""
    weight = layer.get_parameter("weight") if not isinstance(layer, IntegerHead) else layer.weight
    matrix = weight.detach().cpu().double().numpy()
    groups, window = int(getattr(layer, "groups", 1)), None
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        values = values if isinstance(layer, nn.Conv2d) else values[:, :, None]
        window = _window(layer)
        if window.is_point and groups == 1:
            values, window = np.moveaxis(values.reshape(*values.shape[:2], -1), 1, 2), None
    else:
        values = values.reshape(len(values), -1, values.shape[-1])
    flat = matrix.reshape(groups, len(matrix) // groups, -1).swapaxes(1, 2)
    return Operands(
        name=name,
        planes=bit_planes(values),
        weights=flat,
        value_bits=width,
        window=window,
        exact=bool(np.array_equal(flat, np.round(flat))),
    )


def _window(layer: nn.Conv1d | nn.Conv2d) -> ConvolutionWindow:
    """Return how a convolution moves; one over a line is one over an image of one row."""
    kernel, stride, dilation = (tuple(one) for one in (layer.kernel_size, layer.stride, layer.dilation))
    if layer.padding == "same":
        needed = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        padding = tuple((one // 2, one - one // 2) for one in needed)
    else:
        padding = tuple((one, one) for one in ((0,) * len(kernel) if layer.padding == "valid" else layer.padding))
    if len(kernel) == 1:
        kernel, stride, dilation = ((1, *one) for one in (kernel, stride, dilation))
        padding = ((0, 0), *padding)
    return ConvolutionWindow(kernel, stride, dilation, padding)  # pyright: ignore[reportArgumentType]


@contextmanager
def recording(
    model: nn.Module, layers: Sequence[Layer], schemes: Mapping[str, str], steps: int
) -> Iterator[SampleRecording]:
    """Give a ``SampleRecording`` of a model that runs one sample; it is closed behind it."""
    table = {layer.name: layer for layer in layers}
    widths = {name: value_bits(one) for name, one in schemes.items()}
    record = SampleRecording(steps, table, widths, getattr(model, "runs", ()))

    def see_layer(name: str, layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        record.saw_layer(name, layer, given[0])

    def see_neuron(name: str, node: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor):
            record.saw_neurons(name, output, getattr(node, "step_mode", "m") == "m")

    cores = {layer.name: core(model.get_submodule(layer.name)) for layer in layers}
    nodes = {name: one for name, one in model.named_modules() if is_neuron(one) or isinstance(one, WHOLE_NEURONS)}
    with seeing(cores, see_layer), seeing(nodes, see_neuron):
        yield record
    record.close()
