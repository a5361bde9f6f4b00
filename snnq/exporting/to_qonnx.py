"""``--to qonnx``: an ONNX file with a piece for every layer: quantised weight → Conv or MatMul → folded norms.

A piece takes ``<layer>.input`` and gives ``<layer>.output``, what the norms that follow the layer directly put out, for
one time step (batch 1). Neurons, attention, pooling and sums are not in the graph. Weights are stored as float32 and
quantised by a node that changes nothing, which is how QONNX says what a weight's format is:

==============  =====================================================================================================
uniform-b       ``IntQuant``(w, s, z, b), unsigned: q = clip(round(w/s + z), 0, 2^b − 1), s·(q − z); z keeps its halves
power-of-two-b  ``FloatQuant``(w, α, e = b − 1, m = 0, bias = K, max = 1), K = 2^(b−1) − 1: ±α·2^(k−K), and 0 for k = 0
                (``has_subnormal``: the lowest exponent code has no leading one, and with no mantissa that is zero)
ternary         ``IntQuant``(w, s, z = 0, b = 2), signed and narrow: s · clip(round(w/s), −1, 1)
binary          ``BipolarQuant``(w, s): s where w ≥ 0, else −s
float32         no node
==============  =====================================================================================================

Sources: the operators' definitions in qonnx 1.0, ``custom_op/general/intquant.py``, ``floatquant.py`` and
``bipolar_quant.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.base.version import __version__
from snnq.exporting.source import Source, SourceLayer, read_source, require
from snnq.exporting.targets import ExportedLayer, Facts
from snnq.network.tracing import Traced, affines_of, trace
from snnq.schemes import power_of_two
from snnq.schemes.binary import BINARY
from snnq.schemes.format import Params
from snnq.schemes.names import FLOAT32
from snnq.schemes.scheme import scheme
from snnq.schemes.ternary import TERNARY
from snnq.schemes.uniform import UNIFORM

DOMAIN = "qonnx.custom_op.general"
# A node behind a weight: its kind and title, its further inputs (tensors hold a value a channel), and its attributes.
_Node = tuple[str, str, dict[str, Tensor | int], dict[str, int | str]]


def export(folder: Path, out: Path) -> Facts:
    """Write the file ``out``, run it in the reference executor, and return what was written.

    Raises UsageError for a format without an operator and layers that are no pieces, MissingLibraryError, and
    VerificationError where the executor's weights are not those of the packed folder.
    """
    source = read_source(folder)
    _check_formats(source.layers)
    stages = _stages(source)
    require("qonnx", "onnx", "qonnx.core.modelwrapper", "qonnx.core.onnx_exec")
    pieces = _Pieces()
    by_name = {layer.name: layer for layer in source.layers}
    for layer, stage in stages.items():
        _add_piece(pieces, source, stage, by_name[layer])
    model = pieces.model(_properties(source))
    out.write_bytes(model.SerializeToString())
    found = run_weights(out)
    for layer in source.layers:
        if layer.family != FLOAT32:
            layer.check(torch.from_numpy(found[layer.name]), "qonnx")
    taken = {norm for stage in stages.values() for norm in (stage.norm, *stage.outer)}
    return _facts(source, out, [norm for norm in affines_of(source.model) if norm not in taken])


def _stages(source: Source) -> dict[str, Traced]:
    """Return the stage of every layer; raises UsageError for layers that are no pieces of one time step."""
    try:
        traced = trace(source.model, source.norms, source.frames_shape)
    except RuntimeError as problem:
        raise UsageError("the model does not run for one time step, as qonnx's pieces do", "use --to c") from problem
    stages = {layer.name: [stage for stage in traced if stage.layer == layer.name] for layer in source.layers}
    for name, own in stages.items():
        module, runs = source.model.get_submodule(name), len(own)
        if runs != 1:
            raise _no_piece(name, "does not run in the first time step" if not runs else f"runs {runs} times a step")
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            if len(own[0].input_shape) != len(module.kernel_size) + 1:
                raise _no_piece(name, "is given several time steps at once")
            if module.padding_mode != "zeros" or isinstance(module.padding, str):
                raise _no_piece(name, f"is padded otherwise than by zeros ({module.padding_mode}, {module.padding})")
    return {name: own[0] for name, own in stages.items()}


def _no_piece(layer: str, why: str) -> UsageError:
    return UsageError(f"layer {layer} {why}, which qonnx's pieces do not hold", "use --to c")


class _Pieces:
    """An ONNX graph that is being written: nodes, constants, and the shape of every tensor between them."""

    def __init__(self) -> None:
        self.nodes: list[object] = []
        self.constants: list[object] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.inputs: list[str] = []
        self.outputs: list[str] = []

    def constant(self, name: str, value: Tensor | float) -> str:
        """Add a float32 constant and return its name."""
        from onnx import numpy_helper  # pyright: ignore[reportMissingImports]

        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def node(
        self,
        kind: str,
        inputs: Sequence[str],
        output: str,
        shape: Sequence[int],
        domain: str = "",
        **attributes: object,
    ) -> str:
        """Add a node with one output of that shape and return the output's name."""
        from onnx import helper  # pyright: ignore[reportMissingImports]

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        self.shapes[output] = tuple(shape)
        return output

    def model(self, properties: dict[str, str]) -> Any:
        """Return the whole model."""
        from onnx import TensorProto, helper  # pyright: ignore[reportMissingImports]
        from qonnx.util.basic import qonnx_make_model  # pyright: ignore[reportMissingImports]

        def described(names: Sequence[str]) -> list[object]:
            return [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name]) for name in names]

        between = [name for name in self.shapes if name not in {*self.inputs, *self.outputs}]
        ends = described(self.inputs), described(self.outputs)
        graph = helper.make_graph(self.nodes, "snnq", *ends, self.constants, value_info=described(between))
        model = qonnx_make_model(graph, producer_name="snnq", producer_version=__version__)
        helper.set_model_props(model, properties)
        return model


