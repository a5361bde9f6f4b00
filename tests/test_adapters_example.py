"""examples/adapters: a cell is made once, and its row says what the adapter is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from example_modules import example_of
from tiny_checkpoints import TINY, save_tiny


@pytest.fixture
def example() -> Iterator[ModuleType]:
    with example_of("adapters", "arms") as module:
        yield module


def test_cells(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path)
    words = {"stream": "random,classes=4,samples=24", "out": tmp_path / "out", "backbones": "uniform-4", "orders": "1"}
    words |= {"epochs": 1, "backbone_epochs": 1, "pool": 2, "length": 2, "blocks": "0", "measure": 1}
    example.main(TINY, arms="lda,coda", **words)
    coda, lda = pd.read_csv(tmp_path / "out" / "adapters.csv").to_dict("records")
    cell = tmp_path / "out" / "uniform-4" / "coda" / "1"
    found = example.snnq.adapt_list(cell / "adapter.safetensors", packed=tmp_path / "out" / "uniform-4" / "packed")
    assert found.adapters[0].fits
    assert (coda["arm"], lda["arm"], coda["adapter_bytes"]) == ("coda", "lda", found.adapters[0].bytes)
    assert coda["class_final_average_accuracy"] == pytest.approx(found.adapters[0].final_average_accuracy, abs=1e-6)
    assert lda["of_one_pass"] == 1 < 1.9 < coda["of_one_pass"]
    assert coda["synaptic_operations"] > 1.7 * coda["backbone_operations"]
    (cell / "adapter.safetensors").unlink()
    example.main(TINY, arms="coda", **words)  # a finished cell is not made again
    assert not (cell / "adapter.safetensors").exists()


def test_every_arm_is_a_method(example: ModuleType) -> None:
    from snnq.adapting.settings import AdaptSettings

    arms = sys.modules["arms"]
    for arm in arms.ARMS:
        words = arms.words_of(arm, "classes:2", {"pool": 4, "length": 2, "blocks": "0-1"})
        made = AdaptSettings(**({"top": 2} | words))
        assert made.prompted == (arm in arms.PROMPTS)
        assert made.tasks == ("joint" if arm.startswith("joint") else "classes:2")
