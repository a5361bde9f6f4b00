"""What commands make of a set without labels: they refuse, or say that what they measured is no accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_checkpoints import DATA, save_tiny

import snnq
from snnq.assessing.eval import eval as evaluate
from snnq.cli.main import run
from snnq.packing.record import read_results
from snnq.training.devices import start_fabric
from snnq.training.job import TAKEN, open_job
from snnq.training.teacher import answered, float_logits

SMALL = ["--samples", "16", "--batch-size", "8", "--measure", "4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give a folder with a tiny checkpoint, a set made for it, and a model that was packed with the set alone."""
    folder = tmp_path_factory.mktemp("blind")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        save_tiny(folder)
        assert run(["calibrate", "tiny.safetensors", "--classes", "ant,bee,cat", "--samples", "32"]) == 0
        blind = ["ptq", "tiny.safetensors", "--scheme", "uniform-3", "--data", "calib:calib", "--out", "blind"]
        assert run([*blind, *SMALL]) == 0
    return folder


@pytest.fixture
def place(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def test_labels_are_the_float_models_answers_and_nothing_else(place):
    job = open_job("tiny.safetensors", "calib:calib", unlabelled=TAKEN)
    assert (job.data.train.labels == -1).all()
    fabric = start_fabric("cpu")
    told = answered(job, fabric, 32)
    for split in ("train", "validation", "test"):
        due = float_logits(job, split, fabric, 32).argmax(1)
        assert torch.equal(torch.from_numpy(getattr(told.data, split).labels), due)
    assert (told.data.labels, told.data.sha256) == ("float model", job.data.sha256)
    own = open_job("tiny.safetensors", DATA)
    assert answered(own, fabric, 32) is own


def test_a_report_says_that_no_accuracy_was_measured(place, capsys):
    results = read_results(Path("blind"))
    assert results.accuracy.labels == "float model"
    assert results.accuracy.float_model.test == 1
    assert run(["report", "blind"]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "calibrated on synthetic data alone: calib:calib" in said
    assert "Agreement with the float model, no accuracy" in said
    assert "test accuracy" not in said
    page = Path("blind/report.html").read_text()
    assert "Agreement with float" in page
    assert "Test accuracy" not in page
    card = Path("blind/README.md").read_text()
    assert "## Agreement with the float checkpoint" in card
    assert "## Accuracy" not in card


def test_a_report_of_labelled_data_is_as_it_was(place, capsys):
    assert run(["ptq", "tiny.safetensors", "--scheme", "uniform-3", "--out", "seeing", *SMALL]) == 0
    assert read_results(Path("seeing")).accuracy.labels == "given"
    assert run(["report", "seeing"]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "test accuracy" in said
    assert "synthetic" not in said
    assert run(["report", "seeing", "blind"]) == 0
    assert "Of B, validation and test are agreement with the float model" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["eval", "blind"], "name labelled data"),
        (["search", "tiny.safetensors", "--data", "calib:calib", "--out", "no.json"], "--method sensitivity"),
        (["finalize", "--plan", "blind/plan.json", "--out", "no"], "--distillation 1"),
        (["prune", "tiny.safetensors", "--data", "calib:calib", "--sparsity", "0.5", "--out", "no"], "snnq ptq"),
        (["mask-silent", "tiny.safetensors", "--data", "calib:calib", "--out", "no"], "snnq ptq"),
    ],
)
def test_commands_that_need_labels_refuse_in_one_sentence(place, capsys, words, hint):
    assert run(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "calib:calib has no labels, and this needs them" in said
    assert hint in said
    assert not Path(words[-1]).exists() or words[0] == "eval"


def test_what_needs_no_labels_goes_on_from_the_set_alone(place, capsys):
    few = ["--budget", "avg-bits=2.5", "--batch-size", "8"]
    sensitivity = ["search", "tiny.safetensors", "--data", "calib:calib", "--method", "sensitivity"]
    assert run([*sensitivity, *few, "--out", "blind.json", "--run", "blind.json.run"]) == 0
    tuned = ["finalize", "--plan", "blind.json", "--epochs", "1", "--batch-size", "8", "--distillation", "1"]
    assert run([*tuned, "--measure", "4", "--out", "tuned"]) == 0
    assert read_results(Path("tuned")).accuracy.labels == "float model"
    assert run(["profile", "tuned", "--samples", "4"]) == 0
    assert run(["cost", "measure", "tuned", "--samples", "4"]) == 0
    assert run(["verify", "tuned"]) == 0
    capsys.readouterr()
    assert evaluate("tuned", data=DATA).samples == 48


def test_the_set_is_listed_without_labels(place, capsys):
    assert run(["data", "prepare", "calib:calib", "--steps", "2", "--image-size", "8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["samples"] == {"train": 26, "validation": 3, "test": 3}
    assert found["classes"] == ["ant", "bee", "cat"]
    with pytest.raises(TypeError, match="takes no 'filters'"):
        snnq.calibrate("digits", filters="energy")
