"""``--storage``: how finalize and ptq store what they made."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_checkpoints import TINY, save_tiny

import snnq
from snnq.base.errors import UsageError
from snnq.cli.main import run


def test_fixed_storage_holds_the_same_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path)
    words = ["ptq", TINY, "--scheme", "uniform-2", "--method", "rtn", "--samples", "8"]
    assert run([*words, "--out", "coded"]) == 0
    assert run([*words, "--storage", "fixed", "--out", "fixed"]) == 0
    snnq.export("coded", "fixed", out="expected")
    stored = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in ("coded", "fixed", "expected")}
    assert stored["fixed"] == stored["expected"] != stored["coded"]
    snnq.verify("fixed")
    assert run([*words, "--storage", "fixd", "--out", "x"]) == 2


def test_fixed_storage_is_refused_where_rates_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path)
    snnq.uniform_plan("uniform-4@1", checkpoint=TINY).write("rated.json")
    with pytest.raises(UsageError, match="there every code takes its whole width"):
        snnq.finalize("rated.json", storage="fixed", out="x")
    snnq.uniform_plan("uniform-4", checkpoint=TINY).write("plain.json")
    with pytest.raises(UsageError, match="a rate or budget is trained for"):
        snnq.finalize("plain.json", storage="fixed", budget=["avg-bits=1"], out="x")
    assert not Path("x").exists()
