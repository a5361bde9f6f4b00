"""Importing other people's libraries where a torchvision that does not import is installed beside them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from snnq.exporting.source import broken_torchvision_hidden


@pytest.mark.parametrize("broken", [True, False])
def test_a_broken_torchvision_is_hidden_and_a_sound_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    (tmp_path / "transformers.py").write_text("")
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('another torch')" if broken else "")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with broken_torchvision_hidden():
        assert (find_spec("torchvision") is None) == broken
    assert find_spec("torchvision") is not None
    sys.modules.pop("torchvision", None)


def test_without_transformers_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr("snnq.exporting.source.find_spec", lambda name: None)
    with broken_torchvision_hidden():
        assert "torchvision" not in sys.modules
