"""A packed folder gives the same logits, bit for bit, on torch, in the engine and in its numpy reference."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from snnq.cli.main import run
from snnq.packed.loading import load_packed
from snnq.runtime import Engine
from snnq.runtime.reference import Reference


def engines_agree(folder: Path, shape: tuple[int, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Compare them on three samples of frames of that shape, and the accuracies that ``eval`` prints."""
    frames = np.random.default_rng(1).poisson(0.7, (3, *shape)).astype(np.uint16)
    with torch.no_grad():
        due = load_packed(folder)(torch.from_numpy(frames.astype(np.float32))).numpy()
    assert np.ptp(due) > 0
    assert np.array_equal(Engine(folder)(frames), due)
    assert np.array_equal(Reference(folder)(frames), due)
    found = []
    for engine in ("torch", "integer"):
        capsys.readouterr()
        assert run(["eval", str(folder), "--engine", engine, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out)["accuracy"])
    assert found[0] == found[1]
