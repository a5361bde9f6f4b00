"""A model of the user's own goes the whole way, and its code runs only where they say so."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import own_networks
import pytest
import torch
from torch import nn

import snnq
from snnq.base.errors import CheckpointError, PlanError, UsageError
from snnq.base.progress import silent
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cli.main import run
from snnq.models.custom import source_sha256
from snnq.models.registry import OWN
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import frames_shape, layer_table, quantisable
from snnq.packing.planned import open_planned
from snnq.plan import Plan
from snnq.searching.constraints import Constraints, resolve
from snnq.searching.measuring import Switchboard, soft_cross_entropy
from snnq.searching.uniform import uniform_plan
from snnq.training import processes
from snnq.training.batchnorm import share_batchnorm

SIZES: dict[str, Any] = {"steps": 3, "image_size": (16, 16)}
NETWORKS = ("multi_step", "step_by_step")
SPACE = ("--space", "float32,uniform-4,power-of-two-2")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder with a module of networks and a checkpoint of each, as a user has them."""
    monkeypatch.chdir(tmp_path)
    OWN.clear()
    shutil.copy(Path(__file__).parent / "own_networks.py", "networks.py")
    for name in NETWORKS:
        torch.manual_seed(1)
        model = snnq.register_model(f"networks.py:{name}").builder
        assert model is not None
        built = model()
        for module in built.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.get_buffer("running_mean").uniform_(-0.2, 0.2)
                module.get_buffer("running_var").uniform_(0.05, 0.2)
        torch.save({"state_dict": built.state_dict()}, f"{name}.pth")
        del OWN[f"networks.py:{name}"]
    return tmp_path


