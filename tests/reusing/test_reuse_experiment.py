"""The experiment on reusing attention: every arm makes a cell, and the shallower network is as fast as it must be."""

from __future__ import annotations

import importlib
from pathlib import Path

import pandas as pd
import pytest
from documents import ROOT
from test_reuse_plan import save


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cells_of_reusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "examples")
    save("three.safetensors")
    words = {"counts": "0,1", "seeds": "0", "epochs": 1, "chips": 2, "scheme": "uniform-4", "samples": 2}
    importlib.import_module("attention_reuse.run").main("three.safetensors", out=tmp_path / "out", **words)
    found = pd.read_csv(tmp_path / "out" / "attention_reuse.csv").set_index(["count", "arm"])
    assert list(found.index) == [(0, "reuse"), (1, "random"), (1, "reuse"), (1, "shallow"), (1, "skip")]
    whole, reuse, shallow, skip = (found.loc[key] for key in ((0, "reuse"), (1, "reuse"), (1, "shallow"), (1, "skip")))
    assert reuse["predicted_ns"] == pytest.approx(reuse["delay_ns"])
    assert skip["delay_ns"] < reuse["delay_ns"] < whole["delay_ns"]
    assert skip["attentions"] == reuse["attentions"]
    assert shallow["depth"] < 3
    assert shallow["delay_ns"] <= reuse["delay_ns"]
    assert reuse["cells_written"] == pytest.approx(whole["cells_written"] * 2 / 3)
    assert not found[["packed_test", "noisy_test", "noisy_sd"]].isna().to_numpy().any()
