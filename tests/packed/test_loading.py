"""Loading: exactly the packed weights; damage is one clear sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_samples import Sample, make_sample
from safetensors.torch import load_file

from snnq.base.errors import PackedError, SnnqError, UsageError, VerificationError
from snnq.packed.config import CONFIG_FILE
from snnq.packed.loading import load_packed
from snnq.packed.safefile import safetensors_bytes
from snnq.schemes.scheme import scheme


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet", "qkformer-dvs", "maxformer-imagenet"])
def test_exactly_the_model_that_was_written(layout: str, tmp_path: Path) -> None:
    sample = make_sample(layout)
    state = torch.random.get_rng_state()
    model = load_packed(sample.write(tmp_path / "packed"), "float")
    assert torch.equal(torch.random.get_rng_state(), state)
    due, found = sample.model.state_dict(), model.state_dict()
    assert list(found) == list(due)
    for name in due:
        assert torch.equal(found[name].view(torch.int32), due[name].view(torch.int32)), name
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.config == sample.model.config
    with torch.no_grad():
        assert torch.equal(model(sample.frames), sample.model(sample.frames))


def test_weights_are_what_the_schemes_decode(sample: Sample, folder: Path) -> None:
    model = load_packed(folder, "float")
    for name, coded in sample.layers.items():
        decoded = scheme(coded.scheme).decode(coded.codes, dict(coded.params))
        weight = model.get_submodule(name).get_parameter("weight")
        assert torch.equal(weight.flatten(1), decoded)


def edit_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the config, and take its hash of itself out: folders of early versions have none."""
    config = json.loads((folder / "config.json").read_text())
    del config["sha256"]["config.json"]
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Change the tensors and make the hash right again, so that only the content is wrong."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    content = safetensors_bytes(tensors, {"format": "pt"})
    (folder / "model.safetensors").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    edit_config(folder, lambda config: config["sha256"].update({"model.safetensors": sha256}))


def refused(folder: Path, words: str, error: type[SnnqError] = PackedError) -> None:
    with pytest.raises(error, match=words) as caught:
        load_packed(folder)
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "there is no such packed folder")
    refused(tmp_path, r"config\.json is missing")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON at line 1, column 2"),
        ("[1]", "found"),
        ("{}", "schema_version"),
        ("[" * 100_000, "not the config|not valid JSON"),
        ("\udcff", "not the config"),
    ],
)
def test_damaged_json(folder: Path, text: str, words: str) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    refused(folder, words)


def test_json_of_an_absurd_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snnq.packed.config.MAX_JSON_BYTES", 1000)
    refused(folder, r"config\.json: cannot be read \(it has [\d,]+ bytes; more than 1,000 are not read\)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(schema_version=2), "schema_version"),
        (lambda c: c.update(architecture="spikformer-mnist"), "spikformer-mnist"),
        (lambda c: c.update(architectur="x"), "did you mean 'architecture'"),
        (lambda c: c.pop("sha256"), "sha256: this key is missing"),
        (lambda c: c["sha256"].pop("plan.json"), "the hashes of"),
        (lambda c: c["config"].update(dim=-3), "dim: found -3"),
        (lambda c: c["config"].update(dim="wide"), "dim: found 'wide'"),
        (lambda c: c["config"].update(dim=2**20), "tensor .* has shape"),
        (lambda c: c["config"].update(dim=2**40), "describes no model"),
        (lambda c: c["config"].update(mlp_ratio="x"), r"config\.json"),
        (lambda c: c["config"].update(image_size=None), r"config\.json"),
        (lambda c: c["quantization_config"].update(quant_method="gptq"), "quant_method"),
        (lambda c: c["quantization_config"]["layers"]["head"].update(bits=3), "is not"),
        (lambda c: c["quantization_config"]["layers"]["head"].update(scheme="uniform-99"), "unknown scheme"),
        (lambda c: c["quantization_config"]["layers"]["head"].update(shape=[3, 17]), "tensor 'head"),
        (lambda c: c["quantization_config"]["layers"].pop("block.0.attn.v"), "tensor 'block.0.attn.v"),
    ],
)
def test_a_config_that_does_not_fit(fixed: Path, change: Callable[[dict[str, Any]], object], words: str) -> None:
    edit_config(fixed, change)
    refused(fixed, words)


def test_a_file_that_is_not_the_one_hashed(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused(folder, r"model\.safetensors: sha256 is .*config\.json says", VerificationError)
    path.write_bytes(content[: len(content) // 2])
    refused(folder, "not a whole safetensors file")
    path.unlink()
    refused(folder, "is missing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("head.bias"), "'head.bias' of the model is missing"),
        (lambda t: t.pop("patch_embed.proj_bn.offset"), "'patch_embed.proj_bn.offset' of the model is missing"),
        (lambda t: t.pop("patch_embed.proj_conv.weight_scale"), "'patch_embed.proj_conv.weight_scale' is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "'extra' belongs to no part of the model"),
        (lambda t: t.update({"head.bias": torch.zeros(4)}), r"shape \[4\], it must be \[3\]"),
        (lambda t: t.update({"head.bias": torch.zeros(3, dtype=torch.int32)}), "is int32, it must be float32"),
    ],
)
def test_tensors_that_are_not_the_model(
    fixed: Path, change: Callable[[dict[str, torch.Tensor]], object], words: str
) -> None:
    edit_tensors(fixed, change)
    refused(fixed, words)


def test_frames_of_another_shape_are_refused_in_words(folder: Path, sample: Sample) -> None:
    for arithmetic in ("integer", "float"):
        model = load_packed(folder, arithmetic)
        assert model.arithmetic == arithmetic
        with pytest.raises(UsageError, match=r"the model takes \(B, ") as caught:
            model(sample.frames[:1].transpose(0, 1))
        assert "transpose(0, 1)" in caught.value.hint
        for wrong in (sample.frames[:, :1], sample.frames[..., 1:], sample.frames[0], sample.frames[:, :, :1]):
            with pytest.raises(UsageError, match=r"the model takes \(B, "):
                model(wrong)


@pytest.mark.parametrize("value", [0.5, -1.0, float("nan"), float("inf")])
def test_whole_numbers_take_nothing_but_event_counts(folder: Path, sample: Sample, value: float) -> None:
    frames = sample.frames.clone()
    frames[0, 0, 0, 0, 0] = value
    with pytest.raises(UsageError, match="event counts"):
        load_packed(folder)(frames)
    load_packed(folder, "float")(frames)


def test_a_folder_without_whole_numbers_says_so(tmp_path: Path) -> None:
    folder = make_sample("maxformer-spikingjelly").write(tmp_path / "packed")
    said = json.loads((folder / CONFIG_FILE).read_text())
    del said["quantization_config"]["arithmetic"], said["sha256"][CONFIG_FILE]  # as before it ran in them
    (folder / CONFIG_FILE).write_text(json.dumps(said))
    assert load_packed(folder).arithmetic == "float"
    with pytest.raises(UsageError, match="no arithmetic in whole numbers, because it was packed when"):
        load_packed(folder, "integer")
