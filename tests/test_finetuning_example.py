"""The arms of examples/finetuning: each is a run of finalize, and a cell says what came of it."""

from __future__ import annotations

import csv
import importlib.util
import json
from dataclasses import fields
from pathlib import Path

import pytest
from tiny_checkpoints import save_tiny

from snnq.finalizing.settings import FinalizeSettings

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "finetuning" / "run.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("finetuning_run", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_arm_is_one_of_finalize(script):
    known = {one.name for one in fields(FinalizeSettings)} | {"times", "start"}
    for knobs in script.ARMS.values():
        assert knobs.keys() <= known
        FinalizeSettings(**{name: value for name, value in knobs.items() if name not in ("times", "start")})


def test_a_cell_says_what_came_of_it_and_is_not_run_again(script, tmp_path, capsys):
    checkpoint, out = str(save_tiny(tmp_path)), tmp_path / "cells"
    words = {"out": out, "plans": "uniform-3@1.5", "arms": "pl*", "seeds": "0", "epochs": 1}
    script.main(checkpoint, **words)
    (row,) = csv.DictReader((out / "finetuning.csv").read_text(encoding="utf-8").splitlines())
    assert (row["arm"], row["plan"], row["seed"]) == ("plain", "uniform-3@1.5", "0")
    assert 0 < float(row["bits"]) < 3
    assert 0 <= float(row["validation"]) <= 1
    cell = next(out.glob("*/*/*/plain/0/cell.json"))
    cell.write_text(json.dumps(json.loads(cell.read_text(encoding="utf-8")) | {"seconds": 12345}), encoding="utf-8")
    script.main(checkpoint, **words)
    assert "12345 s" in capsys.readouterr().err
