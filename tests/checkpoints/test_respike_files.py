"""Files of ReSpike's released code, and of torchvision's and timm's ResNets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from snnq.base.errors import CheckpointError
from snnq.checkpoints.keymaps import every_keys
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.models.registry import build

SIZES: dict[str, Any] = {"image_size": [32, 32], "dim": 64, "heads": 16, "classes": 5, "steps": 4, "ann_width": 8}
GIVEN: dict[str, Any] = {"steps": 4, "image_size": (32, 32), "key_stride": 4}


def upstream_state(name: str, **sizes: Any) -> dict[str, Tensor]:
    """Return a state dict of a model under upstream's names."""
    torch.manual_seed(0)
    keys = next(one for one in every_keys() if name in one.architectures)
    return {keys.upstream_name(key): one for key, one in build(name, SIZES | sizes).state_dict().items()}


def test_upstreams_names_typed_by_hand() -> None:
    names = upstream_state("respike-pooled", depth=50)
    for name in (
        "ann_layer0.0.weight",
        "ann_layer0.1.running_mean",
        "ann_layer1.0.conv3.weight",
        "ann_layer4.0.downsample.0.weight",
        "ann_layer4.0.downsample.1.bias",
        "snn_backbone.conv1.weight",
        "snn_backbone.layer3.1.bn2.weight",
        "snn_backbone.layer2.0.shortcut.1.weight",
        "snn_backbone.layer2.0.shortcut.2.running_var",
        "snn_backbone.fusion1.proj_in.bias",
        "snn_backbone.fusion4.transformer_blocks.0.attn2.to_out.0.weight",
        "snn_backbone.fusion2.transformer_blocks.0.attn1.to_q.weight",
        "snn_backbone.fusion2.transformer_blocks.0.ff.net.0.proj.weight",
        "snn_backbone.fusion3.transformer_blocks.0.ff.net.2.bias",
        "snn_backbone.fusion3.transformer_blocks.0.norm3.weight",
        "snn_backbone.fusion3.norm.weight",
        "fc.weight",
    ):
        assert name in names


@pytest.mark.parametrize(("name", "depth"), [("respike-cross", 18), ("respike-pooled", 18), ("respike-cross", 50)])
def test_a_file_opens_as_what_its_user_says(name: str, depth: int, tmp_path: Path) -> None:
    # Upstream's file has all four fusions, whatever runs.
    state, path = upstream_state("respike-pooled", depth=depth), tmp_path / "best.pth"
    torch.save(state, path)
    opened = open_checkpoint(path, architecture=name, **GIVEN)
    assert (opened.architecture, opened.config["depth"], opened.config["key_stride"]) == (name, depth, 4)
    assert (opened.config["dim"], opened.config["ann_width"], opened.config["mlp_ratio"]) == (64, 8, 4.0)
    assert all(key.startswith("snn_backbone.fusion1.") for key in opened.dropped)
    assert bool(opened.dropped) == (name == "respike-cross")
    load_model(opened)


def test_what_a_file_does_not_say_is_asked_for(tmp_path: Path) -> None:
    torch.save(upstream_state("respike-pooled"), tmp_path / "best.pth")
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path / "best.pth")
    said = f"{caught.value.message} {caught.value.hint}"
    for word in ("respike-cross or respike-pooled", "--steps", "--image-size", "--key-stride 4 (HMDB-51, UCF-101)"):
        assert word in said
    assert "--heads" not in said


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_a_resnet_of_torchvision_or_timm_opens(depth: int, tmp_path: Path) -> None:
    state = upstream_state("respike-key", depth=depth)
    assert {"conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias", "fc.bias"} <= state.keys()
    # torchvision's own files are of before there were counters.
    state = {key: one for key, one in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "resnet.pth")
    opened = open_checkpoint(tmp_path / "resnet.pth", **GIVEN)
    assert (opened.architecture, opened.config["depth"]) == ("respike-key", depth)
    assert torch.equal(opened.state_dict["ann.layer4.0.downsample_conv.weight"], state["layer4.0.downsample.0.weight"])
    load_model(opened)
