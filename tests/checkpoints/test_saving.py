"""Our own checkpoints say what they are, and are written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from snnq.base.errors import CheckpointError, UsageError
from snnq.checkpoints.opening import BUILTIN, load_model, open_checkpoint, save_checkpoint
from snnq.models.registry import ARCHITECTURES, build
from snnq.models.respike.sizes import LAYOUTS as RESPIKE
from snnq.models.staged.sizes import LAYOUTS as STAGED

SMALL: dict[str, Any] = {"dim": 16, "depth": 1, "heads": 2, "steps": 4, "classes": 4, "image_size": [20, 12]}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_round_trip_asks_nothing(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    sizes = SMALL | ({"depth": 4} if name in STAGED else {"depth": 10} if name in RESPIKE else {})
    sizes |= {"image_size": [16, 32]} if name == "respike-pooled" else {}
    model = build(name, sizes)
    save_checkpoint(tmp_path / "a.safetensors", model, architecture=name, facts={"data": "random", "epochs": "3"})
    found = open_checkpoint(tmp_path / "a.safetensors")
    assert (found.architecture, found.data, found.dropped) == (name, "random", ())
    assert {key: found.config[key] for key in SMALL} == sizes
    loaded = load_model(found).state_dict()
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in model.state_dict().items())
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["snnq"])["epochs"] == "3"
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        torch.manual_seed(2)
        model = build("spikformer-cifar10", SMALL)
        save_checkpoint(tmp_path / name, model, architecture="spikformer-cifar10", facts={"data": "random"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert open_checkpoint(tmp_path / "a").sha256 == open_checkpoint(tmp_path / "b").sha256


def test_given_sizes_must_agree(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, build("spikformer-cifar10", SMALL), architecture="spikformer-cifar10", facts={})
    open_checkpoint(path, steps=4, heads=2, image_size=(20, 12), pooling=(False, False, True, True))
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"steps": 3}, "--steps 3 contradicts the file, which records 4"),
        ({"image_size": (20, 20)}, "--image-size 20x20 contradicts the file, which records 20x12"),
        ({"pooling": (True,) * 4}, "--pooling 1111 contradicts the file, which records 0011"),
    )
    for given, words in cases:
        with pytest.raises(CheckpointError, match=words):
            open_checkpoint(path, **given)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("{", "must be JSON"),
        ('{"architecture": "spikformer-cifar10"}', "must be JSON with 'architecture' and 'config'"),
        ('{"architecture": "resnet", "config": {}}', "found 'resnet'"),
        ('{"architecture": "spikformer-cifar10", "config": {"dim": 16}}', "config lacks"),
    ],
)
def test_damaged_descriptions(own: str, words: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"snnq": own})
    with pytest.raises(CheckpointError, match=words) as caught:
        open_checkpoint(tmp_path / "a.safetensors")
    assert caught.value.exit_code == 2


def test_sizes_in_the_description_must_fit_the_tensors(tmp_path: Path) -> None:
    model = build("spikformer-cifar10", SMALL)
    config = ARCHITECTURES["spikformer-cifar10"].default_config() | SMALL
    for change, words in (
        ({"dim": 24}, "has shape"),
        ({"depth": 2}, "keys missing"),
        ({"heads": 3}, "multiple of heads"),
        ({"image_size": 20}, "a.safetensors"),
    ):
        own = json.dumps({"architecture": "spikformer-cifar10", "config": config | change})
        save_file(model.state_dict(), tmp_path / "a.safetensors", {"snnq": own})
        with pytest.raises(CheckpointError, match=words):
            open_checkpoint(tmp_path / "a.safetensors")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    model = build("spikformer-cifar10", SMALL)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(Path("/dev/null/a"), model, architecture="spikformer-cifar10", facts={})
    with pytest.raises(UsageError, match="did you mean 'spikformer-cifar10'"):
        save_checkpoint(tmp_path / "a", model, architecture="spikformer-cifar1", facts={})
    assert list(tmp_path.iterdir()) == []


def test_builtin_names_are_not_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint("mine", build("spikformer-cifar10", SMALL), architecture="spikformer-cifar10", facts={})
    monkeypatch.setitem(BUILTIN, "digits", tmp_path / "mine")
    assert open_checkpoint("digits").path == "digits"
    with pytest.raises(CheckpointError, match="no such file"):
        open_checkpoint(Path("digits"))
