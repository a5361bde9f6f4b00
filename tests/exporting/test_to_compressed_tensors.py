"""``--to compressed-tensors``: what the released library decompresses is the packed weights, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_samples import make_sample
from safetensors.torch import load_file
from torch import nn

import snnq
from snnq.base.errors import UsageError, VerificationError
from snnq.exporting.source import Source, read_source
from snnq.exporting.to_compressed_tensors import Form, make_config, read_weights


@pytest.mark.parametrize(
    ("scheme", "words"), [("power-of-two-4", "layer patch_embed.proj_conv1 is power-of-two-4"), ("float32", "")]
)
def test_a_plan_that_is_not_uniform_is_refused_before_anything_is_written(
    tmp_path: Path, scheme: str, words: str
) -> None:
    schemes = ("uniform-4", scheme) if words else (scheme,)
    folder = make_sample(schemes=schemes).write(tmp_path / "packed")
    with pytest.raises(UsageError, match=words or "every layer is float32") as caught:
        snnq.export(folder, "compressed-tensors")
    assert ("--to qonnx" in caught.value.hint) == bool(words)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_the_config_is_the_librarys(uniform_folder: Path) -> None:
    source = read_source(uniform_folder)
    names = [layer.name for layer in source.layers if layer.family != "float32"]
    forms = dict.fromkeys(names, Form(3, True, "pack-quantized")) | {names[0]: Form(8, False, "naive-quantized")}
    config: dict[str, Any] = make_config(source, forms)
    found = config["quantization_config"]
    assert found["quant_method"] == "compressed-tensors"
    assert found["format"] == "mixed-precision"
    assert found["ignore"] == ["patch_embed.proj_conv2", "block.0.mlp.fc2"]
    assert found["config_groups"]["group_0"] == {
        "format": "naive-quantized",
        "targets": [names[0]],
        "weights": {
            "num_bits": 8, "type": "int", "symmetric": False, "strategy": "channel", "dynamic": False,
            "zp_dtype": "torch.float32",
        },
    }  # fmt: skip
    assert found["config_groups"]["group_1"]["targets"] == names[1:]
    assert config["snnq"]["shapes"]["patch_embed.proj_conv"] == [2, 2, 3, 3]


def equal_weights(found: dict[str, torch.Tensor], source: Source) -> bool:
    due = {layer.name: layer.weight.flatten(1) for layer in source.layers if layer.family != "float32"}
    assert found.keys() == due.keys()
    return all(torch.equal(found[name].view(torch.int32), due[name].view(torch.int32)) for name in due)


@pytest.mark.exchange
@pytest.mark.parametrize("scheme", [f"uniform-{bits}" for bits in range(2, 9)])
def test_every_number_of_bits_comes_back(tmp_path: Path, scheme: str) -> None:
    folder = make_sample(schemes=(scheme,), seed=int(scheme[-1])).write(tmp_path / "packed")
    found = snnq.export(folder, "compressed-tensors")
    assert equal_weights(read_weights(Path(found.out)), read_source(folder))
    bits = int(scheme[-1])
    assert {layer.bits for layer in found.layers} <= {bits, min(bits + 1, 8)}


@pytest.mark.exchange
@pytest.mark.parametrize("scheme", ["ternary", "binary"])
def test_ternary_and_binary_come_back_as_int2(tmp_path: Path, scheme: str) -> None:
    folder = make_sample(schemes=(scheme, "uniform-4")).write(tmp_path / "packed")
    found = snnq.export(folder, "compressed-tensors")
    assert equal_weights(read_weights(Path(found.out)), read_source(folder))
    assert {layer.bits for layer in found.layers if layer.scheme == scheme} == {2}


@pytest.mark.exchange
@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet", "qkformer-dvs", "maxformer-imagenet"])
def test_a_mixed_uniform_plan_and_all_other_tensors(tmp_path: Path, layout: str) -> None:
    schemes = ("uniform-4", "uniform-2", "float32", "uniform-3", "uniform-8", "uniform-7")
    folder = make_sample(layout, schemes).write(tmp_path / "packed")
    found = snnq.export(folder, "compressed-tensors")
    source, tensors = read_source(folder), load_file(Path(found.out) / "model.safetensors")
    assert equal_weights(read_weights(Path(found.out)), source)
    floats = {f"{layer.name}.weight": layer.weight for layer in source.layers if layer.family == "float32"}
    for name, tensor in (dict(source.others) | floats).items():
        assert torch.equal(tensors[name], tensor)
    assert sorted(found.files) == ["config.json", "model.safetensors"]


class Matrices(nn.Module):
    """Every layer as the library sees it: one ``nn.Linear`` by its name, of the flattened shape."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        for layer in source.layers:
            parent: nn.Module = self
            *path, last = layer.name.split(".")
            for part in path:
                if part not in parent._modules:
                    parent.add_module(part, nn.Module())
                parent = parent.get_submodule(part)
            rows, n = layer.weight.flatten(1).shape
            parent.add_module(last, nn.Linear(n, rows, bias=False))


@pytest.mark.exchange
def test_the_librarys_own_way_through_a_model(uniform_folder: Path) -> None:
    """apply_quantization_config → compress_model → load_state_dict → decompress_model, as transformers does it."""
    out = Path(snnq.export(uniform_folder, "compressed-tensors").out)
    from compressed_tensors.compressors import ModelCompressor  # pyright: ignore[reportMissingImports]
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config  # pyright: ignore[reportMissingImports]

    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    source = read_source(uniform_folder)
    model, quantization = Matrices(source), QuantizationConfig.model_validate(config["quantization_config"])
    apply_quantization_config(model, quantization)
    compressor = ModelCompressor(quantization_config=quantization)
    compressor.compress_model(model)
    due, tensors = set(model.state_dict()), load_file(out / "model.safetensors")
    floats = {f"{layer.name}.weight" for layer in source.layers if layer.family == "float32"}
    model.load_state_dict(
        {name: tensors[name].flatten(1) if name in floats else tensors[name] for name in due}, assign=True
    )
    compressor.decompress_model(model)
    quantised = [layer.name for layer in source.layers if layer.family != "float32"]
    assert equal_weights(
        {name: model.get_submodule(name).get_parameter("weight").detach() for name in quantised}, source
    )


@pytest.mark.exchange
def test_what_the_library_reads_otherwise_is_refused(uniform_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(*given, **named):
        found = whole_integers(*given, **named)
        return found and type(found)(found.codes, found.scale * 1.5, found.zero_point, found.bits)

    from snnq.exporting import to_compressed_tensors
    from snnq.exporting.to_compressed_tensors import whole_integers

    monkeypatch.setattr(to_compressed_tensors, "whole_integers", shifted)
    with pytest.raises(
        VerificationError, match=r"layer patch_embed\.proj_conv: compressed-tensors decodes another weight"
    ):
        snnq.export(uniform_folder, "compressed-tensors")
    assert [path.name for path in uniform_folder.parent.iterdir()] == ["packed"]


@pytest.mark.exchange
def test_equal_folders_give_equal_bytes(uniform_folder: Path) -> None:
    first = Path(snnq.export(uniform_folder, "compressed-tensors").out)
    shutil.copytree(first, kept := first.with_name("first"))
    snnq.export(uniform_folder, "compressed-tensors", force=True)
    for path in kept.iterdir():
        assert path.read_bytes() == (first / path.name).read_bytes()
