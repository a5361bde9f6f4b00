"""The experiment on a scheme for every time step: its weights, and a cell in small."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch
from documents import ROOT
from torch import nn


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "examples")
    return importlib.import_module("scheme_per_step.run")


def test_what_is_rounded_away_is_carried_on(run: ModuleType) -> None:
    """0.3 of a level, by hand: 0, 1 (0.6 is rounded up), 0 (-0.1), 0 (0.2): their mean is nearer than 0."""
    carried = run.Carried(torch.ones(1, 4))
    carried.start.fill_(2.0)
    found = torch.stack(carried(torch.tensor([[0.6, -0.6, 2.0, 5.0]])))
    assert found[:, 0].tolist() == [[0, 0, 2, 2], [2, -2, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]]


def test_every_step_has_its_weight(run: ModuleType) -> None:
    class Times(nn.Module):
        def forward(self, weight: torch.Tensor) -> list[torch.Tensor]:
            return [weight * step for step in range(4)]

    layer = nn.Linear(1, 1)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    x = torch.ones(8, 1)  # two samples of four steps
    assert run.ByStep(layer, Times())(x).flatten().tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert run.ByStep(layer, nn.Identity())(x).flatten().tolist() == [2.0] * 8


def test_cells_run_and_are_skipped_when_they_are_finished(run: ModuleType, tmp_path: Path) -> None:
    words = {"seeds": "0", "dim": 8, "side": 8, "float_epochs": 1, "epochs": 1, "arms": "ternary, carried;4, 4, 2, 2"}
    run.main("random,classes=3,samples=24", out=tmp_path, **words)
    rows = pd.read_csv(tmp_path / "scheme-per-step.csv").set_index("arm")
    assert rows.loc["ternary, carried", ["stored_bits", "read_bits"]].tolist() == [6.34, 1.58]
    assert rows.loc["4, 4, 2, 2", ["stored_bits", "read_bits"]].tolist() == [6, 3]
    before = (tmp_path / "scheme-per-step.csv").read_bytes()
    run.main("random,classes=3,samples=24", out=tmp_path, **words)
    assert (tmp_path / "scheme-per-step.csv").read_bytes() == before
