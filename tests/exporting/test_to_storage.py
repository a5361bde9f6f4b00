"""The same model in the other storage: everything but the bytes of model.safetensors stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snnq.cli.main import run
from snnq.exporting.run import export
from snnq.packed.config import read_config
from snnq.packed.opening import open_tensors


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    fixed = Path(export(folder, "fixed").out)
    assert fixed == folder.with_name("packed-fixed")
    back = Path(export(fixed, "coded", tmp_path / "back").out)
    for name in ("model.safetensors", "plan.json", "report.json", "README.md", "config.json"):
        assert (back / name).read_bytes() == (folder / name).read_bytes(), name
    assert (fixed / "plan.json").read_bytes() == (folder / "plan.json").read_bytes()
    assert (fixed / "report.json").read_bytes() == (folder / "report.json").read_bytes()
    found, due = (open_tensors(one, read_config(one)).tensors for one in (fixed, folder))
    assert found.keys() == due.keys()
    assert all(np.array_equal(found[name], array) for name, array in due.items())


def test_what_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", str(folder), "--to", "fixed"]) == 0
    shown = capsys.readouterr()
    assert "words of a fixed width" in shown.out
    assert "bits per weight in the file" in shown.err
    for layer in export(folder, "fixed", force=True).layers:
        assert layer.bits >= int(layer.scheme.rpartition("-")[2]) if layer.scheme != "float32" else layer.bits == 32
