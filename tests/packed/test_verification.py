"""Verification: what is reported adds up to the file, and every kind of difference names its layer."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from packed_samples import Sample, make_sample
from safetensors.torch import load_file

from snnq.base.errors import PackedError, PlanError, VerificationError
from snnq.packed.config import read_config
from snnq.packed.loading import load_packed
from snnq.packed.safefile import safetensors_bytes
from snnq.packed.verification import LAYER_COLUMNS, SIZE_COLUMNS, verify


def rehash(folder: Path) -> None:
    """Make the files' hashes right again, so that only what stands in them is wrong."""
    config = json.loads((folder / "config.json").read_text())
    config["sha256"].pop("config.json", None)
    for name in config["sha256"]:
        config["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps(config))


def edit_json(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / name).read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))
    rehash(folder)


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(tensors, {"format": "pt", "snnq": "0.1.0"}))
    rehash(folder)


def test_everything_is_found_right(sample: Sample, fixed: Path) -> None:
    found = verify(fixed)
    assert [one.name for one in found.layers] == [entry.name for entry in sample.plan.layers]
    for one, entry in zip(found.layers, sample.plan.layers, strict=True):
        assert one.scheme == entry.scheme
        assert one.bits_on_disk == one.bits_in_plan == entry.bits
        assert one.codes_used <= one.codes
        if one.name in sample.layers:
            assert one.codes_used == len(set(sample.layers[one.name].codes.flatten().tolist()))
    assert sum(one.bits_on_disk for one in found.layers) == sample.plan.totals.storage_bits == found.sizes.weights
    assert sum(one.padding_bits for one in found.layers) == found.sizes.padding
    hashed = ("model.safetensors", "plan.json", "report.json", "README.md")
    assert found.sha256.pop("config.json") == read_config(fixed).own_sha256()
    assert found.sha256 == {name: hashlib.sha256((fixed / name).read_bytes()).hexdigest() for name in hashed}
    assert found.unprotected == ()


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet", "qkformer-dvs", "maxformer-imagenet"])
def test_sizes_add_up_to_the_file(layout: str, tmp_path: Path) -> None:
    sample = make_sample(layout)
    fixed = sample.write(tmp_path / "packed", storage="fixed")
    sizes = verify(fixed).sizes
    size = (fixed / "model.safetensors").stat().st_size
    assert sizes.total == sizes.weights + sum(sizes.overhead.values()) == size * 8
    assert sizes.total_bytes == size
    # Counted again from the model and its plan alone.
    coded = sample.layers.values()
    uniform_rows = sum(len(one.codes) for one in coded if one.scheme.startswith("uniform"))
    shift_rows = sum(len(one.codes) for one in coded if one.scheme.startswith("power"))
    wide = [one for one in coded if one.scheme == "uniform-8" and one.params["zero_point"].abs().max() >= 64]
    assert sizes.scales == 32 * uniform_rows + 8 * shift_rows
    assert sizes.zero_points == 8 * uniform_rows + 8 * sum(len(one.codes) for one in wide)
    assert sizes.shapes == 128 * len(sample.layers)
    assert sizes.biases == 32 * 3
    assert sizes.batchnorm == 32 * sum(b.numel() for name, b in sample.model.named_buffers())
    assert sizes.other == 0
    header = int.from_bytes((fixed / "model.safetensors").read_bytes()[:8], "little")
    assert sizes.header == 8 * (8 + header)


def test_padding_by_hand(tmp_path: Path) -> None:
    # The first convolution is (2, 2, 3, 3): 18 codes a row. At 4 bits they take 72 of the 96 bits of 3 words.
    folder = make_sample(schemes=("uniform-4",)).write(tmp_path / "packed", storage="fixed")
    first = verify(folder).layers[0]
    assert (first.bits_in_plan, first.bits_on_disk, first.padding_bits) == (144, 144, 2 * (96 - 72))
    assert first.codes == 16


def test_padding_of_a_depth_wise_convolution_by_hand(tmp_path: Path) -> None:
    # (4, 1, 7, 7): 49 codes a row. At 4 bits they take 196 of the 224 bits of 7 words.
    folder = make_sample("maxformer-imagenet", schemes=("uniform-4",)).write(tmp_path / "packed", storage="fixed")
    found = next(layer for layer in verify(folder).layers if layer.name == "stage1.0.mixer.conv5")
    assert (found.bits_on_disk, found.padding_bits) == (4 * 196, 4 * (224 - 196))


def test_plain_data_and_tables(folder: Path) -> None:
    found = verify(folder)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["verified"] is True
    assert data["weights_bits"] + sum(data["overhead_bits"].values()) == 8 * data["file_bytes"]
    assert len(data["layers"]) == len(found.layers)
    rows = found.layer_rows()
    assert all(len(row) == len(LAYER_COLUMNS) for row in rows)
    assert rows[0][:2] == ("patch_embed.proj_conv", "uniform-4")
    sizes = found.sizes.rows()
    assert all(len(row) == len(SIZE_COLUMNS) for row in sizes)
    assert sizes[-1][0] == "model.safetensors"
    assert sum(float(row[1].replace(",", "")) for row in sizes[:-1]) == float(sizes[-1][1].replace(",", ""))


