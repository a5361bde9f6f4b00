"""Cells of other lengths or data are never gathered into one experiment's CSV."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from snnq.base.errors import RunChangedError

FOLDER = Path(__file__).resolve().parents[1] / "examples/reference"


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in ("experiment", "rows"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "change",
    [
        {"finetune_epochs": 3},
        {"search_epochs": 4},
        {"batch_size": 16},
        {"data": "random,samples=32"},
        {"sizes": {"image_size": (34, 34)}},
    ],
)
def test_another_setting_is_refused_by_name(scripts, tmp_path, change):
    experiment, rows = scripts("experiment"), scripts("rows")
    setting = rows.Setting(tmp_path / "float.safetensors", "random", {"image_size": (28, 28)}, 3, 2, 64)
    file = tmp_path / "out/setting.json"
    experiment.keep_setting(file, setting)
    before = file.read_text()
    experiment.keep_setting(file, replace(setting, checkpoint=tmp_path / "elsewhere.safetensors"))
    with pytest.raises(RunChangedError, match=f"out holds cells with {next(iter(change))} = "):
        experiment.keep_setting(file, replace(setting, **change))
    assert file.read_text() == before


def test_the_runner_refuses_before_it_makes_a_cell(scripts, tmp_path):
    experiment, rows = scripts("experiment"), scripts("rows")
    setting = rows.Setting(tmp_path / "float.safetensors", "random", {}, 3, 2, 64)
    experiment.keep_setting(tmp_path / "out/setting.json", setting)
    with pytest.raises(RunChangedError, match="finetune_epochs = 2, now it is 5"):
        experiment.run_cells("small", replace(setting, finetune_epochs=5), tmp_path / "out", [0], ["uniform-2"])
    assert not (tmp_path / "out/uniform-2").exists()
