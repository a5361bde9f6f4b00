"""``--to nir``: the layers and neurons as a NIR graph (HDF5), and a list of what NIR cannot say.

Every stage becomes ``Conv2d``, ``Conv1d`` or ``Affine`` → ``LIF``. Stages whose spikes go straight on into the next are
joined; where NIR has no word for what lies between (max-pools, residual sums, the attention product, the mean), one
piece ends in an ``Output`` and the next begins with an ``Input``. Channels come first: linear layers over N tokens are
``Conv1d`` of kernel 1 on (C, N).

The folded norm is multiplied into weight and bias (in float64, rounded once to float32), so weights are no longer codes
times a scale; each node's metadata holds the scheme, the bits and the multiplier to divide by.

NIR's LIF is τ·dv/dt = (v_leak − v) + R·I, z = [v > v_threshold], v = v_reset where z. Ours is h = v + (x − v)/2,
s = [h ≥ θ], v = h·(1 − s): the same by forward Euler steps of dt = 1 for τ = 2 (in ms, NIR's unit; a time step is
1 ms), R = 1, v_leak = v_reset = 0, and for v_threshold the float32 number just below θ, as [h > it] is [h ≥ θ] for a
float32 h.

Source: nir 1.0.8, ``ir/neuron.py`` and ``ir/conv.py``; its units from NIR's page on primitives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError, VerificationError
from snnq.base.version import __version__
from snnq.exporting.source import Source, SourceLayer, read_source, require
from snnq.exporting.targets import ExportedLayer, Facts
from snnq.network.leaks import leak
from snnq.network.operations import Neuron
from snnq.network.streams import COUNT_LIMIT
from snnq.network.tracing import Traced, trace
from snnq.network.wiring import FloatWiring, Wiring
from snnq.packed.wired import wiring_of

UNITS = (
    "A time step is 1 ms: tau = 2 ms, dt = 1 ms, forward Euler, v + dt/tau (r I - v), v = 0 at first. An exponential "
    "integrator decays by exp(-1/2) a step, snnq by 1/2."
)
THRESHOLD = (
    "NIR spikes where v > v_threshold, snnq where v >= theta: v_threshold is the float32 number just below theta, and "
    "theta is in the node's metadata."
)

ROUNDING = (
    "Folding the norm rounds each weight once, and currents are float32: where one meets a threshold to its last "
    "digits, a spike may differ from snnq's engines, which count in whole numbers (and event counts up to "
    f"{COUNT_LIMIT})."
)


@dataclass(frozen=True)
class Folded:
    """One stage's numbers: weight and bias with the norm in them, and the multiplier that was put in (or None)."""

    weight: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray | None


def export(folder: Path, out: Path) -> Facts:
    """Write the file ``out``, read it back, and return what was written and what NIR could not say.

    Raises MissingLibraryError, and VerificationError where nir reads other weights than were written.
    """
    source = read_source(folder)
    wiring = wiring_of(source.config)
    if reason := _unsaid(wiring):
        raise UsageError(f"{folder}: {source.config.architecture} is not exported to NIR, because {reason}")
    require("nir", "nir")
    import nir  # pyright: ignore[reportMissingImports]

    stages = trace(source.model, source.norms, source.frames_shape)
    layers = {layer.name: layer for layer in source.layers}
    folded = {stage.layer: fold(source.model, stage) for stage in stages if stage.layer}
    unsaid = missing()
    nodes, edges = _graph(source.model, stages, layers, folded)
    facts = {"tool": f"snnq {__version__}", "architecture": source.config.architecture, "dt_ms": 1.0, "units": UNITS}
    facts |= {"threshold": THRESHOLD, "not_in_it": "\n".join(unsaid)}
    nir.write(out, nir.NIRGraph(nodes, edges, metadata=facts))
    found = nir.read(out)
    for name, numbers in folded.items():
        if found.nodes[name].weight.reshape(-1).tobytes() != numbers.weight.tobytes():
            raise VerificationError(f"layer {name}: nir reads another weight than was written", "please report this")
    return Facts(_layers(source, found.nodes), _notes(stages), unsaid)


def _unsaid(wiring: Wiring | FloatWiring) -> str | None:
    """Return half a sentence, after "because": what stands between a layer and its neuron that NIR has no word for."""
    if isinstance(wiring, FloatWiring):
        return wiring.reason
    if wiring.graph.traced:
        return "it is a model of your own, whose neurons and sums NIR is not told of here"
    if wiring.beyond:
        return wiring.beyond
    if any(isinstance(one, Neuron) and leak(one) not in (2, 3) for one in wiring.graph.operations):
        return "its neurons leak in another way than NIR is told of here"
    if wiring.potentials:
        return "its residuals are membrane potentials, which are added between a layer and its neuron"
    if any(stage.pooled for stage in wiring.stages):
        return "it max-pools what its norms put out, before a neuron makes spikes of it"
    if any(mixing.mixes.chunk > 1 for mixing in wiring.mixings):
        return "its attention mixes several time steps at once"
    return None


