"""Spike-Driven Transformer and STAtten checkpoints: upstream's containers, what tells the variants apart, grafting."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

import snnq
from snnq.base.errors import CheckpointError, OutputExistsError, UsageError
from snnq.checkpoints.keymaps import every_keys
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.checkpoints.sizes import sizes_again
from snnq.cli.main import run
from snnq.models.registry import architecture

SIZES: dict[str, Any] = {"dim": 16, "depth": 2, "heads": 2, "steps": 4, "classes": 3, "image_size": [16, 16]}
GIVEN: dict[str, Any] = {"steps": 4, "heads": 2, "image_size": (16, 16), "pooling": (False, False, True, True)}
NAMES = next(keys for keys in every_keys() if keys.architecture == "sdt-static")


def upstream(name: str, **changes: Any) -> dict[str, torch.Tensor]:
    """A state dict as upstream's own class has it, with what its forward pass never uses."""
    torch.manual_seed(0)
    state = architecture(name).build(SIZES | changes).state_dict()
    found = {NAMES.upstream_name(key): value for key, value in state.items()}
    found |= {f"block.{i}.attn.talking_heads.weight": torch.zeros(2, 2, 1) for i in (0, 1)}
    if changes.get("neuron") == "plif":
        found |= {f"block.{i}.attn.attn_lif.w": torch.zeros(()) for i in (0, 1)} | {
            "patch_embed.rpe_lif.w": torch.ones(())
        }
    return found


@pytest.mark.parametrize("name", ["sdt-static", "sdt-dvs"])
@pytest.mark.parametrize("neuron", ["lif", "plif"])
def test_timms_container_opens_and_is_named(name: str, neuron: str, tmp_path: Path) -> None:
    state = upstream(name, neuron=neuron)
    settings = Namespace(time_steps=4, num_heads=2, img_size=16, pooling_stat="0011", dvs_mode=name == "sdt-dvs")
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
    settings = Namespace(T=4, num_heads=2, img_size=16, pooling_stat="0111", chunk_size=2, dvs_mode=True)
    torch.save({"state_dict": upstream("sdt-dvs"), "args": settings}, tmp_path / "statten.pth")
    found = open_checkpoint(tmp_path / "statten.pth")
    assert (found.architecture, found.config["chunk"]) == ("statten-dvs", 2)
    assert found.config["pooling"] == [False, True, True, True]


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
    given: dict[str, Any] = GIVEN | {"architecture": "sdt-dvs"}
    before = open_checkpoint(tmp_path / "sdt.pth", **given)
    found = snnq.graft(tmp_path / "sdt.pth", chunk=4, out=tmp_path / "statten.safetensors", **given)
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


def refusal(path: Path, **given: Any) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, **given)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("channels", "said", "typed"),
    [
        (
            3,
            "--architecture: sdt-static or statten-static have the same keys",
            "--architecture sdt-static --steps 4 --heads 8 --image-size 224x224 --pooling 1111 (ImageNet)",
        ),
        (
            2,
            "--architecture: sdt-static, sdt-dvs, statten-static or statten-dvs have the same keys",
            "--architecture sdt-static --steps 16 --heads 8 --image-size 128x128 --pooling 0111 (DVS128 Gesture)",
        ),
    ],
)
def test_weights_alone_are_asked_for_all_they_do_not_tell(channels: int, said: str, typed: str, tmp_path: Path) -> None:
    torch.save(upstream("statten-static", in_channels=channels), tmp_path / "a.pth")
    problem = refusal(tmp_path / "a.pth")
    for option in ("steps", "heads", "image-size", "pooling", "chunk"):
        assert f"(--{option})" in problem.message
    assert said in problem.message
    assert typed in str(problem.hint)
    assert "--architecture" not in refusal(tmp_path / "a.pth", architecture="sdt-static").message
    problem = refusal(tmp_path / "a.pth", architecture="statten-static", **GIVEN)
    assert problem.message.endswith("does not say its time steps that attention mixes at once (--chunk)")
    found = open_checkpoint(tmp_path / "a.pth", architecture="statten-static", chunk=2, **GIVEN)
    assert (found.architecture, found.config["chunk"]) == ("statten-static", 2)
    assert found.config["attention_scale"] == 1 / 4  # of four rows
    problem = refusal(tmp_path / "a.pth", architecture="sdt-static", chunk=2, **GIVEN)
    assert "--chunk: sdt-static has no such size" in problem.message


