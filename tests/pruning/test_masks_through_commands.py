"""A pruned checkpoint goes the whole way, and its masked weights are zero in every engine and in every file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from agreeing import engines_agree
from c_programs import c_agrees, have_gcc
from tiny_checkpoints import CONFIG, save_tiny

import snnq
from snnq.base.errors import CheckpointError, OutputExistsError, PlanError, UsageError, VerificationError
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cli.main import run
from snnq.network.layers import frames_shape
from snnq.packed.loading import load_packed
from snnq.plan import Plan

TINY = ("--batch-size", "8")
QUIET: Any = {"progress": snnq.silent, "batch_size": 8}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path, "float.safetensors", "random,classes=3,samples=16", awake=True)
    return tmp_path


def masks(path: str) -> dict[str, np.ndarray]:
    opened = open_checkpoint(path)
    left = opened.config["structure"][-1]["layers"]
    found = {name: opened.state_dict[f"{name}.weight"].numpy() == 0 for name in left}
    assert {name: int((~mask).sum()) for name, mask in found.items()} == left
    return found


def check_zeros(folder: str, due: dict[str, np.ndarray]) -> None:
    model = load_packed(folder, "float")
    for name, mask in due.items():
        weight = model.get_submodule(name).get_parameter("weight").numpy()
        assert not weight[mask].any(), name
        assert weight[~mask].any(), name


@pytest.mark.timeout(600)
def test_prune_search_finalize_verify_every_engine_and_c(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--sparsity", "0.8", "--rounds", "2", "--epochs", "1", *TINY]
    assert run(["prune", "float.safetensors", *words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    due = masks("pruned.safetensors")
    assert "head" not in due
    assert "patch_embed.proj_conv" not in due
    share = sum(mask.sum() for mask in due.values()) / sum(mask.size for mask in due.values())
    assert share == pytest.approx(0.8, abs=1e-3)
    assert {one["name"]: one["left"] for one in said["layers"] if one["name"] in due} == {
        name: int((~mask).sum()) for name, mask in due.items()
    }
    assert run(["prune", "float.safetensors", *words]) == 0
    assert "already the result" in capsys.readouterr().err
    assert run(["inspect", "pruned.safetensors"]) == 0
    assert "layers are masked" in " ".join(capsys.readouterr().out.split())

    space = ["--space", "uniform-2,uniform-4,binary,float32", "--budget", "avg-bits=2.5"]
    assert run(["search", "pruned.safetensors", "--method", "sensitivity", *space, *TINY]) == 0
    assert "binary" not in {layer.scheme for layer in Plan.read("plan.json").layers if layer.name in due}
    assert run(["finalize", "--plan", "plan.json", "--epochs", "1", *TINY]) == 0
    assert run(["verify", "packed"]) == 0
    check_zeros("packed", due)
    capsys.readouterr()
    engines_agree(place / "packed", frames_shape(CONFIG), capsys)
    assert run(["export", "packed", "--to", "c"]) == 0
    assert run(["export", "packed", "--to", "fixed"]) == 0
    assert "mask, and codes" in capsys.readouterr().out
    check_zeros("packed-fixed", due)
    assert run(["report"]) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trained_search_and_every_way_of_ptq_keep_masks(place: Path) -> None:
    snnq.prune("float.safetensors", sparsity=0.7, rounds=0, **QUIET)
    due = masks("pruned.safetensors")
    snnq.search("pruned.safetensors", space=["uniform-2", "power-of-two-2", "float32"], epochs=1, **QUIET)
    snnq.finalize("plan.json", epochs=1, **QUIET)
    check_zeros("packed", due)
    for method in ("rtn", "quantease", "adaround"):
        steps = {"steps_per_round": 2} if method == "adaround" else {}
        snnq.ptq("pruned.safetensors", scheme="uniform-2", method=method, samples=16, out=method, **steps, **QUIET)
        check_zeros(method, due)


@pytest.mark.timeout(300)
def test_what_cannot_be_is_refused_by_name(place: Path) -> None:
    snnq.prune("float.safetensors", sparsity=0.7, rounds=0, **QUIET)
    with pytest.raises(PlanError, match=r"layer patch_embed.proj_conv1: binary has no level at zero"):
        snnq.uniform_plan("binary", checkpoint="pruned.safetensors")
    with pytest.raises(PlanError, match=r"layer patch_embed.proj_conv1: binary has no level at zero"):
        snnq.ptq("pruned.safetensors", scheme="binary", **QUIET)
    with pytest.raises(UsageError, match=r"layer block.0.attn.q: its weights are masked, and binary has no level"):
        snnq.search("pruned.safetensors", lock={"q": "binary"}, method="sensitivity", **QUIET)
    plan = snnq.uniform_plan("uniform-2", checkpoint="pruned.safetensors")
    plan.with_schemes({"block.0.attn.k": "binary"}).write("mixed.json")
    with pytest.raises(PlanError, match=r"layer block.0.attn.k: binary has no level at zero"):
        snnq.finalize("mixed.json", epochs=1, **QUIET)
    with pytest.raises(OutputExistsError, match="not from this checkpoint and settings"):
        snnq.prune("float.safetensors", sparsity=0.6, rounds=0, **QUIET)
    model = load_model(open_checkpoint("pruned.safetensors"))
    with torch.no_grad():
        model.get_submodule("block.0.attn.q").get_parameter("weight").fill_(1)
    save_checkpoint("changed.safetensors", model, architecture="spikformer-cifar10dvs", facts={})
    with pytest.raises(CheckpointError, match=r"masked layer 'block.0.attn.q' has 256 weights that are not zero"):
        open_checkpoint("changed.safetensors")


def test_verify_counts_the_weights_that_a_mask_has_left(place: Path) -> None:
    from snnq.packed.config import read_config
    from snnq.packed.verification import _check_masks

    snnq.prune("float.safetensors", sparsity=0.7, rounds=0, **QUIET)
    snnq.ptq("pruned.safetensors", scheme="uniform-4", method="rtn", samples=16, **QUIET)
    config, name = read_config(Path("packed")), "block.0.attn.q"
    weight = load_packed("packed", "float").get_submodule(name).get_parameter("weight").numpy()
    _check_masks(config, {name: weight})
    with pytest.raises(VerificationError, match=r"layer block.0.attn.q: 256 of its weights are not zero, its mask"):
        _check_masks(config, {name: np.ones_like(weight)})


@pytest.mark.timeout(300)
def test_channels_and_patterns(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prune", "float.safetensors", "--structure", "2:4", "--rounds", "0", "--out", "p.safetensors"]) == 0
    assert all(0.4 <= mask.mean() <= 0.5 for mask in masks("p.safetensors").values())
    capsys.readouterr()
    words = ["--structure", "channels", "--sparsity", "0.5", "--rounds", "1", "--epochs", "1", *TINY]
    assert run(["prune", "float.safetensors", *words, "--out", "narrow.safetensors", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    free = 64 + 2 + 4 + 8
    assert sum(said["channels"].values()) <= free - free // 2 + 3
    assert said["logits_moved"] < 1e-9
    opened = open_checkpoint("narrow.safetensors")
    assert [one["edit"] for one in opened.config["structure"]] == ["narrowed"]
    assert opened.state_dict["block.0.mlp.fc1.weight"].shape[0] == said["channels"]["block.0.mlp.fc1"]
    assert run(["ptq", "narrow.safetensors", "--scheme", "uniform-4", "--samples", "16", *TINY]) == 0
    capsys.readouterr()
    engines_agree(place / "packed", frames_shape(CONFIG), capsys)
    if have_gcc():
        c_agrees(place / "packed", place / "c", np.random.default_rng(1).poisson(0.7, (2, *frames_shape(CONFIG))))


@pytest.mark.timeout(300)
def test_silent_neurons(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "float.safetensors", "--silent", "--samples", "4", "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert all(sum(one["shares"]) == pytest.approx(1) for one in before["layers"])
    made = snnq.mask_silent("float.safetensors", epochs=1, **QUIET)
    assert made.silent_silenced > made.silent_before
    assert run(["profile", "silenced.safetensors", "--silent", "--samples", "4", "--json"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert after["layers"][0]["once"] > 0  # the first neurons encode the frames, and stay as they are
    assert all(one["once"] == 0 for one in after["layers"][1:])
    snnq.ptq("silenced.safetensors", scheme="uniform-4", method="rtn", samples=16, **QUIET)
    assert run(["verify", "packed"]) == 0
    assert all(one.once == 0 for one in snnq.profile("packed", samples=4, progress=snnq.silent).layers[1:])
    assert run(["export", "packed", "--to", "c"]) == 2


def test_silence_by_hand() -> None:
    from functools import partial

    from snnq.structure.silenced import _drop

    spikes = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    dropped = partial(_drop, 1)(torch.nn.Identity(), (), spikes)
    assert dropped.tolist() == [[0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert partial(_drop, 2)(torch.nn.Identity(), (), spikes).sum(0).tolist() == [0, 0, 3, 0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "--sparsity is missing"),
        ({"sparsity": 1.0}, "--sparsity 1: a share from 0 to below 1"),
        ({"sparsity": 0.5, "scope": "layers"}, r"did you mean 'layer'\?"),
        ({"sparsity": 0.5, "structure": "chanels"}, r"did you mean 'channels'\?"),
        ({"sparsity": 0.5, "structure": "2:4"}, "says how many weights go"),
        ({"structure": "2:4", "remove_dead": True}, "weights leave their groups where channels go"),
        ({"structure": "4:4"}, "n of m weights are left"),
        ({"sparsity": 0.5, "rounds": -1}, "--rounds -1"),
        ({"sparsity": 0.5, "epochs": 0}, "--epochs 0"),
    ],
)
def test_words_that_make_no_sense(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        snnq.prune("digits", **words)


def test_silencing_takes_five_epochs_at_most() -> None:
    with pytest.raises(UsageError, match="5 epochs at most"):
        snnq.mask_silent("digits", epochs=6)


@pytest.mark.timeout(300)
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in the second of three rounds: masks, rewound weights and the optimizer's new start come back."""
    from snnq.training.finetuning import Finetuning
    from snnq.training.loop import Position

    words: dict[str, Any] = {"sparsity": 0.8, "rounds": 3, "epochs": 1, **QUIET}
    snnq.prune("float.safetensors", out="whole.safetensors", **words)
    own = Finetuning.step

    def cut(self: Finetuning, place: Position, indices: list[int]) -> Any:
        if place.epoch == 1:
            raise RuntimeError("cut off")
        return own(self, place, indices)

    monkeypatch.setattr(Finetuning, "step", cut)
    with pytest.raises(RuntimeError, match="cut off"):
        snnq.prune("float.safetensors", out="cut.safetensors", **words)
    monkeypatch.setattr(Finetuning, "step", own)
    snnq.prune("float.safetensors", out="cut.safetensors", **words)
    one, other = (open_checkpoint(f"{name}.safetensors").state_dict for name in ("whole", "cut"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