def fold(model: nn.Module, stage: Traced) -> Folded:
    """Return a layer's weight, multiplied by its norm's multiplier, and its bias, the norm's offset; float32."""
    layer = model.get_submodule(stage.layer or "")
    weight = layer.get_parameter("weight").detach()
    if stage.norm is None:
        bias = layer.bias if isinstance(layer.bias, Tensor) else torch.zeros(len(weight))
        return Folded(weight.numpy(), bias.detach().numpy(), None)
    norm = model.get_submodule(stage.norm)
    multiplier = norm.get_buffer("multiplier")
    spread = multiplier.double().view(-1, *[1] * (weight.ndim - 1))
    return Folded((weight.double() * spread).float().numpy(), norm.get_buffer("offset").numpy(), multiplier.numpy())


def _graph(
    model: nn.Module, stages: Sequence[Traced], layers: dict[str, SourceLayer], folded: dict[str, Folded]
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    """Return NIR's nodes and edges; every stage has an output of its own, and an input where nothing said feeds it."""
    import nir  # pyright: ignore[reportMissingImports]

    nodes: dict[str, object] = {}
    edges: list[tuple[str, str]] = []
    ends: dict[str, str] = {}
    for stage in stages:
        module = model.get_submodule(stage.layer) if stage.layer else None
        turned = isinstance(module, nn.Linear) or _feeds_linear(model, stages, stage)
        shapes = [shape[::-1] if turned else shape for shape in (stage.input_shape, stage.output_shape)]
        if stage.source is None:
            last = f"input.{stage.name}"
            nodes[last] = nir.Input(np.array(shapes[0]))
        else:
            last = ends[stage.source]
        if stage.layer:
            nodes[stage.layer] = _layer_node(module, layers[stage.layer], folded[stage.layer], shapes[0])
            edges.append((last, stage.layer))
            last = stage.layer
        if stage.neuron:
            nodes[stage.neuron] = _neuron_node(model.get_submodule(stage.neuron), shapes[1])
            edges.append((last, stage.neuron))
            last = stage.neuron
        ends[stage.name] = last
        nodes[f"output.{stage.name}"] = nir.Output(np.array(shapes[1]))
        edges.append((last, f"output.{stage.name}"))
    return nodes, edges


def _feeds_linear(model: nn.Module, stages: Sequence[Traced], stage: Traced) -> bool:
    """True where a stage's spikes go on into a linear layer, so that they are (N, C)."""
    fed = [one.layer for one in stages if one.source == stage.name and one.layer]
    return stage.layer is None and any(isinstance(model.get_submodule(name), nn.Linear) for name in fed)


def _layer_node(module: Any, layer: SourceLayer, numbers: Folded, shape: tuple[int, ...]) -> object:
    """Return one layer as NIR says it, for inputs of that shape, channels first."""
    import nir  # pyright: ignore[reportMissingImports]

    metadata: dict[str, object] = {"scheme": layer.scheme, "bits": layer.bits}
    if numbers.multiplier is not None:
        metadata["multiplier"] = numbers.multiplier
    if isinstance(module, nn.Linear):
        if len(shape) == 1:
            return nir.Affine(weight=numbers.weight, bias=numbers.bias, metadata=metadata)
        return nir.Conv1d(shape[1], numbers.weight[:, :, None], 1, 0, 1, 1, numbers.bias, metadata=metadata)
    sizes = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation}
    make = nir.Conv2d
    if isinstance(module, nn.Conv1d):
        make, sizes = nir.Conv1d, {key: value[0] for key, value in sizes.items()}
    place = shape[1:] if len(shape) == 3 else shape[1]
    common = {"weight": numbers.weight, "bias": numbers.bias, "groups": module.groups, "metadata": metadata}
    return make(input_shape=place, **sizes, **common)


def _neuron_node(node: Any, shape: tuple[int, ...]) -> object:
    """Return a neuron population of that shape."""
    import nir  # pyright: ignore[reportMissingImports]

    threshold = np.float32(node.v_threshold)
    values = {
        "tau": np.float32(node.tau),
        "r": np.float32(1),
        "v_leak": np.float32(0),
        "v_reset": np.float32(node.v_reset),
        "v_threshold": np.nextafter(threshold, np.float32(-np.inf)),
    }
    return nir.LIF(
        **{key: np.full(shape, value) for key, value in values.items()}, metadata={"theta": float(threshold)}
    )


def missing() -> tuple[str, ...]:
    """Return, in plain sentences, what of a spiking transformer NIR has no word for."""
    return (
        "Max-pooling of spikes (an OR): NIR pools by sum or average.",
        "The attention product (Q Kᵀ) V · scale: NIR has no product of two signals.",
        "Residual sums: NIR does not say what several edges into one node do.",
        "The mean over tokens and time steps before the head.",
        "Number formats: weights are float32; scheme and bits are metadata, which no NIR reader has to heed.",
    )


def _layers(source: Source, nodes: Mapping[str, object]) -> tuple[ExportedLayer, ...]:
    written = {layer.name: type(nodes[layer.name]).__name__ for layer in source.layers}
    return tuple(
        ExportedLayer(layer.name, layer.scheme, f"{written[layer.name]}, float32", 32) for layer in source.layers
    )


def _notes(stages: Sequence[Traced]) -> tuple[str, ...]:
    open_ends = sum(stage.source is None for stage in stages)
    pieces = f"The graph has {open_ends} pieces, each with its own input: what NIR cannot say belongs between them."
    return (pieces, UNITS, THRESHOLD, ROUNDING)
