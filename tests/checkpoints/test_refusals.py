"""Every file that cannot be opened is one clear sentence and exit code 2, and nothing in it runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from upstream_files import dvs_container, timm_container, tiny

from snnq.base.errors import CheckpointError
from snnq.checkpoints.opening import open_checkpoint

State = dict[str, Tensor]
SIZES: dict[str, Any] = {"steps": 4, "heads": 2, "image_size": (32, 32)}


def refused(path: Path | str, *words: str, **given: Any) -> CheckpointError:
    """Open the file, and return the error after checking that it is one sentence with these words."""
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, **given)
    problem = caught.value
    assert problem.exit_code == 2
    assert "\n" not in problem.message
    assert problem.message.startswith(str(path))
    assert [word for word in words if word not in problem.message + problem.hint] == []
    return problem


class Malice:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_plain_malicious_pickle_does_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"model": Malice(marker)}, protocol=protocol))
    refused(tmp_path / "a.pth")
    assert not marker.exists()
    pickle.loads((tmp_path / "a.pth").read_bytes())
    assert marker.exists()  # the file is malicious indeed


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("where", ["beside", "inside"])
def test_malice_in_a_torch_file_does_not_run(tmp_path: Path, zipped: bool, where: str) -> None:
    marker, state = tmp_path / "ran", tiny("cifar10")
    content: dict[str, Any] = dvs_container(state, T=4)
    if where == "beside":
        content["epoch"] = Malice(marker)
    else:
        content["model"] = {**state, "head.bias": Malice(marker)}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "a.pth", "system", "nothing of the file was run", **SIZES)
    assert not marker.exists()


def test_nothing_beyond_the_allow_list(tmp_path: Path) -> None:
    torch.save({"model": tiny("cifar10"), "where": slice(3)}, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "slice", "neither a tensor nor a plain setting", **SIZES)
    torch.save(torch.nn.Linear(1, 1), tmp_path / "b.pth")
    refused(tmp_path / "b.pth", "torch.nn.modules.linear.Linear", **SIZES)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.95])
def test_truncated_torch_files(tmp_path: Path, zipped: bool, part: float) -> None:
    torch.save(tiny("cifar10dvs"), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(whole[: int(part * len(whole))])
    refused(tmp_path / "a.pth", "truncated")


@pytest.mark.parametrize("size", [4, 9, 1000, -4])
def test_truncated_safetensors(tmp_path: Path, size: int) -> None:
    save_file(tiny("cifar10dvs"), tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(whole[:size])
    refused(tmp_path / "a.safetensors", "truncated")


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    refused(tmp_path / "absent.pth", "no such file")
    (tmp_path / "empty.pth").touch()
    refused(tmp_path / "empty.pth", "is empty")
    (tmp_path / "notes.txt").write_text("not a checkpoint at all\n" * 10)
    refused(tmp_path / "notes.txt", "cannot be read as a checkpoint")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], ["holds a list", "state dict"]),
        ({}, ["is empty"]),
        ({"model": {}}, ["no state dict", "'model' (empty)"]),
        ({"epoch": 3, "lr": 0.1}, ["no state dict", "'epoch' (int), 'lr' (float)"]),
        ({"net": {"a": torch.zeros(1)}}, ["no spiking transformer known here", "'a'"]),
    ],
)
def test_contents_that_are_no_state_dict(tmp_path: Path, content: Any, words: list[str]) -> None:
    torch.save(content, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", *words)


def changed(state: State, **changes: Tensor | None) -> State:
    """Return the state with keys (dots written as two underscores) set, or removed where None."""
    new = {**state, **{key.replace("__", "."): value for key, value in changes.items()}}
    return {name: value for name, value in new.items() if value is not None}


FINITE = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head__bias": None}, ["key missing: 'head.bias'", "spikformer-cifar10"]),
        ({"block__1__mlp__fc2_bn__running_var": None}, ["key missing: 'block.1.mlp.fc2_bn.running_var'"]),
        ({"patch_embed__extra": FINITE}, ["key unexpected: 'patch_embed.extra'"]),
        ({"head__bias": None, "head__bais": FINITE}, ["missing: 'head.bias'", "unexpected: 'head.bais'"]),
        ({"head__bias": torch.zeros(4)}, ["key 'head.bias' has shape (4,)", "needs (3,)", "dim 16"]),
        ({"head__weight": torch.zeros(3, 17)}, ["key 'head.weight' has shape (3, 17)", "needs (3, 16)"]),
        ({"block__0__attn__q_linear__weight": torch.zeros(16, 16, 1)}, ["'block.0.attn.q_linear.weight' has 3 dim"]),
        ({"block__1__mlp__fc1_linear__weight": torch.zeros(32, 16)}, ["'block.1.mlp.fc1_linear.weight'", "(64, 16)"]),
        ({"head__bias": FINITE.long()}, ["key 'head.bias' holds torch.int64", "floating-point"]),
        ({"head__bias": FINITE / 0}, ["key 'head.bias'", "infinite or not numbers"]),
        ({"pos_embed": torch.zeros(64, 16)}, ["key 'pos_embed' has shape (64, 16)", "(1, tokens, dim)"]),
    ],
)
def test_one_wrong_key_is_named(tmp_path: Path, change: dict[str, Tensor | None], words: list[str]) -> None:
    torch.save(changed(tiny("cifar10"), **change), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", *words, **SIZES)


def test_a_missing_block_is_named(tmp_path: Path) -> None:
    state = {name: t for name, t in tiny("cifar10dvs", depth=3).items() if not name.startswith("block.1.")}
    torch.save(state, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "keys missing: 'block.1.attn.q_conv.weight'", "keys unexpected: 'block.2.")


def test_everything_the_file_does_not_say_is_asked_at_once(tmp_path: Path) -> None:
    torch.save(tiny("imagenet"), tmp_path / "a.pth")
    problem = refused(tmp_path / "a.pth", "(--heads)", "(--image-size)")
    assert "--steps" not in problem.message  # they are written out in its forward pass
    assert problem.hint.endswith("--heads 8 --image-size 224x224")
    torch.save(tiny("cifar10"), tmp_path / "c.pth")
    problem = refused(tmp_path / "c.pth", "(--steps)", "(--heads)", "(--image-size)")
    assert problem.hint.endswith("--steps 4 --heads 12 --image-size 32x32")
    assert "--steps" not in refused(tmp_path / "c.pth", "--heads", steps=4).message
    torch.save(dvs_container(tiny("cifar10dvs"), T=16), tmp_path / "b.pth")
    assert refused(tmp_path / "b.pth", "its attention heads (--heads)").hint.endswith("--heads 16")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"steps": 8, "heads": 2}, ["--steps 8 contradicts", "records 16 (args.T)"]),
        ({"heads": 2, "image_size": (64, 64)}, ["'pos_embed' has 64 tokens", "64x64", "gives 16"]),
        ({"heads": 2, "pooling": (False, True, True, True), "image_size": (128, 128)}, ["pooling 0111", "gives 256"]),
        ({"heads": 3}, ["dim: found 16", "multiple of heads (3)"]),
        ({"heads": 0}, ["heads: found 0", "at least 1"]),
    ],
)
def test_sizes_that_contradict_the_file(tmp_path: Path, given: dict[str, Any], words: list[str]) -> None:
    torch.save(dvs_container(tiny("cifar10dvs"), T=16), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", *words, **given)


@pytest.mark.parametrize("steps", [0, -4])
def test_impossible_steps(tmp_path: Path, steps: int) -> None:
    torch.save(tiny("cifar10"), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", f"steps: found {steps}", **{**SIZES, "steps": steps})
    torch.save(timm_container(tiny("cifar10"), {}, T=steps), tmp_path / "b.pth")
    refused(tmp_path / "b.pth", f"steps: found {steps}", "args.T", heads=2, image_size=(32, 32))


def test_a_foreign_model_is_told_the_nearest_layout(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(4, 3, 7, 7), "fc.bias": torch.zeros(9)}, tmp_path / "resnet.pth")
    refused(
        tmp_path / "resnet.pth", "no spiking transformer known here", "nearest layout", "'conv1.weight'", "cifar10dvs"
    )
    # Spikingformer: same attention, other names in tokenizer and MLP.
    renamed = {
        name.replace("mlp.fc", "mlp.mlp").replace("patch_embed.proj_conv", "patch_embed.proj"): tensor
        for name, tensor in tiny("cifar10").items()
    }
    torch.save(renamed, tmp_path / "spikingformer.pth")
    refused(tmp_path / "spikingformer.pth", "spikformer-cifar10 of", "32 keys missing", "'patch_embed.proj.weight'")
