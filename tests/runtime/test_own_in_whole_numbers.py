"""A user's own model is followed to a graph, and goes the whole way in whole numbers; what cannot be says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import odd_networks
import own_networks
import pytest
import torch
from c_programs import c_agrees, have_gcc
from own_networks import Between, Standardised, conv, doubled, written_into
from spikingjelly.activation_based import layer, neuron
from test_engine import all_agree
from torch import nn

import snnq
from snnq.base.errors import PackedError, UsageError, VerificationError
from snnq.checkpoints.opening import open_checkpoint
from snnq.cli.main import run
from snnq.models.neurons import IntegerSpikes
from snnq.models.registry import OWN
from snnq.network.graph import Graph
from snnq.network.graph_file import read_graph, written
from snnq.network.layers import quantisable
from snnq.packed.config import PackedConfig
from snnq.packed.loading import load_packed
from snnq.packed.wired import wiring_of
from snnq.runtime import Engine
from snnq.runtime.comparing import compare_engines

NETWORKS = ("residual", "integrating", "learning")
SPACE = ("--space", "float32,uniform-4,power-of-two-2")
SIZES: dict[str, Any] = {"steps": 3, "image_size": (16, 16)}


@torch.no_grad()
def saved(builder: Callable[[], nn.Module], path: Path) -> Path:
    """Write a checkpoint of a network whose neurons fire."""
    torch.manual_seed(1)
    model = builder()
    for one, _ in quantisable(model).values():
        one.weight.mul_(2.5)
    for norm in [one for one in model.modules() if isinstance(one, nn.BatchNorm1d | nn.BatchNorm2d)]:
        norm.weight.uniform_(-1.5, 2)
        norm.bias.normal_(0.8, 0.4)
        norm.get_buffer("running_var").uniform_(0.3, 1)
    torch.save({"state_dict": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which both networks were searched, finalized and packed, each in a folder of its name."""
    place = tmp_path_factory.mktemp("own")
    data = ["--data", "random,samples=16", "--epochs", "1", "--batch-size", "4"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        shutil.copy(own_networks.__file__, "networks.py")
        for name in NETWORKS:
            own = ["--model", f"networks.py:{name}"]
            saved(getattr(own_networks, name), place / f"{name}.pth")
            sizes = ["--steps", "3", "--image-size", "16"]
            assert run(["search", f"{name}.pth", *data, *sizes, *own, *SPACE, "--out", f"{name}.json"]) == 0
            assert run(["finalize", "--plan", f"{name}.json", *data[2:], *own, "--out", name]) == 0
    return place


@pytest.fixture(params=NETWORKS)
def packed(request: pytest.FixtureRequest, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a network whose code nobody has said to run."""
    monkeypatch.chdir(workplace)
    OWN.clear()
    return request.param


def test_commands_run_it_without_its_code(packed: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = f"networks.py:{packed}"
    assert run(["verify", packed, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engines"]["spikes"] > 0
    accuracies = []
    for words in (["--engine", "integer"], [], ["--model", model]):
        assert run(["eval", packed, "--json", *words]) == 0
        accuracies.append(json.loads(capsys.readouterr().out)["accuracy"])
    assert len(set(accuracies)) == 1
    OWN.clear()
    assert run(["report", packed]) == 0
    assert run(["export", packed, "--to", "c", "--force"]) == 0
    capsys.readouterr()
    assert run(["verify", packed, "--json", "--model", model]) == 0
    assert json.loads(capsys.readouterr().out)["engines"]["spikes"] > 0


def test_all_engines_agree(packed: str, tmp_path: Path) -> None:
    snnq.register_model(f"networks.py:{packed}")
    frames = np.random.default_rng(0).poisson(0.5, (2, 3, 2, 16, 16)).astype(np.uint16)
    frames[0, 0, 0, 0, 0] = 5000  # past the limit of counts
    rates = all_agree(Path(packed), frames)
    assert all(0 < rate < 1 for rate in rates.values()), rates
    engine = Engine(packed)
    stream = engine.stream()
    logits = [stream.step(frames[:, step]) for step in range(3)]
    assert np.array_equal(logits[-1], engine(frames))
    if have_gcc():
        c_agrees(Path(packed), tmp_path / "c", frames)
    OWN.clear()
    with torch.no_grad():  # of its graph alone
        assert np.array_equal(load_packed(packed)(torch.from_numpy(frames.astype(np.float32))), logits[-1])
        assert load_packed(packed, "float")(torch.from_numpy(frames.astype(np.float32))).isfinite().all()


def test_reconstruction_packs_it_too(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    own = ["--model", "networks.py:residual", "--out", "ptq"]
    assert run(["ptq", "--plan", "residual.json", "--batch-size", "4", *own]) == 0
    assert wiring_of(_config(Path("ptq"))).arithmetic == "integer"


def test_the_graph_is_shown_and_checked(tmp_path: Path) -> None:
    path = saved(own_networks.residual, tmp_path / "own.pth")
    found = snnq.inspect(path, model=own_networks.residual, graph=True, **SIZES)
    assert found.graph is not None
    assert found.spikes > 0
    assert (found.graph.streams["kept, flat"].channels, found.graph.streams["hidden"].channels) == (128, 24)
    assert [one.name for one in found.graph.operations].count("add") == 2
    assert written(_read(found.checkpoint.config)) == found.checkpoint.config["graph"]


REASONS: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: Between(nn.Identity(), neuron.LIFNode(v_reset=None, step_mode="m")), "'node' are reset by subtraction"),
    (lambda: Between(nn.Identity(), neuron.QIFNode(step_mode="m")), "'node' are QIFNode, which is neither LIFNode"),
    (lambda: Between(neuron.LIFNode(step_mode="m")), "neurons between are given spikes, or sums of them, by no layer"),
    (lambda: Between(lambda x: x, conv=conv(stride=(2, 1))), "layer conv sees spikes by a kernel or stride"),
    (lambda: Between(torch.relu), "torch's relu has no operation here"),
    (lambda: Between(layer.AvgPool2d(2, step_mode="m")), "it averages parts of images (torch's avg_pool2d)"),
    (lambda: Between(layer.MaxPool2d(2, 1, dilation=2, step_mode="m")), "is not of squares, padded by at most 1"),
    (lambda: Between(written_into), "it writes into a tensor (torch's __setitem__)"),
    (lambda: Between(lambda x: torch.from_numpy(x.numpy()).clone()), "reads numbers that are made of the frames"),
    (lambda: Between(lambda x: 2 * x), "'node' is summed or scaled in a way that is no mean"),
    (lambda: Between(lambda x: x + 1), "it adds a tensor that is not made of the frames"),
    (lambda: Between(lambda x: x.flip(1)), "its logits are not the mean over time of layer 'head'"),
    (lambda: Between(nn.Identity(), conv=conv(dilation=2, padding=2)), "layer 'conv' has a dilation"),
    (lambda: Between(nn.Identity(), conv=conv(kernel_size=4)), "has a kernel of 4 × 4, and kernels are odd here"),
    (lambda: Between(nn.Identity(), conv=conv(padding=2)), "padded by (2, 2), and kernels are padded by half"),
    (lambda: Between(nn.Identity(), conv=Standardised(2, 4, 3)), "that were found in it are not its own"),
    (lambda: Between(nn.Identity(), conv=doubled(conv())), "that were found in it are not its own"),
    (lambda: nn.Sequential(conv(), layer.Flatten(step_mode="m")), "its logits are what a layer gives"),
    (own_networks.step_by_step, "its logits are changed behind its last layer"),
]


@pytest.mark.parametrize(("builder", "said"), REASONS, ids=lambda one: one if isinstance(one, str) else "")
def test_what_cannot_be_followed_is_named(builder: Callable[[], nn.Module], said: str, tmp_path: Path) -> None:
    found = snnq.inspect(saved(builder, tmp_path / "own.pth"), model=builder, **SIZES)
    assert found.wiring.arithmetic == "float"
    assert said in found.wiring.where
    assert found.wiring.where.startswith("in floating point, on torch alone, because it is a model of your own, and ")
    assert found.wiring.norms == {}
    with pytest.raises(UsageError, match="no graph is known"):
        snnq.inspect(tmp_path / "own.pth", model=builder, graph=True, **SIZES)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("plain", "a flatten is given the frames, and whole numbers begin with a layer"),
        ("called twice", "'second' runs more than once in a time step"),
        ("functional", "torch's linear has no operation here"),
    ],
)
def test_what_cannot_be_followed_of_odd_networks(how: str, said: str, tmp_path: Path) -> None:
    def builder() -> nn.Module:
        return odd_networks.build(how)

    found = snnq.inspect(saved(builder, tmp_path / "own.pth"), model=builder, steps=3, image_size=(8, 8))
    assert said in found.wiring.where


FOLLOWED: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "learned leaks": (
        lambda: Between(nn.Identity(), neuron.ParametricLIFNode(step_mode="m")),
        ["layer", "neuron", "mean", "head"],
    ),
    "integer spikes": (lambda: Between(nn.Identity(), IntegerSpikes(3)), ["layer", "neuron", "mean", "head"]),
    "in another order": (lambda: Between(lambda x: x.flip(0)), ["layer", "neuron", "mean", "head"]),
    "gone": (lambda: Between(nn.Dropout(0.5)), ["layer", "neuron", "mean", "head"]),
    "moved": (lambda: Between(lambda x: torch.stack([*x.transpose(0, 1)], 1)), ["layer", "neuron", "mean", "head"]),
}


def test_what_moves_numbers_is_followed(tmp_path: Path) -> None:
    for name, (builder, due) in FOLLOWED.items():
        config = open_checkpoint(saved(builder, tmp_path / "own.pth"), model=builder, **SIZES).config
        operations = [one["operation"] for one in config.get("graph", ())]
        assert operations == due, (name, config.get("floating"))


def test_folders_of_before_stay_in_floating_point(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    config = _config(Path("residual"))
    before = {name: value for name, value in config.config.items() if name != "graph"}
    quantization = config.quantization_config.model_copy(update={"arithmetic": None})
    found = wiring_of(config.model_copy(update={"config": before, "quantization_config": quantization}))
    assert found.arithmetic == "float"
    assert "a model of your own, whose operations are not known" in found.where


def _config(folder: Path) -> PackedConfig:
    return PackedConfig.model_validate_json((folder / "config.json").read_text())


def _read(config: dict[str, Any]) -> Graph:
    return read_graph(config["graph"], (3, 2, 16, 16))


def _edited(
    workplace: Path, to: Path, change: Callable[[list[dict[str, Any]]], object], name: str = "residual"
) -> Path:
    """Write a folder whose graph a stranger has changed, with a hash that is right; return it."""
    shutil.copytree(workplace / name, to)
    said = json.loads((to / "config.json").read_text())
    graph = change(said["config"]["graph"])
    said["config"]["graph"] = said["config"]["graph"] if graph is None else graph
    said["sha256"]["config.json"] = PackedConfig.model_validate_json(json.dumps(said)).own_sha256()
    (to / "config.json").write_text(json.dumps(said))
    return to


def _op(graph: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for one in graph if one.get("gives") == name)


TAMPERED: list[tuple[Callable[[list[dict[str, Any]]], object], str]] = [
    (lambda graph: "layers", "operation 1: found 'layers', allowed are layer, neuron"),
    (lambda graph: [], "a list of 1 to 10,000 operations"),
    (lambda graph: graph[:-1], "its last operation must be a head"),
    (lambda graph: graph[1:], "takes stream"),
    (lambda graph: graph[0].update(operation="attention"), "found 'attention', allowed are"),
    (lambda graph: graph[0].update(outputs=10**9), "outputs: found 1000000000"),
    (lambda graph: _op(graph, "hidden").update(outputs=16), "'hidden' is [24, 128], its graph needs [16, 128, 1, 1]"),
    (lambda graph: graph[0].update(kernel=[3, 4]), "kernels odd"),
    (lambda graph: graph[0].update(kernel="3"), "kernel"),
    (lambda graph: graph[0].update(groups=3), "groups: found 3"),
    (lambda graph: graph[0].update(groups=2), "its graph needs [8, 1, 3, 3]"),
    (lambda graph: graph[0].update(strides=2), "unknown key 'strides' (did you mean 'stride'?)"),
    (lambda graph: graph[0].update(stride=2), "'hidden' is [24, 128], its graph needs [24, 32, 1, 1]"),
    (lambda graph: graph[0].update(norm="*/ evil();"), "is no name of a stream or module"),
    (lambda graph: _op(graph, "kept").update(tau=0.0), "tau: found 0"),
    (lambda graph: _op(graph, "kept").update(threshold=-1.0), "threshold: found -1"),
    (lambda graph: _op(graph, "kept").update(neuron="node"), "module 'node' is in two operations"),
    (lambda graph: _op(graph, "kept").update(rounds={"most": 10**9}), "rounds: found 1000000000 spikes"),
    (lambda graph: _op(graph, "stem.2, pooled 2x2 by 2").update(kernel=99), "smaller than a max-pool of 99"),
    (lambda graph: _op(graph, "stem.2, pooled 2x2 by 2").update(stride=0), "kernel 2 and stride 0"),
    (lambda graph: _op(graph, "stem.2, pooled 2x2 by 2").update(heads=2), "it has no heads"),
]


@pytest.mark.parametrize(("change", "said"), TAMPERED, ids=lambda one: one if isinstance(one, str) else "")
def test_a_graph_that_a_stranger_made_is_refused(
    change: Callable[[list[dict[str, Any]]], object], said: str, workplace: Path, tmp_path: Path
) -> None:
    folder = _edited(workplace, tmp_path / "packed", change)
    with pytest.raises(PackedError) as found:
        Engine(folder)
    assert said in found.value.message
    assert "\n" not in found.value.message


@pytest.mark.parametrize("name", [".", "stem.0.weight", "forward", "graph", "arithmetic", "head.node"])
def test_a_stranger_calls_modules_what_cannot_be(name: str, workplace: Path, tmp_path: Path) -> None:
    OWN.clear()
    folder = _edited(workplace, tmp_path / "packed", lambda graph: _op(graph, "kept").update(neuron=name))
    with pytest.raises(PackedError, match=r"graph: module '.*' (cannot be called that|is inside of the head)"):
        load_packed(folder)


def test_operations_without_end_are_refused() -> None:
    with pytest.raises(UsageError, match="a list of 1 to 10,000 operations"):
        read_graph([{}] * 10_001, (3, 2, 16, 16))


def test_sums_without_end_are_refused(workplace: Path, tmp_path: Path) -> None:
    def double(graph: list[dict[str, Any]]) -> list[dict[str, Any]]:
        sums = [{"operation": "add", "takes": [f"s{i}", f"s{i}"], "gives": f"s{i + 1}"} for i in range(40)]
        sums[0]["takes"] = ["stem.2", "stem.2"]
        return [*graph[:2], *sums, *graph[2:]]

    with pytest.raises(PackedError, match="has sums up to"):
        Engine(_edited(workplace, tmp_path / "packed", double))


def test_sums_keep_what_is_read_again(workplace: Path, tmp_path: Path) -> None:
    """A sum is formed in its first term's memory only where nobody else has it: the second, or a mean for the head."""

    def add(first: str, second: str, gives: str) -> dict[str, Any]:
        return {"operation": "add", "takes": [first, second], "gives": gives}

    def twice(graph: list[dict[str, Any]]) -> list[dict[str, Any]]:
        *others, mean, head = graph
        (name,) = mean["takes"]
        return [*others, add(name, name, "a"), add("a", "a", "b"), mean | {"takes": ["b"]}, head]

    def beside(graph: list[dict[str, Any]]) -> list[dict[str, Any]]:
        *others, mean, head = graph
        (name,) = mean["takes"]
        return [*others, add(name, name, "a"), mean | {"takes": ["a"]}, add("a", name, "b"), head]

    def counted(graph: list[dict[str, Any]]) -> list[dict[str, Any]]:
        *others, fires, mean, head = graph
        fires = fires | {"integrates": False, "rounds": {"most": 4}}
        return [*others, fires, add(fires["gives"], "fires.2", "a"), mean | {"takes": ["a"]}, head]

    frames = np.random.default_rng(0).poisson(0.5, (2, 3, 2, 16, 16)).astype(np.uint16)
    OWN.clear()  # nobody knows what it was
    for change in (twice, beside):
        all_agree(_edited(workplace, tmp_path / change.__name__, change, "integrating"), frames)
    assert compare_engines(_edited(workplace, tmp_path / "counted", counted, "integrating")).spikes > 0


@pytest.mark.parametrize("key", ["threshold", "tau"])
def test_a_graph_that_is_not_the_models_is_found_out(
    key: str, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _edited(workplace, tmp_path / "packed", lambda graph: _op(graph, "kept").update({key: 2.0}))
    Engine(folder)  # it is a network, but another
    monkeypatch.chdir(workplace)
    snnq.register_model("networks.py:residual")
    with pytest.raises(VerificationError, match="its graph is not what the model computes"):
        load_packed(folder)
    with pytest.raises(VerificationError, match="config"):
        snnq.verify(folder)
