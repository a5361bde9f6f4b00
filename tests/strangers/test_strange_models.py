"""Networks whose weights are shared, computed, lazy or hidden: made plain, said, or refused before anything is run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import odd_networks
import pytest
import torch
from strange_inputs import Row, check, rows
from torch import nn

from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cli.main import run
from snnq.models.registry import OWN

SIZES = ["--steps", "2", "--image-size", "8"]
DATA = ["--data", "random,samples=16"]


def network(folder: Path, how: str, function: str = "build") -> list[str]:
    """Write a checkpoint of an odd network and return the words that name it."""
    OWN.clear()
    torch.manual_seed(0)
    shutil.copy(odd_networks.__file__, folder / "odd_networks.py")
    built = odd_networks.build(how) if function == "build" else odd_networks.twice()
    built = odd_networks.build("plain") if how == "lazy" else built
    torch.save(built.state_dict(), folder / "net.pth")
    own = ["--model", f"odd_networks.py:{function}"]
    return ["net.pth", *SIZES, *own, *(["--model-arg", f"how={how}"] if function == "build" else [])]


def inspect(how: str, function: str = "build"):
    return lambda folder: ["inspect", *network(folder, how, function)]


def search(how: str):
    return lambda folder: ["search", *network(folder, how), *DATA, "--epochs", "1", "--batch-size", "4"]


TABLE = (
    Row("one weight of two layers", search("tied parameter"), 2, r"'second.weight' and 'third.weight' are one tensor"),
    Row("a view of a layer's weight", inspect("view of a weight"), 2, r"'second.weight' and 'third.weight' are one"),
    Row("one layer under two names", search("module under two names"), 2, r"'second.weight' and 'third.weight'"),
    Row("one layer at two places", inspect("", "twice"), 2, r"'2.weight' and '4.weight' are one tensor"),
    Row("another name for a weight", inspect("alias of a weight"), 2, r"'alias' and 'second.weight' are one tensor"),
    Row("one norm under two names", inspect("norm under two names"), 2, r"'norm.weight' and 'norm2.weight' are one"),
    Row("a lazy layer", inspect("lazy"), 2, r"layer 'second' is a LazyLinear, which has no shape"),
    Row("a norm without statistics", inspect("no statistics"), 2, r"norm 'norm' keeps no running statistics"),
    Row("a layer that is never called", inspect("never called"), 0, r"Never called as modules: spare\."),
    Row(
        "a weight that a function takes",
        inspect("functional"),
        0,
        r"Never called as modules: second\. Their",
    ),
    Row(
        "a weight that a function takes, too",
        inspect("tied decoder"),
        0,
        r"beside their layers' own calls: the weights of second\. .* is in no cost",
    ),
    Row("torch's attention", inspect("attention"), 0, r"Never called as modules: attention.out_proj\."),
    Row("a computed weight", inspect("weight_norm"), 0, r"no longer computed from other tensors: second.weight"),
)


@rows(*TABLE)
def test_it_is_said_or_refused_at_the_start(row: Row, tmp_path: Path, monkeypatch, capfd) -> None:
    check(row, tmp_path, monkeypatch, capfd)
    assert not (tmp_path / "plan.json").exists()


COMPUTED = (
    *("weight_norm", "weight_norm parametrization", "spectral_norm", "spectral_norm parametrization"),
    "orthogonal",
)


@pytest.mark.parametrize("how", [*COMPUTED, "called twice", "shared neurons", "functional", "never called", "plain"])
def test_opened_networks_compute_what_the_users_own_does(how: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    network(tmp_path, how)
    theirs = odd_networks.build(how)
    theirs.load_state_dict(torch.load("net.pth", weights_only=True))
    given = {"steps": 2, "image_size": (8, 8), "model": "odd_networks.py:build", "arguments": {"how": how}}
    ours = load_model(open_checkpoint("net.pth", **given))
    frames = torch.poisson(torch.full((3, 2, 2, 8, 8), 1.0), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(frames), theirs.eval()(frames), rtol=1e-6, atol=1e-6)
    assert isinstance(ours.get_submodule("second").weight, nn.Parameter)


@pytest.mark.parametrize("how", ["weight_norm", "orthogonal", "called twice", "shared neurons", "no gradient"])
def test_the_whole_way(how: str, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    words = network(tmp_path, how)
    assert run(["plan", "uniform", *words, "--scheme", "uniform-4", "--out", "plan.json"]) == 0
    own = ["--model", "odd_networks.py:build"]
    assert run(["finalize", *own, *DATA, "--epochs", "1", "--batch-size", "4", "--measure", "2"]) == 0
    capfd.readouterr()
    assert run(["verify", "--json", *own]) == 0
    assert json.loads(capfd.readouterr().out)["layers"][1]["name"] == "second"


@pytest.mark.parametrize("scheme", ["uniform-4", "power-of-two-4"])
def test_the_largest_and_smallest_weights_go_the_whole_way(scheme: str, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    words = network(tmp_path, "plain")
    state = torch.load("net.pth", weights_only=True)
    state["second.weight"][0, 0], state["second.weight"][1] = 9e17, 0.0  # larger ones are refused at opening
    state["third.weight"][2] = 1e-44
    torch.save(state, "net.pth")
    assert run(["plan", "uniform", *words, "--scheme", scheme, "--out", "plan.json"]) == 0
    own = ["--model", "odd_networks.py:build"]
    assert run(["finalize", *own, *DATA, "--epochs", "1", "--batch-size", "4", "--measure", "2"]) == 0
    assert run(["verify", *own]) == 0
    assert run(["report"]) == 0
    capfd.readouterr()
