"""The experiment's script: cells that are kept, and the gap recovered against AWQ."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from pathlib import Path

import pandas as pd
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples/ptq"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("run")
    for name in ("run", "arms", "summary", "amplitudes"):
        sys.modules.pop(name, None)


def test_two_arms_of_a_plan(example, checkpoint, tmp_path):
    options = {"plans": "uniform-2+ends=uniform-4", "arms": "awq,tesseraq-live", "seeds": "1", "samples": 16}
    options |= {"steps_per_round": 1, "steps": None, "heads": None, "image_size": None, "pooling": None, "data": None}
    example.main([checkpoint], out=tmp_path, **options)
    found = pd.read_csv(tmp_path / "ptq.csv")
    assert list(found.arm) == ["awq", "tesseraq-live"]
    assert (found.avg_bits > 2).all()
    assert found.recovered_test.isna().all() or found.recovered_test.iloc[0] == 0
    cell = tmp_path / checkpoint.stem / "uniform-2+ends=uniform-4/awq/1/cell.json"
    cell.write_text(json.dumps(json.loads(cell.read_text()) | {"test": 0.25, "float_test": 0.75}))
    other = tmp_path / checkpoint.stem / "uniform-2+ends=uniform-4/tesseraq-live/1/cell.json"
    other.write_text(json.dumps(json.loads(other.read_text()) | {"test": 0.5, "float_test": 0.75}))
    example.main([checkpoint], out=tmp_path, **options)  # finished cells are taken as they are
    assert list(pd.read_csv(tmp_path / "ptq.csv").recovered_test) == [0.0, 0.5]


def test_the_tables(example, tmp_path, capsys):
    import summary

    columns = ["model", "plan", "arm", "seed", "avg_bits", "float_validation", "float_test"]
    columns += ["validation", "test", "recovered_validation", "seconds"]
    rows = [("a", "p", "awq", seed, 2.0, 0.9, 0.8, 0.7 + seed / 100, 0.6, 0.0, 8) for seed in (0, 2)]
    rows += [("b", "p", "awq", seed, 2.0, 0.8, 0.8, 0.6 + seed / 100, 0.6, 0.0, 8) for seed in (0, 2)]
    rows += [("b", "p", "rtn", 0, 2.0, 0.8, 0.8, 0.5, 0.4, None, 6)]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "p.csv")
    summary.main(tmp_path / "p.csv")
    lines = capsys.readouterr().out.splitlines()
    assert "p: 2.00 bits; float 90.00 and 80.00 % on validation, 80.00 and 80.00 % on test" in lines
    assert "| `awq` | 2 × 2 | -19.00 ± 1.15 | -20.00 ± 0.00 | 0 ± 0 | 8 |" in lines
    assert "| `rtn` | 1 × 1 | -30.00 | -40.00 | nan | 6 |" in lines
    assert lines[-1] == "| `p` | 2.00 | -19.00 / -20.00 |  |  |  |  |  |"


def test_amplitudes_are_never_better_than_their_best(example, checkpoint, capsys):
    import amplitudes

    options = {"steps": None, "heads": None, "image_size": None, "pooling": None, "data": None, "samples": 16}
    amplitudes.main(str(checkpoint), schemes="uniform-2", **options)
    rows = list(csv.DictReader(capsys.readouterr().out.split("\n\n")[0].splitlines()))
    assert rows
    assert all(0 < float(row["amplitudes"]) <= 1 and 0 < float(row["descent"]) <= 1.001 for row in rows)


def test_the_arms_are_settings(example):
    arms = sys.modules["arms"]
    made = {arm: arms.settings_of(arm, 3, 64, 5) for arm in arms.ARMS}
    assert made["tesseraq-plain"].norms == "kept"
    assert made["par-live"].scales is False
    assert {one.seed for one in made.values()} == {3}
    assert len(set(made.values())) == len(made)
