"""QKFormer and Max-Former checkpoints: upstream's containers, what its code fixes, and what is refused."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

import snnq
from snnq.base.errors import CheckpointError
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cli.main import run
from snnq.models.registry import architecture
from snnq.models.staged.sizes import LAYOUTS as ALL

LAYOUTS = [name for name in ALL if "spikingjelly" not in name]  # those have other names upstream
DEPTHS = {"dvs": 2, "event": 2, "cifar10": 4, "imagenet": 5}
SIZES: dict[str, Any] = {"dim": 64, "steps": 4, "classes": 3, "image_size": [32, 32]}
GIVEN: dict[str, Any] = {"steps": 4, "image_size": (32, 32)}


def upstream(name: str, **changes: Any) -> dict[str, torch.Tensor]:
    """A state dict as upstream's own class has it: the names are ours."""
    torch.manual_seed(0)
    depth = DEPTHS[name.partition("-")[2]]
    return architecture(name).build(SIZES | {"depth": depth} | changes).state_dict()


def test_our_names_are_upstreams() -> None:
    names = {name: set(upstream(name)) for name in LAYOUTS}
    assert {"patch_embed1.proj_res_conv.weight", "stage1.0.tssa.q_conv.weight"} <= names["qkformer-dvs"]
    assert {"patch_embed2.proj3_conv.weight", "stage3.1.ssa.proj_conv.bias"} <= names["qkformer-cifar10"]
    assert {"patch_embed1.proj2_bn.weight", "stage3.0.attn.v_bn.bias", "stage2.1.mlp.fc2_conv.weight"} <= names[
        "qkformer-imagenet"
    ]
    assert {"patch_embed1.max_embed3.embed_conv.weight", "stage1.0.mixer.conv_bn.bias"} <= names["maxformer-event"]
    assert "stage1.0.mlp.fc1_conv.weight" in names["maxformer-cifar10"]
    assert not [name for name in names["maxformer-cifar10"] if name.startswith("stage1.0.mixer")]
    assert {"stage1.0.mixer.conv5.weight", "stage2.1.mixer.conv.bias"} <= names["maxformer-imagenet"]


@pytest.mark.parametrize(
    ("name", "wrapper", "settings", "heads"),
    [
        ("qkformer-dvs", "model", {"T": 4, "T_train": None}, 16),
        ("qkformer-cifar10", "state_dict", {"time_step": 4, "num_heads": 8, "img_size": 32}, 8),
        ("qkformer-imagenet", "model", {"time_step": 4, "input_size": 32}, 1),
        ("maxformer-event", "model", {"T": 4, "dim": 64}, 16),
        # What upstream's file of settings says, and its code never looks at.
        ("maxformer-cifar10", "state_dict", {"time_step": 4, "num_heads": 12, "img_size": 32}, 8),
        ("maxformer-imagenet", "state_dict", {"time_step": 4, "input_size": 32}, 1),
    ],
)
def test_upstreams_containers_open_and_ask_nothing(
    name: str, wrapper: str, settings: dict[str, Any], heads: int, tmp_path: Path
) -> None:
    ratio, state = 2.0, upstream(name, mlp_ratio=2.0)
    content = {"epoch": 3, wrapper: {f"module.{key}": value for key, value in state.items()}}
    torch.save(content | {"args": Namespace(**settings)}, tmp_path / "best.pth.tar")
    found = snnq.inspect(tmp_path / "best.pth.tar")
    config = found.checkpoint.config
    assert (found.checkpoint.architecture, found.checkpoint.layout) == (name, name)
    assert (config["steps"], config["heads"], config["mlp_ratio"]) == (4, heads, ratio)
    assert config["image_size"] == ([128, 128] if "input_size" not in settings and "T" in settings else [32, 32])
    assert config["depth"] == DEPTHS[name.partition("-")[2]]
    loaded = load_model(found.checkpoint).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    assert len(found.layers) == len([key for key in state if key.endswith("weight") and state[key].ndim > 1])


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_plain_state_dict_is_asked_for_what_it_cannot_tell(name: str, tmp_path: Path) -> None:
    torch.save(upstream(name), tmp_path / "plain.pth")
    fixed = name in ("qkformer-dvs", "maxformer-event")
    wanted = r"time steps \(--steps\)" + ("" if fixed else r", image size \(--image-size\)")
    with pytest.raises(CheckpointError, match=f"does not say its {wanted}$"):
        open_checkpoint(tmp_path / "plain.pth")
    assert open_checkpoint(tmp_path / "plain.pth", **GIVEN).config["image_size"] == [32, 32]
    assert open_checkpoint(tmp_path / "plain.pth", heads=4, **GIVEN).config["heads"] == 4
    with pytest.raises(CheckpointError, match=f"--pooling: {name} has no such size"):
        open_checkpoint(tmp_path / "plain.pth", pooling=(True, True, True, True), **GIVEN)


@pytest.mark.parametrize("name", LAYOUTS)
def test_unknown_and_missing_keys_are_named_with_the_nearest_layout(name: str, tmp_path: Path) -> None:
    state = upstream(name)
    torch.save(state | {"stage1.0.extra.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match=rf"unexpected: 'stage1\.0\.extra\.weight' .*{name} of depth"):
        open_checkpoint(tmp_path / "more.pth", **GIVEN)
    del state["patch_embed2.embed1.embed_bn.weight" if "max" in name else "patch_embed2.proj_res_bn.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=rf"missing: 'patch_embed2\..*_bn\.weight' .*{name} of depth"):
        open_checkpoint(tmp_path / "less.pth", **GIVEN)


def test_a_file_told_to_be_what_it_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Max-Former's repository also holds MS-QKFormer; and heads that do not divide."""
    state = upstream("qkformer-cifar10")
    mixed = {key.replace(".tssa.", ".attn.").replace(".ssa.", ".attn."): value for key, value in state.items()}
    torch.save(mixed, tmp_path / "mixed.pth")
    with pytest.raises(CheckpointError, match=r"missing: 'stage1\.0\.tssa\..*compared with qkformer-cifar10"):
        open_checkpoint(tmp_path / "mixed.pth", **GIVEN)
    torch.save(state, tmp_path / "cifar.pth")
    assert run(["inspect", str(tmp_path / "cifar.pth"), "--steps", "4", "--image-size", "32", "--heads", "32"]) == 2
    assert "heads: found 32, it must divide the 16 features of an earlier stage too" in capsys.readouterr().err
    state["stage2.0.mlp.mlp1_conv.weight"] = torch.zeros(7, 32, 1, 1)
    torch.save(state, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"'stage2\.0\.mlp\.mlp1_conv\.weight' has shape \(7, 32, 1, 1\)"):
        open_checkpoint(tmp_path / "odd.pth", **GIVEN)
    torch.save({f"features.{i}.weight": torch.zeros(3) for i in range(9)}, tmp_path / "foreign.pth")
    with pytest.raises(CheckpointError, match="is no spiking transformer known here"):
        open_checkpoint(tmp_path / "foreign.pth", **GIVEN)