@pytest.mark.parametrize("name", NETWORKS)
def test_the_whole_way(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = ["--model", f"networks.py:{name}"]
    data = ["--data", "random,samples=16", "--steps", "3", "--image-size", "16", "--epochs", "1", "--batch-size", "4"]
    assert run(["search", f"{name}.pth", *own, *data, *SPACE]) == 0
    assert f"snnq finalize --plan plan.json --model networks.py:{name}" in capsys.readouterr().err
    plan = Plan.read("plan.json")
    assert plan.model.architecture == f"networks.py:{name}"
    assert plan.layers[-1].group == "head"

    del OWN[f"networks.py:{name}"]  # as in a new process
    assert run(["finalize", "--epochs", "1", "--batch-size", "4"]) == 2
    assert f"if you trust it, add --model networks.py:{name}" in capsys.readouterr().err
    assert run(["finalize", "--epochs", "1", "--batch-size", "4", *own]) == 0

    del OWN[f"networks.py:{name}"]
    capsys.readouterr()
    assert run(["verify", "--json"]) == 0  # of the files alone
    assert "its model was not built" in json.loads(capsys.readouterr().out)["reason"]
    assert run(["report"]) == 0
    assert run(["eval", "packed"]) == 2
    assert "add --model" in capsys.readouterr().err
    assert run(["verify", "--json", *own]) == 0
    reason = json.loads(capsys.readouterr().out)["reason"]
    assert reason.startswith("it runs on torch alone, because it is a model of your own")
    assert run(["eval", "packed", "--engine", "integer"]) == 2
    assert "does not run in whole numbers, because" in capsys.readouterr().err
    assert run(["eval", "packed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 16


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_norms_compute_the_same(name: str, place: Path) -> None:
    opened = open_checkpoint(f"{name}.pth", model=f"networks.py:{name}", **SIZES)
    model = load_model(opened)
    folded = fold_batchnorm(model, {})
    assert not [one for one in folded.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    frames = torch.poisson(torch.full((2, *frames_shape(opened.config)), 1.0))
    with torch.no_grad():
        logits = model(frames)
        torch.testing.assert_close(folded(frames), logits)
        assert torch.equal(model(frames), logits)  # every call starts at rest
        assert logits.shape == (2, 4)
        assert logits.std() > 0


def test_how_a_module_is_called_is_found_out(place: Path) -> None:
    many = open_checkpoint("multi_step.pth", model="networks.py:multi_step", **SIZES).config
    assert (many["time_first"], many["per_step"], many["classes"], many["in_channels"]) == (True, True, 4, 2)
    one = open_checkpoint("step_by_step.pth", model="networks.py:step_by_step", **SIZES).config
    assert (one["time_first"], one["per_step"], one["classes"], one["in_channels"]) == (False, False, 4, 2)


def test_groups_are_the_users_or_what_the_layers_look_like(place: Path) -> None:
    model = "networks.py:step_by_step"
    usual = load_model(open_checkpoint("step_by_step.pth", model=model, **SIZES))
    groups = {layer.name: layer.group for layer in layer_table(usual, (3, 2, 16, 16))}
    assert groups == {"conv": "tokenizer", "mix": "mlp", "classifier": "head"}
    given = load_model(open_checkpoint("step_by_step.pth", model=model, groups=[("m*", "attention")], **SIZES))
    assert {layer.name: layer.group for layer in layer_table(given, (3, 2, 16, 16))}["mix"] == "attention"


def test_a_grouped_convolution_in_multi_step_mode_counts_its_products(place: Path) -> None:
    model = load_model(open_checkpoint("multi_step.pth", model="networks.py:multi_step", **SIZES))
    layers = {layer.name: layer for layer in layer_table(model, (3, 2, 16, 16))}
    assert layers["0"].macs == 8 * 2 * 9 * 256
    assert layers["4"].macs == 16 * 4 * 9 * 64
    assert [layer.input for layer in layers.values()] == ["counts", "spikes", "reals"]


@pytest.mark.parametrize(("name", "runs"), [("multi_step", 3), ("step_by_step", 1)])
def test_a_head_is_billed_as_often_as_it_runs(name: str, runs: int, place: Path) -> None:
    model = load_model(open_checkpoint(f"{name}.pth", model=f"networks.py:{name}", **SIZES))
    head = layer_table(model, (3, 2, 16, 16))[-1]
    assert head.group == "head"
    assert head.macs == head.multiplications == head.weights  # a step, or, of the mean over steps, a sample
    seen = []
    module, _ = quantisable(model)[head.name]
    module.register_forward_hook(lambda _module, _inputs, output: seen.append(output[..., 0].numel()))
    model(torch.ones(1, 3, 2, 16, 16))
    assert sum(seen) == runs


def test_an_early_plan_counted_a_head_at_all_steps(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    given = {"model": "networks.py:multi_step", **SIZES}
    plan = uniform_plan("uniform-2", checkpoint="multi_step.pth", **given)
    *rest, head = plan.layers
    for times, said in ((3, True), (2, False)):
        counts = {"macs": times * head.macs, "multiplications": times * head.multiplications}
        early = plan.model_copy(update={"layers": (*rest, head.model_copy(update=counts))})
        with caplog.at_level("INFO"), nullcontext() if said else pytest.raises(PlanError, match=r"^layer 9: macs is"):
            open_planned(early, "multi_step.pth", "random,samples=16", silent)
        assert ("counted 9 3 times, once for every step" in caplog.text) == said
        caplog.clear()


@pytest.mark.parametrize("name", NETWORKS)
def test_measured_losses_are_those_of_switched_models(name: str, place: Path) -> None:
    model = load_model(open_checkpoint(f"{name}.pth", model=f"networks.py:{name}", **SIZES))
    choices = resolve(layer_table(model, (3, 2, 16, 16)), ("float32", "uniform-2"), Constraints())
    draw = torch.Generator().manual_seed(1)
    frames = torch.poisson(torch.full((6, 3, 2, 16, 16), 1.0), generator=draw)
    targets = torch.softmax(torch.randn(6, 4, generator=draw), 1)
    anchor = [0] * len(choices.layers)
    found = Switchboard(model, choices).losses(anchor, iter([(frames, targets)]), lambda: None)

    def loss(switched: str | None) -> float:
        plain = Switchboard(model, choices)
        for i, layer in enumerate(choices.layers):
            plain.set(i, int(layer.name == switched))
        with torch.no_grad():
            return float(soft_cross_entropy(plain.model(frames), targets)) / 6

    for i, layer in enumerate(choices.layers):
        assert found[i, 1] == pytest.approx(loss(layer.name) - loss(None), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "networks.py:step_by_stop"], "has no function 'step_by_stop' (did you mean 'step_by_step'?)"),
        (["--model", "nonet:build"], "nonet cannot be imported (ModuleNotFoundError"),
        (["--model", "nonet"], "it does not name a function of a module"),
        (["--model", "networks.py:torch"], "has no function 'torch'"),
        (["--model", "networks.py:step_by_step", "--model-arg", "width"], "found 'width', it must be NAME=VALUE"),
        (["--model", "networks.py:step_by_step", "--model-arg", "with=9"], "building it failed (TypeError"),
        (["--model", "networks.py:step_by_step", "--model-arg", "width=9"], "has shape (8, 2, 3, 3)"),
        (["--model", "networks.py:multi_step"], "14 keys missing: '0.weight'"),
        (["--model", "networks.py:step_by_step", "--group", "mox=mlp"], "no layer is called that (did you mean 'mix'"),
        (["--model", "networks.py:step_by_step", "--group", "mix=mpl"], "(did you mean 'mlp'?)"),
        (["--model-arg", "width=9"], "--model-arg and --group are for a model of your own"),
    ],
)
def test_what_cannot_be_used_is_said(
    options: list[str], said: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", "step_by_step.pth", "--steps", "3", "--image-size", "16", *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    lines = error.splitlines()
    assert [line.partition(":")[0] for line in lines] in (["Error"], ["Error", "Hint"])


def test_steps_and_image_size_must_be_known(place: Path) -> None:
    with pytest.raises(CheckpointError, match=r"time steps \(--steps\), image size \(--image-size\)"):
        open_checkpoint("multi_step.pth", model="networks.py:multi_step")


def test_a_module_that_takes_frames_in_neither_order_is_refused(place: Path) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(1), nn.Linear(16, 4))

    torch.save(build().state_dict(), "flat.pth")
    with pytest.raises(UsageError, match="it must give logits"):
        open_checkpoint("flat.pth", model=build, **SIZES)


def test_a_name_that_stands_in_a_file_is_not_imported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("evil.py").write_text("open('marker', 'w').close()\ndef build(): raise SystemExit\n")
    plan = uniform_plan("uniform-2", architecture="spikformer-cifar10dvs").to_dict()
    plan["model"] |= {"architecture": "evil:build", "layout": "evil:build", "checkpoint": "step_by_step.pth"}
    plan["model"]["sha256"] = None
    Path("plan.json").write_text(json.dumps(plan))
    assert run(["finalize", "--data", "random"]) == 2
    assert "it is somebody" not in capsys.readouterr().out
    assert not Path("marker").exists()


def test_adopted_models_can_be_copied(place: Path) -> None:
    model = load_model(open_checkpoint("step_by_step.pth", model="networks.py:step_by_step", **SIZES))
    frames = torch.ones(2, 3, 2, 16, 16)
    with torch.no_grad():
        assert torch.equal(deepcopy(model)(frames), model(frames))


def test_statistics_that_processes_cannot_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(UsageError, match=r"BatchNorm2d: its statistics are not shared between processes"):
        share_batchnorm(own_networks.multi_step())


def test_weights_that_are_no_layers_are_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(0, 1), nn.ConvTranspose2d(2, 2, 1), nn.Conv2d(2, 4, 16), nn.Flatten(1))

    torch.save(build().state_dict(), "up.pth")
    found = snnq.inspect("up.pth", model=build, steps=1, image_size=(16, 16))
    assert found.others == ("1.weight",)
    assert ("weights that stay in float32", "1.weight") in found.fact_rows()


def test_a_uniform_plan_of_an_own_model(place: Path) -> None:
    own = ["--model", "networks.py:step_by_step", "--steps", "3", "--image-size", "16"]
    assert run(["plan", "uniform", "step_by_step.pth", "--scheme", "uniform-2", "--out", "plan.json", *own]) == 0
    assert Plan.read("plan.json").totals.avg_bits == 2


def test_a_name_means_the_file_that_is_there_now(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "networks.py:multi_step"
    first = snnq.register_model(name)
    assert snnq.register_model(name) is first
    (place / "other").mkdir()
    monkeypatch.chdir(place / "other")
    with pytest.raises(UsageError, match=r"there is no file networks\.py"):
        snnq.register_model(name)
    shutil.copy(place / "networks.py", "networks.py")
    for text in ("", "\n# edited\n"):
        with Path("networks.py").open("a", encoding="utf-8") as file:
            file.write(text)
        found = snnq.register_model(name)
        assert found is not first
        assert found.builder is not None
        assert source_sha256(found.builder) == hashlib.sha256(Path("networks.py").read_bytes()).hexdigest()
        assert sys.modules["networks"].__file__ == str(Path("networks.py").resolve())
        first = found
