"""An edit that only this file knows: half of an MLP's features go, and every command sees the model that is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from c_programs import c_agrees, have_gcc
from spikformer_weights import fill_model
from torch import nn

import snnq
from snnq.base.errors import CheckpointError, PackedError, UsageError
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cli.main import run
from snnq.models.registry import architecture, build
from snnq.plan import Plan
from snnq.runtime.comparing import compare_engines
from snnq.runtime.engine import Engine
from snnq.runtime.reference import Reference
from snnq.structure.edits import EDITS, Edit

DATA = "random,classes=3,samples=24"
SIZES: dict[str, Any] = {
    **{"in_channels": 2, "image_size": [8, 8], "dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 3},
    "pooling": [False, False, True, True],
}
MLP = ("block.0.mlp.fc1", "block.0.mlp.fc2")
EDITED = [{"edit": "halved", "first": MLP[0], "second": MLP[1]}]
KINDS = ("edited", "narrow")
SPIKES, POTENTIALS = "spikformer-cifar10dvs", "sdt-static"


def halve(model: nn.Module, first: str, second: str) -> nn.Module:
    """Keep the first half of what ``first`` gives, of its norm, and of what ``second`` takes."""
    modules: list[Any] = [model.get_submodule(name) for name in (first, f"{first}_bn", second)]
    kept = modules[0].get_parameter("weight").shape[0] // 2
    for module, axis in zip(modules, (0, 0, 1), strict=True):
        for name, tensor in module.named_parameters():
            if tensor.ndim > axis:
                module.register_parameter(name, nn.Parameter(tensor.detach().narrow(axis, 0, kept).clone()))
        for name, tensor in module.named_buffers():
            if tensor.ndim:
                module.register_buffer(name, tensor[:kept].clone())
    modules[0].out_channels = modules[1].num_features = modules[2].in_channels = kept
    return model


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    snnq.register_edit(Edit("halved", halve, lambda first, second: f"half of what {second} takes of {first}"))
    yield
    EDITS.pop("halved", None)


def save_edited(path: Path, name: str) -> nn.Module:
    model = fill_model(build(name, SIZES), 1)
    model = snnq.apply_edits(model, EDITED)
    save_checkpoint(path, model, architecture=name, facts={"data": DATA})
    return model.eval()


@pytest.mark.parametrize("name", [SPIKES, pytest.param(POTENTIALS, marks=pytest.mark.slow)])
def test_every_command(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_edited(tmp_path / "edited.safetensors", name)
    short = ["--epochs", "1", "--batch-size", "8"]
    method = ["--method", "sensitivity", "--space", "uniform-2,uniform-4"]
    assert run(["inspect", "edited.safetensors", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["config"]["structure"] == EDITED
    assert {layer["name"]: layer["shape"][:2] for layer in found["layers"] if ".mlp." in layer["name"]} == {
        MLP[0]: [32, 16],
        MLP[1]: [16, 32],
    }
    assert found["arithmetic"] == "integer"
    assert run(["inspect", "edited.safetensors"]) == 0
    assert f"half of what {MLP[1]} takes of {MLP[0]}" in " ".join(capsys.readouterr().out.split())

    assert run(["search", "edited.safetensors", *method, *short]) == 0
    assert json.loads((tmp_path / "plan.json").read_text())["model"]["config"]["structure"] == EDITED
    assert run(["finalize", "--plan", "plan.json", *short]) == 0
    assert json.loads((tmp_path / "packed/config.json").read_text())["config"]["structure"] == EDITED
    assert "half of what" in (tmp_path / "packed/README.md").read_text()
    capsys.readouterr()
    assert run(["verify", "packed", "--json"]) == 0
    capsys.readouterr()
    results = json.loads((tmp_path / "packed/report.json").read_text())
    for engine in ("torch", "integer"):
        assert run(["eval", "packed", "--json", "--engine", engine]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] == results["accuracy"]["plan"]["test"]
    assert run(["report"]) == 0
    assert compare_engines(tmp_path / "packed").neurons == 12
    frames = np.random.default_rng(0).poisson(0.5, (3, 2, 2, 8, 8))
    assert np.array_equal(Engine(tmp_path / "packed")(frames), Reference(tmp_path / "packed")(frames))
    if have_gcc():
        c_agrees(tmp_path / "packed", tmp_path / "c", frames[:2].astype(np.uint16))


@pytest.mark.parametrize("name", [SPIKES, POTENTIALS])
def test_costs_are_those_of_the_model_that_is_left(name: str, tmp_path: Path) -> None:
    """Half of an MLP's features are half of its ratio: that model is another way to build the same one."""
    edited = save_edited(tmp_path / "edited.safetensors", name)
    opened = open_checkpoint(tmp_path / "edited.safetensors")
    narrow = build(name, {**SIZES, "mlp_ratio": 2.0})
    narrow.load_state_dict(opened.state_dict, strict=True)
    frames = torch.randint(0, 3, (2, 2, 2, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        due = narrow.eval()(frames)
        assert torch.equal(edited(frames), due)
        assert torch.equal(load_model(opened)(frames), due)
    save_checkpoint(tmp_path / "narrow.safetensors", narrow, architecture=name, facts={})
    one, other = (snnq.uniform_plan("uniform-4", checkpoint=tmp_path / f"{kind}.safetensors") for kind in KINDS)
    assert (one.layers, one.totals) == (other.layers, other.totals)


@pytest.mark.parametrize("name", [SPIKES, POTENTIALS])
def test_a_graft_keeps_the_edits(name: str, tmp_path: Path) -> None:
    save_edited(tmp_path / "edited.safetensors", name)
    snnq.graft(tmp_path / "edited.safetensors", chunk=2, out=tmp_path / "grafted.safetensors")
    found = open_checkpoint(tmp_path / "grafted.safetensors")
    assert (found.config["chunk"], found.config["structure"]) == (2, EDITED)
    assert load_model(found).get_submodule(MLP[1]).get_parameter("weight").shape[1] == 32


def test_edits_stand_one_on_the_other(tmp_path: Path) -> None:
    save_edited(tmp_path / "once.safetensors", SPIKES)
    model = snnq.apply_edits(load_model(open_checkpoint(tmp_path / "once.safetensors")), EDITED)
    save_checkpoint(tmp_path / "twice.safetensors", model, architecture=SPIKES, facts={})
    again = load_model(open_checkpoint(tmp_path / "twice.safetensors"))
    assert again.structure == (*EDITED, *EDITED)
    assert again.get_submodule(MLP[0]).get_parameter("weight").shape[:2] == (16, 16)


def test_an_edit_may_end_whole_numbers() -> None:
    EDITS["halved"] = Edit("halved", halve, lambda **_: "halved", floating="its features are real numbers")
    found = architecture(SPIKES).wiring({**SIZES, "structure": EDITED})
    assert found.where.endswith("because its features are real numbers")
    assert found.norms == architecture(SPIKES).wiring(SIZES).norms


@pytest.mark.parametrize(
    ("structure", "said"),
    [
        ([{"edit": "halve", "first": "a"}], "the edit 'halve' is not known here (did you mean 'halved'?)"),
        ([{"edit": "halved", "third": "a"}], "the edit 'halved' cannot be made of this model (TypeError: "),
        ([{"edit": "halved", "first": "a", "second": "b"}], "the edit 'halved' cannot be made of this model (Attrib"),
        ({"edit": "halved"}, "it must be a list of"),
        ([{"first": "a"}], "it must be a list of"),
    ],
)
def test_refusals(structure: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(SPIKES, {**SIZES, "structure": structure})
    assert said in caught.value.message


def test_files_of_an_edit_that_is_not_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_edited(tmp_path / "edited.safetensors", SPIKES)
    plan = snnq.uniform_plan("uniform-4", checkpoint=tmp_path / "edited.safetensors")
    plan.write(tmp_path / "plan.json")
    assert run(["finalize", "--plan", str(tmp_path / "plan.json"), "--epochs", "1", "--out", str(tmp_path / "p")]) == 0
    del EDITS["halved"]
    with pytest.raises(CheckpointError, match="the edit 'halved' is not known here"):
        open_checkpoint(tmp_path / "edited.safetensors")
    with pytest.raises(PackedError, match="the edit 'halved' is not known here"):
        snnq.verify(tmp_path / "p")
    assert Plan.read(tmp_path / "plan.json").layers == plan.layers  # a plan is read without its model
    capsys.readouterr()
    assert run(["finalize", "--plan", str(tmp_path / "plan.json"), "--out", str(tmp_path / "q")]) != 0
    assert "the edit 'halved' is not known here" in capsys.readouterr().err


def test_a_model_without_edits_says_nothing_of_them(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "plain.safetensors", build(SPIKES, SIZES), architecture=SPIKES, facts={})
    assert "structure" not in open_checkpoint(tmp_path / "plain.safetensors").config
    with pytest.raises(UsageError, match="edit 'halved': the name is taken"):
        snnq.register_edit(Edit("halved", halve, str))