def _add_piece(pieces: _Pieces, source: Source, stage: Traced, layer: SourceLayer) -> None:
    """Add one layer: its weight, the layer itself, and what is folded behind it."""
    name, module = layer.name, source.model.get_submodule(layer.name)
    in_shape, out_shape = (1, *stage.input_shape), (1, *stage.output_shape)
    given = f"{name}.input"
    pieces.inputs.append(given)
    pieces.shapes[given] = in_shape
    weight = _add_weight(pieces, layer)
    if isinstance(module, nn.Linear):
        turned = pieces.node("Transpose", [weight], f"{name}.weight_transposed", tuple(layer.weight.shape)[::-1])
        found = pieces.node("MatMul", [given, turned], f"{name}.product", out_shape)
    else:
        found = pieces.node("Conv", [given, weight], f"{name}.product", out_shape, **_conv_attributes(module))
    # Channels are dim 1, but for linear layers the last.
    spread = (-1,) if isinstance(module, nn.Linear) else (1, -1, *[1] * (len(out_shape) - 2))
    steps: list[tuple[str, str, Tensor]] = []
    if isinstance(module.bias, Tensor):
        steps.append(("Add", "bias", module.bias))
    for number, path in enumerate([one for one in (stage.norm, *stage.outer) if one]):
        norm, mark = source.model.get_submodule(path), f"_{number + 1}" if number else ""
        steps.append(("Mul", f"multiplier{mark}", norm.get_buffer("multiplier")))
        steps.append(("Add", f"offset{mark}", norm.get_buffer("offset")))
    for kind, suffix, value in steps:
        constant = pieces.constant(f"{name}.{suffix}", value.reshape(spread))
        found = pieces.node(kind, [found, constant], f"{name}.after_{suffix}", out_shape)
    pieces.outputs.append(pieces.node("Identity", [found], f"{name}.output", out_shape))


def _add_weight(pieces: _Pieces, layer: SourceLayer) -> str:
    """Add a layer's weight and the node that says its format; return the name of the quantised weight."""
    name, shape = f"{layer.name}.weight", tuple(layer.weight.shape)
    if layer.family == FLOAT32:
        return pieces.constant(name, layer.weight)
    kind, _, inputs, attributes = _OPERATORS[layer.family](layer.params, scheme(layer.scheme).width)
    rows = (-1, *[1] * (len(shape) - 1))
    given = [pieces.constant(f"{name}_values", layer.weight)]
    for key, value in inputs.items():
        given.append(pieces.constant(f"{name}_{key}", value if isinstance(value, int) else value.reshape(rows)))
    return pieces.node(kind, given, name, shape, DOMAIN, **attributes)


