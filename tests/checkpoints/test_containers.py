"""Every container that the field writes opens, and gives the logits of the plain state dict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from containers import GIVEN, ROUNDED, TYPED, averaged_model, moved, plain, prefixed, wrapped
from safetensors.torch import save_file

from snnq.base.errors import CheckpointError
from snnq.base.progress import silent
from snnq.checkpoints.opening import Checkpoint, load_model, open_checkpoint
from snnq.cli.main import run
from snnq.packing.planned import open_planned
from snnq.plan import Plan

FRAMES = torch.randint(0, 4, (3, 4, 2, 16, 16), generator=torch.Generator().manual_seed(3)).float()
WRAPPED = wrapped()


def logits_of(opened: Checkpoint) -> torch.Tensor:
    with torch.no_grad():
        return load_model(opened)(FRAMES)


def saved(content: Any, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    path = saved(plain(), tmp_path_factory.mktemp("plain") / "plain.pth")
    return logits_of(open_checkpoint(path, **GIVEN))


@pytest.mark.parametrize("name", WRAPPED)
def test_it_opens_with_the_logits_of_the_plain_state_dict(name: str, tmp_path: Path, expected: torch.Tensor) -> None:
    opened = open_checkpoint(saved(WRAPPED[name], tmp_path / "a.pth"), **GIVEN)
    assert (opened.architecture, opened.dropped) == ("spikformer-cifar10dvs", ())
    assert torch.equal(logits_of(opened), expected)


@pytest.mark.parametrize("name", ["lightning", "timm", "own_class", "mmcv_ema"])
def test_the_older_format_likewise(name: str, tmp_path: Path, expected: torch.Tensor) -> None:
    path = saved(WRAPPED[name], tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(logits_of(open_checkpoint(path, **GIVEN)), expected)


@pytest.mark.parametrize("name", ["module", "inner_fsdp", "thop", "membranes", "old_norms", "averaged_alone", "named"])
def test_safetensors_likewise(name: str, tmp_path: Path, expected: torch.Tensor) -> None:
    save_file(WRAPPED[name], tmp_path / "a.safetensors")
    assert torch.equal(logits_of(open_checkpoint(tmp_path / "a.safetensors", **GIVEN)), expected)


@pytest.mark.parametrize("name", ROUNDED)
def test_short_floats_are_widened(name: str, tmp_path: Path) -> None:
    kind = ROUNDED[name]
    short = {key: t.to(kind) if t.is_floating_point() else t for key, t in plain().items()}
    wide = {key: t.float() if t.is_floating_point() else t for key, t in short.items()}
    found = [open_checkpoint(saved(state, tmp_path / f"{i}.pth"), **GIVEN) for i, state in enumerate((short, wide))]
    assert torch.equal(*map(logits_of, found))
    assert {t.dtype for t in found[0].state_dict.values()} == {torch.float32, torch.int64}


AVERAGES = {
    "timm": ("state_dict_ema", "last"),
    "model_ema": ("model_ema", "last"),
    "lightning_two": ("state_dict.ema", "last"),
    "ema_of_parameters": ("ema.shadow", "last"),
    "lightning_average": ("current_model_state", "ema"),
    "mmengine": ("ema_state_dict", "ema"),
    "mmcv_ema": ("state_dict.ema_", "ema"),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_the_other_set_is_said_and_taken_when_asked_for(name: str, tmp_path: Path, expected: torch.Tensor) -> None:
    label, usual = AVERAGES[name]
    path = saved(WRAPPED[name], tmp_path / "a.pth")
    opened = open_checkpoint(path, **GIVEN)
    other = "last" if usual == "ema" else "ema"
    assert opened.weights == usual
    assert any(f"'{label}'" in said and f"--weights {other}" in said for said in opened.notes)
    assert torch.equal(logits_of(open_checkpoint(path, weights=usual, **GIVEN)), expected)
    asked = open_checkpoint(path, weights=other, **GIVEN)
    assert (asked.weights, asked.sha256) == (other, opened.sha256)
    due = moved(plain())["head.weight"]
    assert torch.equal(asked.state_dict["head.weight"], due)


def test_averages_of_parameters_alone_have_the_last_statistics(tmp_path: Path) -> None:
    path = saved(WRAPPED["ema_of_parameters"], tmp_path / "a.pth")
    opened = open_checkpoint(path, weights="ema", **GIVEN)
    assert torch.equal(opened.state_dict["patch_embed.proj_bn.running_var"], plain()["patch_embed.proj_bn.running_var"])
    assert any("no norm statistics" in said for said in opened.notes)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    due = {
        "thop": "operation counts of a profiler (total_ops, head.total_ops, head.total_params)",
        "surrogate": "settings of surrogate gradients (patch_embed.proj_lif.surrogate_function.alpha)",
        "membranes": "stored membrane potentials and spikes (patch_embed.proj_lif.v, block.0.attn.attn_lif.v)",
        "lightning": "tensors of other parts (criterion.weight, f1.total)",
        "own_class": "classes that were not looked up (containers.Config, containers.EasyDict)",
        "epoch_inside": "what is no tensor (epoch (int), arch (str))",
    }
    for name, said in due.items():
        notes = open_checkpoint(saved(WRAPPED[name], tmp_path / "a.pth"), **GIVEN).notes
        assert any(said in note for note in notes), (name, notes)
    assert open_checkpoint(saved(plain(), tmp_path / "a.pth"), **GIVEN).notes == ()


def test_several_sets_that_nothing_tells_apart_are_asked_for(tmp_path: Path, expected: torch.Tensor) -> None:
    path = saved({"best": plain(), "newest": moved(plain())}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="several sets of weights: best, newest") as caught:
        open_checkpoint(path, **GIVEN)
    assert caught.value.hint == "choose one: --weights best"
    opened = open_checkpoint(path, weights="best", **GIVEN)
    assert (opened.weights, opened.container) == ("best", "{'best': …}")
    assert torch.equal(logits_of(opened), expected)
    with pytest.raises(CheckpointError, match=r"holds no 'bets'; found: best, newest .did you mean 'best'"):
        open_checkpoint(path, weights="bets", **GIVEN)
    students = {**prefixed(plain(), "student."), **prefixed(moved(plain()), "teacher.")}
    with pytest.raises(CheckpointError, match=r"state_dict\.student, state_dict\.teacher"):
        open_checkpoint(saved({"state_dict": students}, path), **GIVEN)
    assert torch.equal(logits_of(open_checkpoint(path, weights="student", **GIVEN)), expected)


def test_only_averaged_weights_are_said_to_be(tmp_path: Path) -> None:
    path = saved(averaged_model(plain()), tmp_path / "a.pth")
    assert "Its only weights are averaged ones." in open_checkpoint(path, **GIVEN).notes
    with pytest.raises(CheckpointError, match="no weights but averaged ones"):
        open_checkpoint(path, weights="last", **GIVEN)


def test_the_choice_is_recorded_and_opened_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, plan = str(saved(WRAPPED["timm"], tmp_path / "a.pth")), str(tmp_path / "plan.json")
    make = ["plan", "uniform", path, "--scheme", "uniform-8", "--out", plan, *TYPED]
    assert run([*make, "--weights", "ema"]) == 0
    assert "Taken: the averaged weights ('state_dict_ema')" in capsys.readouterr().err
    assert Plan.read(plan).model.weights == "ema"
    assert run(["finalize", "--plan", plan, "--data", "digits", "--weights", "last"]) == 2
    assert "--weights last: the plan was made for --weights ema" in capsys.readouterr().err
    job = open_planned(Plan.read(plan), None, "digits", silent)  # finalize, ptq, report and cost measure do this
    assert torch.equal(job.model.state_dict()["head.weight"], moved(plain())["head.weight"])
    assert (job.model_info().weights, job.facts()["weights"]) == ("ema", "ema")  # packed plan, and run fingerprint


def test_plans_of_a_single_set_say_nothing_of_it(tmp_path: Path) -> None:
    assert run(["plan", "uniform", "digits", "--scheme", "uniform-8", "--out", str(tmp_path / "p.json")]) == 0
    assert "weights" not in json.loads((tmp_path / "p.json").read_text())["model"]


def test_inspect_shows_what_was_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(saved(WRAPPED["timm"], tmp_path / "a.pth"))
    assert run(["inspect", path, *TYPED, "--weights", "ema", "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["weights"] == "ema"
    assert "state_dict_ema" in found["notes"][0]
    assert "--weights ema" in shown.err.splitlines()[-1]
    assert run(["inspect", path, *TYPED]) == 0
    assert "weights taken" in capsys.readouterr().out
