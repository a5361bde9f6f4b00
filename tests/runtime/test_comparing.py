"""Where the engines differ, the first layer of neurons is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lively import write_lively

import snnq
from snnq.base.errors import VerificationError
from snnq.cli.main import run
from snnq.runtime import comparing
from snnq.runtime.engine import Engine


def test_engines_that_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lively(tmp_path / "packed", ["uniform-2", "power-of-two-4"])
    found = snnq.verify(tmp_path / "packed")
    assert found.engines is not None
    assert found.engines.neurons == 19
    assert found.engines.spikes > 1000
    assert found.to_dict()["engines"]["samples"] == 2
    assert run(["verify", str(tmp_path / "packed")]) == 0
    assert "agree on every spike" in capsys.readouterr().err
    assert run(["verify", str(tmp_path / "packed"), "--files-only"]) == 0
    assert "integer engine" not in capsys.readouterr().err


def test_the_first_layer_that_differs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"])

    class Wrong(Engine):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            layers = dict(self.layers)
            for name in ("patch_embed.rpe_conv", "block.1.mlp.fc1"):
                shift, offset, threshold = layers[name].numbers
                layers[name] = replace(layers[name], numbers=(shift, offset, threshold // 2))
            self.layers = layers

    monkeypatch.setattr(comparing, "Engine", Wrong)
    assert run(["verify", str(tmp_path / "packed")]) == 4
    assert "patch_embed.rpe_lif" in capsys.readouterr().err


def test_a_head_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"])

    class Wrong(Engine):
        def __call__(self, *given: Any) -> np.ndarray:
            return super().__call__(*given) + 1

    monkeypatch.setattr(comparing, "Engine", Wrong)
    with pytest.raises(VerificationError, match="head"):
        comparing.compare_engines(tmp_path / "packed")
