"""examples/exits: a row for every allowed loss, chosen on validation, and nothing is run twice."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "exits" / "run.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("exits_run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_rows_and_curve(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "exits"
    script.main(["digits"], data="digits,limit=40", losses="0,100", out=out)
    strict, loose = csv.DictReader((out / "exits.csv").read_text(encoding="utf-8").splitlines())
    assert float(strict["validation"]) >= float(strict["validation_all_steps"])
    assert (float(loose["mean_steps"]), loose["fixed_steps"]) == (1.0, "1")
    assert float(loose["test"]) == float(loose["test_shuffled"]) == float(loose["test_fixed"])
    curve = list(csv.DictReader((out / "curve.csv").read_text(encoding="utf-8").splitlines()))
    assert (float(curve[0]["steps"]), float(curve[-1]["steps"])) == (4.0, 1.0)
    file = out / "digits.json"
    cell = json.loads(file.read_text(encoding="utf-8"))
    cell["rows"][0]["mean_steps"] = 3.21
    file.write_text(json.dumps(cell), encoding="utf-8")
    script.main(["digits"], data="digits,limit=40", losses="0,100", out=out)
    assert "3.21 of 4 steps" in capsys.readouterr().err
