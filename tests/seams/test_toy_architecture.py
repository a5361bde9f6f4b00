"""An architecture that only this folder knows, with an attention of its own, goes through every command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy_network
from c_programs import c_agrees, have_gcc
from spikformer_weights import fill_model
from toy_network import OWN, OWN_REASON, PLAIN

import snnq
from snnq.base.errors import UsageError
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cli.main import run
from snnq.models.registry import ARCHITECTURES, build
from snnq.network.combining import Add, Multiply, Pool, Sum
from snnq.network.graph import Graph, Operation
from snnq.network.operations import Head, LayerOperation, Mean, Neuron
from snnq.network.streams import FRAMES, Stream
from snnq.plan import Plan
from snnq.runtime.comparing import compare_engines
from snnq.runtime.engine import Engine
from snnq.runtime.reference import Reference

DATA = "random,classes=3,samples=24"
LAYERS = ["stem", "mixer.q", "mixer.k", "mixer.v", "mixer.out", "tail", "tail2", "readout"]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    for row in toy_network.ROWS:
        snnq.register_architecture(row)
    yield
    for row in toy_network.ROWS:
        del ARCHITECTURES[row.name]


def save_toy(folder: Path, name: str) -> Path:
    path = folder / "toy.safetensors"
    save_checkpoint(path, fill_model(build(name, {}), 1), architecture=name, facts={"data": DATA})
    return path


@pytest.mark.parametrize("name", [PLAIN, OWN])
def test_every_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_toy(tmp_path, name)
    whole, short = name == PLAIN, ["--epochs", "1", "--batch-size", "8"]

    assert run(["inspect", "toy.safetensors", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in found["layers"]] == LAYERS
    assert [one["name"] for one in found["attentions"]] == (["mixer"] if whole else [])
    assert (found["arithmetic"], found["reason"]) == (("integer", None) if whole else ("float", OWN_REASON))
    assert run(["inspect", "toy.safetensors"]) == 0
    assert run(["plan", "uniform", "toy.safetensors", "--scheme", "uniform-4", "--out", "uniform.json"]) == 0
    assert run(["search", "toy.safetensors", "--method", "sensitivity", "--space", "uniform-2,uniform-4", *short]) == 0
    assert run(["finalize", "--plan", "plan.json", *short]) == 0
    capsys.readouterr()
    assert run(["verify", "packed", "--json"]) == 0
    capsys.readouterr()
    results = json.loads((tmp_path / "packed/report.json").read_text())
    for engine in ("torch", "integer") if whole else ("torch",):
        assert run(["eval", "packed", "--json", "--engine", engine]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] == results["accuracy"]["plan"]["test"]
    assert run(["report", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)

    refusal = f"because {OWN_REASON}"
    assert run(["export", "packed", "--to", "c"]) == (0 if whole else 2)
    assert (refusal in capsys.readouterr().err) != whole
    assert run(["export", "packed", "--to", "spikingjelly"]) == 2
    assert f"{name} is none of SpikingJelly's own models" in capsys.readouterr().err
    if not whole:
        assert run(["eval", "packed", "--engine", "integer"]) == 2
        assert refusal in capsys.readouterr().err
    if find_spec("nir") is not None:
        assert run(["export", "packed", "--to", "nir"]) == (0 if whole else 2)


def test_the_integer_engines_agree(tmp_path: Path) -> None:
    path = save_toy(tmp_path, PLAIN)
    plan = snnq.uniform_plan("uniform-4", checkpoint=path)
    plan.write(tmp_path / "plan.json")
    assert run(["finalize", "--plan", str(tmp_path / "plan.json"), "--epochs", "1", "--out", str(tmp_path / "p")]) == 0
    agreed = compare_engines(tmp_path / "p")
    assert (agreed.neurons, agreed.spikes > 100) == (8, True)
    frames = np.random.default_rng(0).poisson(0.5, (3, 2, 2, 8, 8)).astype(np.uint8)
    engine = Engine(tmp_path / "p")
    if have_gcc():
        c_agrees(tmp_path / "p", tmp_path / "c", frames)
    assert np.array_equal(engine(frames), Reference(tmp_path / "p")(frames.astype(np.int64)))
    assert engine.macs == sum(layer.macs for layer in Plan.read(tmp_path / "plan.json").layers[:-1]) * 2


def test_a_checkpoint_opens_as_what_it_was(tmp_path: Path) -> None:
    path = save_toy(tmp_path, OWN)
    model, frames = load_model(open_checkpoint(path)), torch.ones(1, 2, 2, 8, 8)
    with torch.no_grad():
        assert torch.equal(model(frames), fill_model(build(OWN, {}), 1).eval()(frames))


def test_a_scale_that_whole_numbers_could_not_take_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = toy_network.Mixer.__init__

    def otherwise(self: toy_network.Mixer, config: toy_network.ToySizes) -> None:
        made(self, config)
        del self.scale
        self.mix = lambda q, k, v: toy_network.mix_keys_first(q, k, v, 0.25)

    monkeypatch.setattr(toy_network.Mixer, "__init__", otherwise)
    plan = snnq.uniform_plan("uniform-4", checkpoint=save_toy(tmp_path, PLAIN))
    plan.write(tmp_path / "plan.json")
    assert run(["finalize", "--plan", str(tmp_path / "plan.json"), "--epochs", "1", "--out", str(tmp_path / "p")]) == 2
    assert "mixer: its attribute 'scale' is None, but its graph says 0.25" in capsys.readouterr().err


def test_a_name_is_taken_once() -> None:
    unused: Any = int
    with pytest.raises(UsageError, match="'toy-plain': the name is taken"):
        snnq.register_architecture(toy_network.Architecture(PLAIN, PLAIN, unused, unused, unused))


FIRST = LayerOperation("a", "a_bn", (FRAMES,), "a", 4)
FIRED = Neuron("a_lif", ("a",), "x")


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        ((Pool(("x",), "y"),), "a max-pool takes stream 'x', but nothing gives it"),
        ((FIRST, FIRED, Neuron("b_lif", ("a",), "x")), "stream 'x' is given twice"),
        ((FIRST, FIRED), "its last operation must be a head"),
        ((FIRST, FIRED, Pool(("x",), "y"), Add(("x", "y"), "z")), "'x' and 'y', which are added, differ in shape"),
        ((FIRST, FIRED, Mean(("x",), "m"), Add(("m", "m"), "z")), "'m' and 'm', which are added, have different units"),
        ((FIRST, Sum("tokens", ("a",), "s")), "a sum takes spikes, but stream 'a' carries reals"),
        (
            (FIRST, FIRED, Sum("features", ("x",), "s", 2), Neuron("s_lif", ("s",), "g"), Multiply(("x", "g"), "z")),
            "'x' and 'g', which are multiplied, differ in shape",
        ),
        ((FIRST, FIRED, Head("readout", ("x",), 3)), "head readout takes a mean over tokens, but 'x' has (8, 8)"),
    ],
)
def test_streams_that_do_not_fit_are_named(operations: tuple[Operation, ...], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Graph(operations, Stream("counts", 2, (8, 8), 4095), 2)
    assert said in caught.value.message