def flip_code(name: str) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = tensors[name] ^ 1

    return change


def set_bits(name: str, bits: int) -> Callable[[dict[str, torch.Tensor]], object]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name][0, -1] |= bits

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # Layers take the schemes of MIXED in turn.
        (flip_code("patch_embed.proj_conv.weight_packed"), r"layer patch_embed\.proj_conv: its codes do not decode"),
        (flip_code("block.0.attn.q.weight_packed"), r"layer block\.0\.attn\.q: its codes do not decode"),
        (set_bits("patch_embed.proj_conv.weight_packed", 2**30), "bits that hold no code are not zero"),
        (set_bits("block.0.attn.q.weight_packed", 2**30), "bits that hold no code are not zero"),
        (lambda t: t["head.bias"].add_(1), None),
        (lambda t: t["patch_embed.proj_conv.weight_scale"].mul_(2), r"layer patch_embed\.proj_conv: .*sha256 differs"),
        (lambda t: t["patch_embed.proj_conv1.weight_scale_exp"].add_(1), r"layer patch_embed\.proj_conv1: .*sha256"),
        (lambda t: t["patch_embed.proj_conv3.weight"].add_(1), r"layer patch_embed\.proj_conv3: .*sha256"),
        (
            lambda t: t["block.0.attn.v.weight_pot_packed"].bitwise_and_(~0xFF).bitwise_or_(0x80),
            r"layer block\.0\.attn\.v: code 128 is not one of power-of-two-8's",
        ),
    ],
)
def test_changed_tensors_name_their_layer(
    fixed: Path, change: Callable[[dict[str, torch.Tensor]], object], words: str | None
) -> None:
    edit_tensors(fixed, change)
    if words is None:  # a bias is no layer's weight: with a hash made right again nothing contradicts it
        verify(fixed)
        return
    with pytest.raises(VerificationError, match=words) as caught:
        verify(fixed)
    assert caught.value.exit_code == 4
    assert "\n" not in caught.value.message


def scheme_of(name: str, scheme: str) -> Callable[[dict[str, Any]], object]:
    def change(plan: dict[str, Any]) -> None:
        next(layer for layer in plan["layers"] if layer["name"] == name)["scheme"] = scheme

    return change


def test_another_plan_names_the_first_layer(folder: Path) -> None:
    plan = (folder / "plan.json").read_text()
    edit_json(folder, "plan.json", scheme_of("block.0.attn.v", "uniform-2"))
    with pytest.raises(
        VerificationError, match=r"layer block\.0\.attn\.v: it is packed as .*plan\.json says uniform-2"
    ):
        verify(folder)
    (folder / "plan.json").write_text(plan)
    edit_json(folder, "plan.json", lambda data: data["layers"].pop(0))
    with pytest.raises(VerificationError, match=r"layer patch_embed\.proj_conv: it is in config\.json, but not in"):
        verify(folder)
    (folder / "plan.json").write_text(plan)
    edit_json(folder, "plan.json", lambda data: data["layers"][0].update(shape=[2, 2, 9, 1]))
    with pytest.raises(VerificationError, match=r"layer patch_embed\.proj_conv: its shape is"):
        verify(folder)
    (folder / "plan.json").write_text(plan)
    edit_json(folder, "config.json", lambda data: data["quantization_config"]["layers"].pop("head"))
    with pytest.raises(VerificationError, match=r"layer head: it is in plan\.json, but not in config\.json"):
        verify(folder)


def test_hashes_of_both_files(folder: Path) -> None:
    plan = folder / "plan.json"
    plan.write_text(plan.read_text() + "\n")
    with pytest.raises(VerificationError, match=r"plan\.json: sha256 is"):
        verify(folder)
    load_packed(folder)  # the plan is no part of the model


def test_a_changed_bias_breaks_the_hash(fixed: Path) -> None:
    path = fixed / "model.safetensors"
    tensors = load_file(path)
    tensors["head.bias"] += 1
    path.write_bytes(safetensors_bytes(tensors, {"format": "pt", "snnq": "0.1.0"}))
    with pytest.raises(VerificationError, match=r"model\.safetensors: sha256 is"):
        verify(fixed)


def test_every_flipped_byte_is_found(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for position in range(0, len(content), 997):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :])
        with pytest.raises((VerificationError, PackedError)):
            verify(folder)


def test_folders_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PackedError, match="there is no such packed folder"):
        verify(tmp_path / "nowhere")
    (folder / "plan.json").write_text("{")
    with pytest.raises(PlanError, match="not valid JSON"):
        verify(folder)
    (folder / "plan.json").unlink()
    with pytest.raises(PackedError, match=r"plan\.json is missing"):
        verify(folder)


def test_a_cost_table_of_one_s_own_need_not_be_there(sample: Sample, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    edit_json(copy, "plan.json", lambda data: data["cost_table"].update(name="mine", source="/nowhere/mine.toml"))
    assert verify(copy).sizes == verify(folder).sizes
