"""Search, finalize, report, verify and eval on a small model and `random` data, typed one after the other."""

from __future__ import annotations

import io
import json
import re
import shutil
from contextlib import chdir, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_checkpoints import save_tiny

from snnq.cli.main import run

DATA = "random,classes=3,samples=16"


@dataclass(frozen=True)
class Made:
    """A folder in which search and finalize were typed, and what they said."""

    folder: Path
    searching: str
    finalizing: str

    def copied(self, place: Path, *, packed: bool = True) -> Path:
        """Copy it to an empty folder, without what finalize made unless ``packed``; return the copy."""
        left = shutil.ignore_patterns() if packed else shutil.ignore_patterns("packed*")
        return shutil.copytree(self.folder, place, ignore=left, dirs_exist_ok=True)


def save_small(path, layout="cifar10dvs"):
    save_tiny(Path(path).parent, Path(path).name, DATA, layout=layout)


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Give what search and finalize make of a layout, once for all tests: each changes a copy of its own."""
    known: dict[str, Made] = {}

    def made_of(layout: str) -> Made:
        if layout not in known:
            folder = tmp_path_factory.mktemp(layout)
            save_small(folder / "float.safetensors", layout)
            with chdir(folder):
                known[layout] = Made(folder, said_by(search), said_by(finalize))
        return known[layout]

    return made_of


@pytest.fixture(params=["cifar10dvs", *(pytest.param(one, marks=pytest.mark.slow) for one in ("cifar10", "imagenet"))])
def made(request, make):
    return make(request.param)


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """Work where search and finalize were typed."""
    monkeypatch.chdir(made.copied(tmp_path))
    return tmp_path


@pytest.fixture
def searched(make, tmp_path, monkeypatch):
    """Work where search was typed."""
    monkeypatch.chdir(make("cifar10dvs").copied(tmp_path, packed=False))
    return tmp_path


def said_by(command):
    with redirect_stderr(io.StringIO()) as said:
        assert command() == 0, said.getvalue()
    return said.getvalue()


def search(*more):
    small = ["--epochs", "2", "--batch-size", "8", "--space", "uniform-2,power-of-two-4,float32"]
    return run(["search", "float.safetensors", *small, *more])


def finalize(*more, measure=3):
    small = ["--epochs", "1", "--batch-size", "8", "--measure", str(measure)]
    return run(["finalize", "--plan", "plan.json", *small, *more])


def test_the_three_commands_in_a_row(made, place, capsys):
    said = made.searching
    assert re.search(r"Next: snnq finalize --plan plan\.([\w-]+\.)?json$", said, re.MULTILINE)  # or a simple plan wins
    assert said.index("Float model: right on ") < said.index("searching: ")
    said = made.finalizing
    assert "snnq report" in said
    assert said.index("of 16 validation samples (chance: ") < said.index("finetuning: ")
    assert run(["report", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert isinstance(shown, dict)
    assert (place / "packed/report.html").stat().st_size > 1000
    assert run(["verify", "packed"]) == 0
    capsys.readouterr()

    results = json.loads((place / "packed/report.json").read_text())
    assert run(["eval", "packed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == results["accuracy"]["plan"]["test"]
    assert run(["eval", "float.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == results["accuracy"]["float"]["test"]


def test_finalize_measures_events_and_the_report_prices_them(place, capsys):
    recorded = json.loads((place / "packed/report.json").read_text())["activity"]
    assert {name: one["arithmetic"] for name, one in recorded.items()} == {"plan": "integer", "float": "float"}
    assert recorded["plan"]["samples"] == 3
    assert run(["report", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert run(["report", "--format", "json", "--measure", "3"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["event_energy"] == found["event_energy"]  # the float checkpoint is still there
    assert again["event_energy"]["float_model"]["arithmetic"] == "float"
    assert run(["cost", "measure", "packed", "--samples", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["activity"] == recorded["plan"]


def test_what_is_not_measured_is_said(searched, capsys):
    assert finalize(measure=0) == 0
    assert json.loads((searched / "packed/report.json").read_text())["activity"] is None
    capsys.readouterr()
    assert run(["report"]) == 0
    assert "not measured yet: snnq report --measure 64" in capsys.readouterr().err


def test_typing_a_command_again_does_nothing_and_changes_nothing(place, capsys):
    before = {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}
    assert search() == 0
    assert finalize() == 0
    assert capsys.readouterr().err.count("nothing was done") == 2
    assert {path: path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()} == before


def test_nothing_is_overwritten_without_force(make, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(make("cifar10dvs").copied(tmp_path))
    before = (tmp_path / "plan.json").read_bytes()
    assert search("--seed", "1") == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "plan.json").read_bytes() == before
    packed = (tmp_path / "packed/model.safetensors").read_bytes()
    assert finalize("--seed", "1") == 2
    assert (tmp_path / "packed/model.safetensors").read_bytes() == packed
    assert finalize("--seed", "1", "--force") == 0
    assert (tmp_path / "packed/model.safetensors").read_bytes() != packed
    assert search("--method", "sensitivity", "--force") == 0
    assert json.loads((tmp_path / "plan.json").read_text())["search"]["method"] == "sensitivity"


def test_the_same_seed_gives_the_same_bytes(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_small("float.safetensors")
    assert search() == 0
    assert finalize() == 0
    for name in ("plan.json", "packed/model.safetensors", "packed/report.json", "packed/config.json"):
        assert (tmp_path / name).read_bytes() == (make("cifar10dvs").folder / name).read_bytes(), name


def test_a_changed_input_is_refused_by_name(searched, capsys):
    (searched / "plan.json").unlink()
    assert search("--trade-off", "0.9") == 2
    assert "trade_off" in capsys.readouterr().err
    assert search() == 0  # the run's state is still whole


def test_finalize_refuses_another_checkpoint(searched, capsys):
    save_tiny(Path(), "float.safetensors", DATA, seed=99)
    assert finalize() == 2
    assert "sha256" in capsys.readouterr().err


def test_data_that_does_not_fit_the_model_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_small("float.safetensors")
    assert search("--data", "random,classes=4,samples=16") == 2
    assert "4 classes" in capsys.readouterr().err


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("uniform-3", "power-of-two-5", "power-of-two-8", "uniform-8")
]


@pytest.mark.parametrize("scheme", ["float32", *SLOW])
def test_every_scheme_goes_the_whole_way(tmp_path, monkeypatch, scheme, capsys):
    monkeypatch.chdir(tmp_path)
    save_small("float.safetensors")
    assert run(["plan", "uniform", "float.safetensors", "--scheme", scheme, "--out", "plan.json"]) == 0
    assert finalize("--data", DATA) == 0
    assert run(["verify", "packed"]) == 0
    assert run(["report"]) == 0
