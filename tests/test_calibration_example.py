"""examples/calibration: cells of sources that are made and real, once each, and their gaps to real data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from example_modules import example_of
from tiny_checkpoints import TINY, save_tiny

DATA = "random,classes=3,samples=24"


@pytest.fixture
def example() -> Iterator[ModuleType]:
    with example_of("calibration", "sources") as module:
        yield module


def test_cells_of_three_sources(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path)
    words = {"data": DATA, "classes": "a,b,c", "out": tmp_path / "out", "bits": "2", "samples": "8", "seeds": "0"}
    example.main(Path(TINY), **words, sources="real,just-1,noise", methods="rtn,quantease", epochs=1)
    rows = pd.read_csv(tmp_path / "out" / "calibration.csv").set_index("source")
    assert list(rows.loc[["none", "real", "just-1", "noise"], "samples"]) == [0, 8, 3, 8]
    assert rows.loc["real", "gap_to_real"] == 0
    due = rows.loc["noise", "test"] - rows.loc["real", "test"]
    assert rows.loc["noise", "gap_to_real"] == pytest.approx(due, abs=1e-4)
    assert (rows.test_samples == 24).all()
    few = sorted(path.parent.name for path in (tmp_path / "out" / "sets" / "just-1-0" / "train").glob("*/*.npz"))
    assert few == ["000", "001", "002"]
    packed = tmp_path / "out" / "cells" / "noise-quantease-2-8-0" / "packed"
    packed.rename(tmp_path / "gone")
    example.main(Path(TINY), **words, sources="noise", methods="quantease", epochs=1)
    assert not packed.exists()


def test_which_cells_there_are(example: ModuleType) -> None:
    found = example.cells(["real", "just-5", "glyphs"], ["rtn", "quantease"], ["2"], [64, 256], ["0", "1"])
    named = [tuple(cell.values()) for cell in found]
    assert len(named) == len(set(named))
    assert ("none", "rtn", "2", 0, 0) in named
    assert [one for one in named if one[0] == "just-5"] == [("just-5", "quantease", "2", 0, seed) for seed in (0, 1)]
    assert sum(one[0] == "glyphs" for one in named) == 4
