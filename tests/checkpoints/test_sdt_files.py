"""Spike-Driven Transformer and STAtten checkpoints: upstream's containers, what tells the variants apart, grafting."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

import snnq
from snnq.checkpoints.keymaps import KEYS
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cli.main import run
from snnq.errors import CheckpointError, OutputExistsError, UsageError
from snnq.models.registry import architecture

SIZES: dict[str, Any] = {"dim": 16, "depth": 2, "heads": 2, "steps": 4, "classes": 3, "image_size": [16, 16]}
GIVEN: dict[str, Any] = {"steps": 4, "heads": 2, "image_size": (16, 16)}
NAMES = next(keys for keys in KEYS if keys.architecture == "sdt-static")


def upstream(name: str, **changes: Any) -> dict[str, torch.Tensor]:
    """A state dict as upstream's own class has it, with what its forward pass never uses."""
    torch.manual_seed(0)
    state = architecture(name).build(SIZES | changes).state_dict()
    found = {NAMES.upstream_name(key): value for key, value in state.items()}
    found |= {f"block.{i}.attn.talking_heads.weight": torch.zeros(2, 2, 1) for i in (0, 1)}
    if "plif" in changes.values():
        found |= {f"block.{i}.attn.attn_lif.w": torch.zeros(()) for i in (0, 1)} | {
            "patch_embed.rpe_lif.w": torch.ones(())
        }
    return found


@pytest.mark.parametrize("name", ["sdt-static", "sdt-dvs"])
@pytest.mark.parametrize("neuron", ["lif", "plif"])
def test_timms_container_opens_and_is_named(name: str, neuron: str, tmp_path: Path) -> None:
    state = upstream(name, neuron=neuron)
    settings = Namespace(time_steps=4, num_heads=2, img_size=16, pooling_stat="0011")
    torch.save({"epoch": 3, "arch": "sdt", "state_dict": state, "args": settings}, tmp_path / "best.pth.tar")
    found = snnq.inspect(tmp_path / "best.pth.tar")
    assert found.checkpoint.architecture == name
    assert found.checkpoint.config["neuron"] == neuron
    assert found.checkpoint.config["steps"] == 4
    assert len(found.checkpoint.dropped) == (5 if neuron == "plif" else 2)
    assert len(found.layers) == 18
    model = load_model(found.checkpoint)
    assert torch.equal(
        model.get_submodule("block.1.attn.q").get_parameter("weight"), state["block.1.attn.q_conv.weight"]
    )


def test_the_training_scripts_settings_tell_statten_apart(tmp_path: Path) -> None:
    settings = Namespace(T=4, num_heads=2, img_size=16, chunk_size=2, dvs_mode=True)
    torch.save({"state_dict": upstream("sdt-dvs"), "args": settings}, tmp_path / "statten.pth")
    found = open_checkpoint(tmp_path / "statten.pth")
    assert (found.architecture, found.config["chunk"]) == ("statten-dvs", 2)


def test_an_unknown_key_and_a_missing_one_are_named(tmp_path: Path) -> None:
    state = upstream("sdt-dvs")
    torch.save(state | {"block.0.attn.extra.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match=r"unexpected: 'block\.0\.attn\.extra\.weight' .*sdt-static"):
        open_checkpoint(tmp_path / "more.pth", **GIVEN)
    del state["patch_embed.rpe_bn.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=r"missing: 'patch_embed\.rpe_bn\.weight' .*sdt-static"):
        open_checkpoint(tmp_path / "less.pth", **GIVEN)


@pytest.mark.parametrize("neuron", ["lif", "plif"])
def test_graft_keeps_every_weight(neuron: str, tmp_path: Path) -> None:
    torch.save(upstream("sdt-dvs", neuron=neuron), tmp_path / "sdt.pth")
    before = open_checkpoint(tmp_path / "sdt.pth", **GIVEN)
    found = snnq.graft(tmp_path / "sdt.pth", chunk=4, out=tmp_path / "statten.safetensors", **GIVEN)
    assert (found.architecture, found.chunk, found.attention_scale) == ("statten-dvs", 4, 2**-6)  # 1/(4·4·4)
    after = open_checkpoint(tmp_path / "statten.safetensors")
    renamed = {key.replace("talking_heads_lif", "attn_lif"): value for key, value in before.state_dict.items()}
    assert renamed.keys() == after.state_dict.keys()
    assert all(torch.equal(value, after.state_dict[key]) for key, value in renamed.items())


def test_graft_on_the_built_in_spikformer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "digits.safetensors"
    assert run(["graft", "digits", "--attention", "statten", "--chunk", "2", "--out", str(out)]) == 0
    assert "spikformer-cifar10dvs" in capsys.readouterr().out
    found = open_checkpoint(out)
    assert (found.config["chunk"], found.config["attention_scale"], found.data) == (2, 0.125, "digits")
    frames = torch.poisson(torch.full((2, 4, 2, 16, 16), 0.5), generator=torch.Generator().manual_seed(0))
    one = snnq.graft("digits", chunk=1, scale=0.25, out=tmp_path / "one.safetensors")
    with torch.no_grad():
        own = load_model(open_checkpoint("digits"))(frames)
        assert torch.allclose(load_model(open_checkpoint(one.out))(frames), own, atol=1e-5)
        assert not torch.allclose(load_model(found)(frames), own, atol=1e-3)
    with pytest.raises(OutputExistsError):
        snnq.graft("digits", chunk=2, out=out)
    with pytest.raises(UsageError, match="chunk: found 3"):
        snnq.graft("digits", chunk=3, out=tmp_path / "three.safetensors")
    with pytest.raises(UsageError, match="did you mean 'statten'"):
        snnq.graft("digits", attention="stattn", chunk=2, out=tmp_path / "other.safetensors")
