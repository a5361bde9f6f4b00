"""examples/few_bits: a cell is made once, and its row says what the packed folder has."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from documents import ROOT
from tiny_checkpoints import TINY, save_tiny

from snnq.packed.sizes import file_bits


@pytest.fixture
def example() -> Iterator[ModuleType]:
    names = ("run", "arms")
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(ROOT / "examples" / "few_bits"))
    yield importlib.import_module("run")
    sys.path.pop(0)
    for name in names:
        sys.modules.pop(name, None)
        if (old := before[name]) is not None:
            sys.modules[name] = old


def test_a_cell(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path)
    words = {"out": tmp_path / "out", "arms": "free@1.5", "seeds": "0", "epochs": 1, "measure": 4}
    example.main(TINY, **words)
    (row,) = pd.read_csv(tmp_path / "out" / "few_bits.csv").to_dict("records")
    packed = tmp_path / "out" / "tiny" / "free@1.5" / "0" / "packed"
    size = (packed / "model.safetensors").stat().st_size
    weights = example.snnq.Plan.read(packed / "plan.json").totals.weights
    assert (row["file_bytes"], row["file_bits"]) == (size, pytest.approx(file_bits(size, weights), rel=1e-4))
    assert row["plan_bits"] <= 1.5
    packed.rename(tmp_path / "gone")
    example.main(TINY, **words)  # a finished cell is not made again
    assert not packed.exists()


def test_arms(example: ModuleType) -> None:
    arm = sys.modules["arms"].Arm
    assert (arm.named("rate@0.7").bits, arm.named("uniform-2").bits) == (0.7, None)
    assert arm.named("even@1").finetuning() == {"hold_rates": True}
    for name in ("rate", "uniform-2@1", "rated@1"):
        with pytest.raises(ValueError, match="no arm is called"):
            arm.named(name)
