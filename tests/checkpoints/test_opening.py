"""Checkpoints in every upstream container and layout open, with every size that can be known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from upstream_files import (
    HEADS,
    PUBLISHED,
    dvs_container,
    filled,
    timm_container,
    tiny,
    upstream_shapes,
)

from snnq.base.errors import CheckpointError
from snnq.checkpoints.opening import load_model, open_checkpoint

KEYS = Path(__file__).resolve().parents[2] / "../shared/reference/spikformer_state_dict_keys.json"
SIZES: dict[str, Any] = {"steps": 4, "heads": 2, "image_size": (32, 32)}


def sizes_for(layout: str) -> dict[str, Any]:
    """A tiny cifar10dvs file has 64 position embeddings: 128×128 pixels."""
    return SIZES | ({"image_size": (128, 128)} if layout == "cifar10dvs" else {})


@pytest.mark.skipif(not KEYS.exists(), reason="the listing of upstream's keys is not at ../shared/reference")
@pytest.mark.parametrize("layout", PUBLISHED)
def test_our_handwritten_keys_are_upstreams(layout: str) -> None:
    listing = {name.split("_")[0]: shapes for name, shapes in json.loads(KEYS.read_text()).items()}[layout]
    ours = upstream_shapes(layout, **PUBLISHED[layout])
    assert {name: list(shape) for name, shape in ours.items()} == listing


@pytest.mark.parametrize(("layout", "parameters"), [("cifar10dvs", 2_585_610), ("cifar10", 9_330_874)])
def test_handwritten_keys_have_upstreams_number_of_parameters(layout: str, parameters: int) -> None:
    shapes = upstream_shapes(layout, **PUBLISHED[layout])
    counted = [torch.Size(s).numel() for n, s in shapes.items() if "running" not in n and "tracked" not in n]
    assert sum(counted) == parameters


def test_the_published_dvs_model_opens_whole(tmp_path: Path) -> None:
    state = filled(upstream_shapes("cifar10dvs", **PUBLISHED["cifar10dvs"]))
    torch.save(dvs_container(state, T=16, model="spikformer"), tmp_path / "best.pth")
    found = open_checkpoint(tmp_path / "best.pth", heads=HEADS["cifar10dvs"])
    assert (found.architecture, found.layout) == ("spikformer-cifar10dvs", "cifar10dvs")
    assert found.config == {
        "layout": "cifar10dvs",
        "in_channels": 2,
        "image_size": [128, 128],
        "dim": 256,
        "depth": 2,
        "heads": 16,
        "mlp_ratio": 4.0,
        "classes": 10,
        "steps": 16,
        "attention_scale": 0.25,
        "pooling": [True, True, True, True],
    }
    norms = [f"block.{index}.norm{part}.{kind}" for index in (0, 1) for part in (1, 2) for kind in ("weight", "bias")]
    assert set(found.dropped) == {"pos_embed", "norm.weight", "norm.bias", *norms}
    assert len(found.dropped) == 11
    assert len(found.state_dict) == 121 - 11


@pytest.mark.parametrize("layout", PUBLISHED)
def test_weights_arrive_under_our_names(layout: str, tmp_path: Path) -> None:
    state = tiny(layout)
    torch.save(state, tmp_path / "plain.pth")
    found = open_checkpoint(tmp_path / "plain.pth", **sizes_for(layout))
    assert found.layout == layout
    assert found.container == "state dict"
    model = load_model(found)
    assert not model.training
    loaded = model.state_dict()
    kind = "linear" if layout == "cifar10" else "conv"
    pairs = {
        "patch_embed.proj_conv2.weight": "patch_embed.proj_conv2.weight",
        "patch_embed.rpe_bn.running_var": "patch_embed.rpe_bn.running_var",
        "block.1.attn.k.weight": f"block.1.attn.k_{kind}.weight",
        "block.0.attn.proj.bias": f"block.0.attn.proj_{kind}.bias",
        "block.0.attn.q_bn.weight": "block.0.attn.q_bn.weight",
        "block.1.mlp.fc2.weight": f"block.1.mlp.fc2_{kind}.weight",
        "block.1.mlp.fc1_bn.num_batches_tracked": "block.1.mlp.fc1_bn.num_batches_tracked",
        "head.bias": "head.bias",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(loaded[ours], state[theirs]), ours


def test_every_container_gives_the_same_weights(tmp_path: Path) -> None:
    state, ema = tiny("cifar10", seed=1), tiny("cifar10", seed=2)
    prefixed = {f"module.{name}": tensor for name, tensor in state.items()}
    contents = {
        "plain": (state, "state dict"),
        "mae": ({"model": state, "epoch": 1}, "{'model': …}"),
        "dvs": (dvs_container(state, lr=0.1), "{'model': …}"),
        "timm": (timm_container(state, ema, lr=0.1), "{'state_dict': …}"),
        "parallel": (prefixed, "state dict"),
        "timm-parallel": (timm_container(prefixed, ema), "{'state_dict': …}"),
        "compiled": ({f"_orig_mod.{name}": tensor for name, tensor in prefixed.items()}, "state dict"),
        "half": ({n: t.double() if t.is_floating_point() else t for n, t in state.items()}, "state dict"),
    }
    for name, (content, _) in contents.items():
        torch.save(content, tmp_path / name)
    torch.save(state, tmp_path / "legacy", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "file.safetensors")
    kinds = {name: kind for name, (_, kind) in contents.items()}
    kinds |= {"legacy": "state dict", "file.safetensors": "safetensors"}
    for name, kind in kinds.items():
        found = open_checkpoint(tmp_path / name, **SIZES)
        assert found.container == kind, name
        assert torch.equal(found.state_dict["block.0.attn.q.weight"], state["block.0.attn.q_linear.weight"]), name
        assert {t.dtype for t in found.state_dict.values()} == {torch.float32, torch.int64}, name


def test_timms_averaged_weights_on_request(tmp_path: Path) -> None:
    state, ema = tiny("imagenet", seed=1), tiny("imagenet", seed=2)
    torch.save(timm_container(state, ema), tmp_path / "best.pth.tar")
    torch.save(state, tmp_path / "plain.pth")
    found = open_checkpoint(tmp_path / "best.pth.tar", weights="ema", **SIZES)
    assert found.container == "{'state_dict_ema': …}"
    assert torch.equal(found.state_dict["head.bias"], ema["head.bias"])
    with pytest.raises(CheckpointError, match="holds no averaged weights"):
        open_checkpoint(tmp_path / "plain.pth", weights="ema", **SIZES)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"T": 6, "num_heads": 4, "img_size": 48}, (6, 4, [48, 48])),
        ({"time_step": 5, "num_heads": 8, "img_size_h": 32, "img_size_w": 64}, (5, 8, [32, 64])),
    ],
)
def test_settings_of_the_training_script_are_believed(
    args: dict[str, int], expected: tuple[int, int, list[int]], tmp_path: Path
) -> None:
    torch.save(timm_container(tiny("cifar10"), {}, **args), tmp_path / "best.pth.tar")
    config = open_checkpoint(tmp_path / "best.pth.tar").config
    assert (config["steps"], config["heads"], config["image_size"]) == expected


@pytest.mark.parametrize(("tokens", "side"), [(64, 128), (16, 64), (1, 16)])
def test_position_embeddings_tell_the_image_size(tokens: int, side: int, tmp_path: Path) -> None:
    torch.save(tiny("cifar10dvs", tokens=tokens), tmp_path / "a.pth")
    assert open_checkpoint(tmp_path / "a.pth", steps=4, heads=2).config["image_size"] == [side, side]


def test_shapes_tell_widths_depth_channels_and_classes(tmp_path: Path) -> None:
    state = filled(upstream_shapes("imagenet", dim=24, depth=3, channels=5, classes=7, ratio=3))
    torch.save(state, tmp_path / "a.pth")
    config = open_checkpoint(
        tmp_path / "a.pth", steps=2, heads=3, image_size=(48, 32), pooling=(True, False) * 2
    ).config
    assert [config[key] for key in ("dim", "depth", "in_channels", "classes", "mlp_ratio")] == [24, 3, 5, 7, 3.0]
    assert config["pooling"] == [True, False, True, False]
