"""Spikingformer checkpoints: upstream's containers, what tells the layouts apart, what its scripts record in vain."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from upstream_files import dvs_container, timm_container, tiny

import snnq
from snnq.base.errors import CheckpointError
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cli.main import run
from snnq.models.registry import architecture

SIZES: dict[str, Any] = {"dim": 16, "depth": 2, "classes": 3}
TIMM: dict[str, Any] = {"num_heads": 2, "img_size": 32}
# All settings of cifar10-dvs/train.py that could be taken for a size or tell the layout.
EVENTS: dict[str, Any] = {"T": 6, "T_train": None, "connect_f": "ADD", "dataset": "cifar10dvs", "model": "SEWResNet"}


def upstream(name: str, **changes: Any) -> dict[str, Tensor]:
    """A state dict as upstream's own class has it, with the layer norms that its forward pass never uses."""
    torch.manual_seed(0)
    state = architecture(name).build(SIZES | {"heads": 2} | changes).state_dict()
    parts = [f"block.{i}.norm{part}.{kind}" for i in (0, 1) for part in (1, 2) for kind in ("weight", "bias")]
    return dict(state) | {part: torch.ones(16) for part in parts}


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("spikingformer-dvs", EVENTS, (6, 16, [128, 128])),  # heads (of this width) and image size are written out
        ("spikingformer-cifar10", TIMM | {"time_step": 4}, (4, 2, [32, 32])),
        ("spikingformer-imagenet", TIMM | {"time_step": 4}, (4, 2, [32, 32])),
    ],
)
def test_the_containers_of_upstreams_scripts_ask_nothing(
    name: str, args: dict[str, Any], expected: tuple[int, int, list[int]], tmp_path: Path
) -> None:
    state = upstream(name, dim=256 if name.endswith("dvs") else 16)
    content = dvs_container(state, **args) if name.endswith("dvs") else timm_container(state, state, **args)
    torch.save(content, tmp_path / "model_best.pth.tar")
    found = snnq.inspect(tmp_path / "model_best.pth.tar")
    config = found.checkpoint.config
    assert (found.checkpoint.architecture, found.checkpoint.layout) == (name, name)
    assert (config["steps"], config["heads"], config["image_size"]) == expected
    assert len(found.checkpoint.dropped) == 8
    assert len(found.layers) == 5 + 2 * 6 + 1
    loaded = load_model(found.checkpoint).state_dict()
    assert loaded.keys() == state.keys() - set(found.checkpoint.dropped)
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.items())


def test_steps_that_never_reach_the_model_are_not_believed(tmp_path: Path) -> None:
    torch.save(timm_container(upstream("spikingformer-cifar10"), {}, time_step=6, **TIMM), tmp_path / "a.pth")
    assert open_checkpoint(tmp_path / "a.pth").config["steps"] == 4
    assert open_checkpoint(tmp_path / "a.pth", steps=6).config["steps"] == 6


@pytest.mark.parametrize(
    ("channels", "settings", "layout"),
    [(2, {}, "dvs"), (3, {}, "imagenet"), (3, {"connect_f": "ADD"}, "dvs")],
)
def test_channels_and_settings_tell_events_from_images(
    channels: int, settings: dict[str, Any], layout: str, tmp_path: Path
) -> None:
    state = upstream("spikingformer-dvs", in_channels=channels)
    torch.save({"state_dict": state, "args": Namespace(**settings)}, tmp_path / "a.pth")
    found = open_checkpoint(tmp_path / "a.pth", steps=4, heads=2, image_size=(32, 32))
    assert found.architecture == f"spikingformer-{layout}"


def test_what_no_file_says_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "plain.pth"
    torch.save(upstream("spikingformer-cifar10"), path)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert caught.value.message.endswith("does not say its attention heads (--heads), image size (--image-size)")
    torch.save(upstream("spikingformer-dvs"), path)
    assert run(["inspect", str(path)]) == 2
    assert "does not say its time steps (--steps)" in capsys.readouterr().err
    assert run(["inspect", str(path), "--steps", "4", "--heads", "2", "--image-size", "64"]) == 0
    assert "spikingformer-dvs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["spikingformer-dvs", "spikingformer-cifar10", "spikingformer-imagenet"])
def test_an_unknown_key_and_a_missing_one_are_named(name: str, tmp_path: Path) -> None:
    state = upstream(name)
    torch.save(state | {"block.0.attn.extra.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match=rf"unexpected: 'block\.0\.attn\.extra\.weight' .*{name}"):
        open_checkpoint(tmp_path / "more.pth")
    del state["block.1.mlp.mlp2_bn.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=rf"missing: 'block\.1\.mlp\.mlp2_bn\.weight' .*{name}"):
        open_checkpoint(tmp_path / "less.pth")


def test_parts_of_other_layouts_are_named(tmp_path: Path) -> None:
    mixed = {key.replace("block0_", "proj_"): tensor for key, tensor in upstream("spikingformer-cifar10").items()}
    torch.save(mixed, tmp_path / "mixed.pth")
    with pytest.raises(CheckpointError, match=r"6 keys missing: 'patch_embed\.block0_conv\.weight'.*-cifar10 of"):
        open_checkpoint(tmp_path / "mixed.pth")
    torch.save(tiny("cifar10dvs"), tmp_path / "spikformer.pth")
    assert open_checkpoint(tmp_path / "spikformer.pth", steps=4, heads=2).architecture == "spikformer-cifar10dvs"


def test_contradictions_are_named(tmp_path: Path) -> None:
    torch.save(timm_container(upstream("spikingformer-imagenet"), {}, **TIMM), tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"--heads 4 contradicts the file, which records 2 \(args\.num_heads\)"):
        open_checkpoint(tmp_path / "a.pth", heads=4)
    state = upstream("spikingformer-dvs", dim=24)
    torch.save({key: tensor for key, tensor in state.items() if "norm1" not in key}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"dim: found 24, it must be a multiple of heads \(16\)"):
        open_checkpoint(tmp_path / "b.pth", steps=4, heads=16)
    torch.save(upstream("spikingformer-dvs", in_channels=1), tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=r"architecture \(--architecture: spikingformer-dvs or spiking"):
        open_checkpoint(tmp_path / "c.pth", steps=4)
