"""``--to qonnx``: what the reference executor computes is the packed weights, and each piece is its layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from packed_samples import make_sample

import snnq
from snnq.exporting.source import Source, read_source
from snnq.exporting.to_qonnx import run_weights
from snnq.network.tracing import trace
from snnq.packed.loading import load_packed
from snnq.schemes.scheme import scheme

pytestmark = pytest.mark.exchange
SCHEMES = [f"{family}-{bits}" for family in ("uniform", "power-of-two") for bits in range(2, 9)]
SCHEMES += ["ternary", "binary"]


def run_model(path: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from qonnx.core.modelwrapper import ModelWrapper  # pyright: ignore[reportMissingImports]
    from qonnx.core.onnx_exec import execute_onnx  # pyright: ignore[reportMissingImports]

    return execute_onnx(ModelWrapper(path), given)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_comes_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    folder = make_sample(schemes=(name,), seed=scheme(name).width).write(tmp_path / "packed")
    found, source = snnq.export(folder, "qonnx"), read_source(folder)
    weights = run_weights(Path(found.out))
    assert weights.keys() == {layer.name for layer in source.layers}
    for layer in source.layers:
        assert weights[layer.name].tobytes() == layer.weight.numpy().tobytes()


@pytest.mark.parametrize("name", SCHEMES)
def test_the_nodes_say_the_scheme_and_do_not_just_pass_weights_on(tmp_path: Path, name: str) -> None:
    """Fed other weights, the node's outputs are levels of the scheme, and for uniform the very ones snnq rounds to."""
    import onnx  # pyright: ignore[reportMissingImports]
    from onnx import numpy_helper  # pyright: ignore[reportMissingImports]

    folder = make_sample(schemes=(name,)).write(tmp_path / "packed")
    out, source, draw = Path(snnq.export(folder, "qonnx").out), read_source(folder), np.random.default_rng(0)
    model, noise = onnx.load(str(out)), {}
    for constant in model.graph.initializer:
        if constant.name.endswith(".weight_values"):
            weight = numpy_helper.to_array(constant)
            noise[constant.name.removesuffix(".weight_values")] = moved = weight + draw.normal(
                0, 0.05, weight.shape
            ).astype("f")
            constant.CopyFrom(numpy_helper.from_array(moved, constant.name))
    onnx.save(model, str(out))
    weights = run_weights(out)
    for layer in source.layers:
        one, rows = scheme(name), torch.from_numpy(weights[layer.name]).flatten(1)
        grid = one.grid(layer.params)
        assert bool((rows[:, :, None] == grid[:, None, :]).any(2).all())
        if one.family != "power-of-two":
            due = one.project(torch.from_numpy(noise[layer.name]), layer.params)[0]
            assert (rows.view_as(due) == due).float().mean() > 0.999  # a tie may fall the other way


def test_the_attributes_are_the_schemes(folder: Path) -> None:
    import onnx  # pyright: ignore[reportMissingImports]
    from onnx import helper, numpy_helper  # pyright: ignore[reportMissingImports]

    model, source = onnx.load(snnq.export(folder, "qonnx").out), read_source(folder)
    onnx.checker.check_model(model)
    numbers = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    nodes = {node.output[0]: node for node in model.graph.node}
    for layer in source.layers:
        name = f"{layer.name}.weight"
        if layer.family == "float32":
            assert name not in nodes
            continue
        values = [numbers[key] for key in nodes[name].input]
        attributes = {one.name: helper.get_attribute_value(one) for one in nodes[name].attribute}
        if layer.family == "uniform":
            assert (nodes[name].op_type, float(values[3]), attributes["signed"]) == ("IntQuant", layer.bits, 0)
        else:
            numbers_of = [float(value) for value in values[2:]]
            assert nodes[name].op_type == "FloatQuant"
            assert numbers_of == [layer.bits - 1, 0, 2 ** (layer.bits - 1) - 1, 1]
            assert attributes["has_subnormal"] == 1
    properties = {one.key: one.value for one in model.metadata_props}
    assert properties["snnq.scheme.patch_embed.proj_conv"] == "uniform-4"


def fed_and_given(source: Source, model: torch.nn.Module, frames: torch.Tensor):
    """Return what each layer is fed and what its folded norm gives for the first step of the first sample."""
    seen: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda _, i, o, name=name: seen.update({f"{name}<": i[0], f"{name}>": o}))
    with torch.no_grad():
        model(frames)
    for stage in trace(source.model, source.norms, source.frames_shape):
        if stage.layer:
            given = seen[f"{stage.norm or stage.layer}>"][:1]
            turned = len(stage.output_shape) == 2 and tuple(given.shape[1:]) != stage.output_shape
            linear = isinstance(model.get_submodule(stage.layer), torch.nn.Linear) and len(stage.output_shape) == 2
            yield stage.layer, seen[f"{stage.layer}<"][:1], given.transpose(1, 2) if linear or turned else given


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet", "qkformer-dvs", "maxformer-imagenet"])
def test_every_piece_computes_what_its_layer_and_norm_compute(tmp_path: Path, layout: str) -> None:
    sample = make_sample(layout)
    folder = sample.write(tmp_path / "packed")
    found, source = snnq.export(folder, "qonnx"), read_source(folder)
    cases = list(fed_and_given(source, load_packed(folder, "float"), sample.frames))
    outputs = run_model(found.out, {f"{name}.input": fed.numpy() for name, fed, _ in cases})
    assert outputs.keys() == {f"{name}.output" for name, _, _ in cases}
    for name, _, given in cases:
        # Sums of another order: only the last digits differ.
        np.testing.assert_allclose(outputs[f"{name}.output"], given.numpy(), rtol=1e-5, atol=1e-5)