def _int_quant(params: Params, bits: int) -> _Node:
    inputs = {"scale": params["scale"], "zero_point": params["zero_point"], "bits": bits}
    return "IntQuant", f"IntQuant, unsigned {bits}", inputs, {"signed": 0, "narrow": 0, "rounding_mode": "ROUND"}


def _float_quant(params: Params, bits: int) -> _Node:
    inputs = {"scale": power_of_two.scale(params), "exponent_bits": bits - 1, "mantissa_bits": 0}
    inputs |= {"bias": power_of_two.exponents(bits), "max": 1}
    attributes: dict[str, int | str] = {"has_inf": 0, "has_nan": 0, "has_subnormal": 1, "saturation": 1}
    attributes["rounding_mode"] = "ROUND"
    return "FloatQuant", f"FloatQuant e{bits - 1}m0", inputs, attributes


def _ternary_quant(params: Params, bits: int) -> _Node:
    inputs = {"scale": params["scale"], "zero_point": 0, "bits": bits}
    return "IntQuant", "IntQuant, signed and narrow 2", inputs, {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}


def _bipolar_quant(params: Params, bits: int) -> _Node:
    return "BipolarQuant", "BipolarQuant", {"scale": params["scale"]}, {}


_OPERATORS = {UNIFORM.name: _int_quant, power_of_two.POWER_OF_TWO.name: _float_quant}
_OPERATORS |= {TERNARY.name: _ternary_quant, BINARY.name: _bipolar_quant}


def _check_formats(layers: Sequence[SourceLayer]) -> None:
    for layer in layers:
        if layer.family not in (FLOAT32, *_OPERATORS):
            message = f"layer {layer.name} is {layer.scheme}, which qonnx has no operator for"
            raise UsageError(message, "use --to c, or finalize a plan without that format")


def _conv_attributes(module: Any) -> dict[str, Any]:
    """Return ONNX's attributes of a torch convolution with zero padding."""
    return {
        "kernel_shape": list(module.kernel_size),
        "strides": list(module.stride),
        "pads": [*module.padding, *module.padding],
        "dilations": list(module.dilation),
        "group": module.groups,
    }


def _properties(source: Source) -> dict[str, str]:
    """Return the model's metadata: where it comes from, and every layer's scheme."""
    schemes = {f"snnq.scheme.{layer.name}": layer.scheme for layer in source.layers}
    return {"snnq.tool": f"snnq {__version__}", "snnq.architecture": source.config.architecture} | schemes


def run_weights(path: Path) -> dict[str, np.ndarray]:
    """Return every quantised weight by its layer as qonnx's reference executor computes it."""
    from qonnx.core.modelwrapper import ModelWrapper  # pyright: ignore[reportMissingImports]
    from qonnx.core.onnx_exec import execute_onnx  # pyright: ignore[reportMissingImports]

    model = ModelWrapper(str(path))
    context = execute_onnx(model, {}, return_full_exec_context=True)
    made = [node.output[0] for node in model.graph.node if node.domain == DOMAIN]
    return {name.removesuffix(".weight"): context[name] for name in made}


def _title(layer: SourceLayer) -> str:
    if layer.family == FLOAT32:
        return FLOAT32
    return _OPERATORS[layer.family](layer.params, scheme(layer.scheme).width)[1]


def _facts(source: Source, out: Path, loose: Sequence[str]) -> Facts:
    """Return what was written; ``loose`` are the norms that no piece has."""
    layers = tuple(ExportedLayer(one.name, one.scheme, _title(one), one.bits) for one in source.layers)
    notes = (
        "qonnx's reference executor computes the packed weights from it, bit for bit.",
        f"The file has {out.stat().st_size:,} bytes: QONNX stores float32, and says beside it how few bits are needed.",
        "Each layer is a piece: <layer>.input → <layer>.output, one time step, batch 1, with the norms that "
        "follow it directly.",
    )
    unsaid = ("Neurons, attention products, residual sums, pooling and the mean before the head.",)
    if any(
        layer.family == UNIFORM.name and bool((layer.params["zero_point"] % 1 != 0).any()) for layer in source.layers
    ):
        unsaid += ("An integer type for weights whose zero-point is a multiple of ½: qonnx calls them FLOAT32.",)
    if loose:
        unsaid += (f"Norms that do not follow a layer directly, channel by channel: {', '.join(loose)}.",)
    return Facts(layers, notes, unsaid)
