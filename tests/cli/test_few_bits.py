"""Ternary and binary weights the whole way: search, finalize, ptq, verify, every engine, the report, exports."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from agreeing import engines_agree
from tiny_checkpoints import CONFIG, save_tiny

from snnq.cli.main import run
from snnq.network.layers import frames_shape
from snnq.packed.loading import load_packed
from snnq.packed.readers import NUMPY_READERS
from snnq.plan import Plan
from snnq.reconstructing.settings import METHODS

TINY = ("--batch-size", "8")
PRICES = {"ternary": 1.6, "binary": 1}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path, "float.safetensors", "random,classes=3,samples=16", awake=True)
    return tmp_path


def numpy_reads_the_same(folder: Path) -> None:
    found: dict[str, Any] = {}
    exec(compile(NUMPY_READERS["coded"], "README.md", "exec"), found)
    model = load_packed(folder, "float")
    for name, weight in found["weights"].items():
        assert weight.tobytes() == model.get_submodule(name).get_parameter("weight").numpy().tobytes()


@pytest.mark.timeout(400)
@pytest.mark.parametrize("scheme", ["ternary", pytest.param("binary", marks=pytest.mark.slow)])
def test_search_to_report_and_export(scheme: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--space", f"{scheme},uniform-4,float32", "--lock", f"head={scheme}", "--budget", "avg-bits=1.9"]
    assert run(["search", "float.safetensors", "--method", "sensitivity", *words, *TINY]) == 0
    assert f"{scheme[0]} {scheme}, " in capsys.readouterr().out
    plan = Plan.read(place / "plan.json")
    chosen = [layer for layer in plan.layers if layer.scheme == scheme]
    assert len(chosen) > len(plan.layers) // 2
    assert plan.schemes()["head"] == scheme
    assert scheme in {one.scheme for one in plan.baselines if one.validation_loss is not None}
    assert [layer.bits for layer in chosen] == [pytest.approx(math.prod(one.shape) * PRICES[scheme]) for one in chosen]
    assert run(["finalize", "--plan", "plan.json", "--epochs", "1", *TINY]) == 0
    assert run(["verify", "packed"]) == 0
    assert "999999" not in capsys.readouterr().out  # bits that are no whole numbers are still short
    engines_agree(place / "packed", frames_shape(CONFIG), capsys)
    numpy_reads_the_same(place / "packed")
    assert run(["report", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {one["bits"] for one in shown["layers"] if one["scheme"] == scheme} == {PRICES[scheme]}
    page = (place / "packed" / "report.html").read_text()
    assert f"{scheme[0]}{PRICES[scheme]:g}" in page
    assert run(["export", "packed", "--to", "c"]) == 0
    assert f"codes of {2 if scheme == 'ternary' else 1} bits" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", PRICES)
def test_a_trained_search_and_a_start_from_packed_codes(scheme: str, place: Path) -> None:
    words = ["--epochs", "1", *TINY]
    assert run(["search", "float.safetensors", "--space", f"{scheme},float32", *words]) == 0
    assert run(["plan", "uniform", "float.safetensors", "--scheme", scheme, "--out", "few.json"]) == 0
    assert run(["ptq", "--plan", "few.json", "--out", "quick", "--samples", "16", *TINY]) == 0
    assert run(["finalize", "--plan", "few.json", "--start", "quick", "--out", "tuned", *words]) == 0
    assert run(["verify", "tuned"]) == 0


@pytest.mark.timeout(300)
@pytest.mark.slow
@pytest.mark.parametrize("scheme", PRICES)
def test_every_method_of_ptq(scheme: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method in METHODS:
        words = ["--method", method, "--samples", "16", *TINY]
        words += ["--steps-per-round", "1"] if method in ("adaround", "tesseraq") else []
        assert run(["ptq", "float.safetensors", "--scheme", scheme, "--out", method, *words]) == 0
        assert run(["verify", method]) == 0
    engines_agree(place / METHODS[-1], frames_shape(CONFIG), capsys)
