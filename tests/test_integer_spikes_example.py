"""A cell of the experiment on integer spikes, in small."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pytest

from snnq.base.errors import UsageError

PLACE = Path(__file__).resolve().parents[1] / "examples" / "integer_spikes" / "run.py"


def example():
    spec = importlib.util.spec_from_file_location("integer_spikes_run", PLACE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_cell_runs_and_is_skipped_when_it_is_finished(tmp_path: Path) -> None:
    run, size = example(), "image_size=16,dim=8,depth=1,heads=2,width1=4,width2=4,width3=8"
    given = {"cells": "1x4", "schemes": "uniform-4", "seeds": "0", "size": size, "epochs": 1, "out": tmp_path}
    run.main("random,classes=3,samples=16", **given)
    rows = pd.read_csv(tmp_path / "integer-spikes.csv")
    assert rows[["steps", "substeps", "seed"]].to_numpy().tolist() == [[1, 4, 0]]
    assert rows.energy_nj[0] > 0
    assert 0 <= rows.same[0] <= 1
    before = (tmp_path / "integer-spikes.csv").read_bytes()
    run.main("random,classes=3,samples=16", **given)
    assert (tmp_path / "integer-spikes.csv").read_bytes() == before


def test_a_cell_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--cells 4: a cell is TxD, such as 2x4"):
        example().main("digits", cells="4", out=tmp_path)