def test_gesture_was_trained_without_the_poolings_of_events(tmp_path: Path) -> None:
    """Upstream's script puts them in for CIFAR10-DVS alone, and records so."""
    settings = Namespace(time_steps=16, num_heads=2, img_size=128, pooling_stat="0111", dvs_mode=False)
    torch.save({"state_dict": upstream("sdt-static", in_channels=2), "args": settings}, tmp_path / "gesture.pth")
    found = open_checkpoint(tmp_path / "gesture.pth")
    assert (found.architecture, found.config["pooling"]) == ("sdt-static", [False, True, True, True])
    problem = refusal(tmp_path / "gesture.pth", architecture="sdt-dvs")
    assert "--architecture sdt-dvs contradicts the file" in problem.message
    assert "sdt-static" in str(problem.hint)


@pytest.mark.parametrize("settings", [{}, {"chunk_size": 2, "dvs_mode": False, "pooling_stat": "0011"}])
def test_stattens_own_leaks_open(settings: dict[str, Any], tmp_path: Path) -> None:
    """Its code gives them to the MLPs and the head alone."""
    state = upstream("statten-static", neuron="plif-mlp", in_channels=3)
    assert sum(key.endswith("_lif.w") for key in state) == 5
    state["block.1.mlp.fc2_lif.w"] += 1.5
    torch.save({"state_dict": state, "args": Namespace(**settings)}, tmp_path / "a.pth")
    found = open_checkpoint(tmp_path / "a.pth", chunk=2, **GIVEN)
    assert (found.architecture, found.config["neuron"]) == ("statten-static", "plif-mlp")
    assert load_model(found).state_dict()["block.1.mlp.fc2_lif.w"] == 1.5


def test_leaks_everywhere_are_the_spike_driven_transformers_or_said_to_be_stattens(tmp_path: Path) -> None:
    state = upstream("sdt-static", neuron="plif", in_channels=3)  # with the leak of its idle neuron
    torch.save(state, tmp_path / "a.pth")
    assert open_checkpoint(tmp_path / "a.pth", **GIVEN).architecture == "sdt-static"
    given = GIVEN | {"architecture": "statten-static", "chunk": 2}
    found = open_checkpoint(tmp_path / "a.pth", **given)
    assert "block.0.attn.talking_heads_lif.w" in found.dropped
    assert found.state_dict["block.0.attn.attn_lif.w"] == 0
    only = {key: value for key, value in state.items() if "talking_heads_lif" not in key}
    torch.save({"state_dict": only, "args": Namespace(chunk_size=2, dvs_mode=False)}, tmp_path / "b.pth")
    assert open_checkpoint(tmp_path / "b.pth", **GIVEN).architecture == "statten-static"


def test_an_attention_that_the_script_records_and_does_not_pass_on_is_asked_for(tmp_path: Path) -> None:
    settings = Namespace(chunk_size=2, dvs_mode=False, attention_mode="SDT")
    torch.save({"state_dict": upstream("sdt-static"), "args": settings}, tmp_path / "a.pth")
    problem = refusal(tmp_path / "a.pth", **GIVEN)
    assert "sdt-static or statten-static" in problem.message
    assert "--chunk" not in problem.message
    found = open_checkpoint(tmp_path / "a.pth", architecture="statten-static", **GIVEN)
    assert found.config["chunk"] == 2


def test_other_architectures_than_the_keys(tmp_path: Path) -> None:
    torch.save(upstream("sdt-static"), tmp_path / "a.pth")
    problem = refusal(tmp_path / "a.pth", architecture="qkformer-dvs", **GIVEN)
    assert "its keys are those of sdt-static, sdt-dvs, statten-static or statten-dvs" in problem.message
    with pytest.raises(UsageError, match="did you mean 'sdt-static'"):
        open_checkpoint(tmp_path / "a.pth", architecture="sdt-statics")
    with pytest.raises(UsageError, match="--architecture and --model"):
        open_checkpoint(tmp_path / "a.pth", architecture="sdt-static", model="network.py:build")


def test_a_plan_opens_its_checkpoint_as_it_was_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, plan = tmp_path / "a.pth", tmp_path / "plan.json"
    torch.save(upstream("statten-dvs"), path)
    words = ["--architecture", "statten-dvs", "--steps", "4", "--heads", "2", "--image-size", "16x16"]
    words += ["--pooling", "0011", "--chunk", "2"]
    assert run(["inspect", str(path), *words]) == 0
    assert f"snnq search {path} --data SPEC {' '.join(words)}" in capsys.readouterr().err
    assert run(["plan", "uniform", str(path), "--scheme", "uniform-2", "--out", str(plan), *words]) == 0
    model = snnq.Plan.read(plan).model
    again = open_checkpoint(path, **sizes_again(model.architecture, model.config))
    assert (again.architecture, again.config) == ("statten-dvs", model.config)
