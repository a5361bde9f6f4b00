"""examples/hybrid_video: a cell is made once, and says of each branch what it tells and takes."""

from __future__ import annotations

import gzip
import importlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from documents import ROOT

from snnq.models.registry import ARCHITECTURES

NAMES = ("run", "arms", "cells", "plans", "cnn3d")
TINY = {"dim": 16, "heads": 2, "ann_width": 4, "depth": 10, "blocks": 1, "image_size": "32x32", "steps": 4}


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    before = {name: sys.modules.pop(name, None) for name in NAMES}
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples" / "hybrid_video"), *sys.path])
    found = importlib.import_module("run")
    sys.modules["arms"].SIZES.update(TINY)
    monkeypatch.setattr(sys.modules["arms"], "STRIDE", 2)
    yield found
    ARCHITECTURES.pop("cnn3d", None)
    for name in NAMES:
        sys.modules.pop(name, None)
        if (old := before[name]) is not None:
            sys.modules[name] = old


@pytest.fixture
def images(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name, count in (("train", 700), ("t10k", 100)):
        pictures, labels = draw.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
        for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            with gzip.open(tmp_path / f"{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + array.astype(np.uint8).tobytes())
    return tmp_path


def test_cells(example: ModuleType, images: Path, tmp_path: Path) -> None:
    words = {"out": tmp_path / "out", "seeds": "0", "limit": "35+35+35", "epochs": 1, "still_epochs": 1}
    example.main(images, arms="concat+still,cnn3d", **words)
    table = pd.read_csv(tmp_path / "out" / "arms.csv").set_index("arm")
    hybrid = table.loc["concat+still"]
    parts = [hybrid[f"event_pj_{name}"] for name in ("ann", "snn", "head", "neurons")]
    assert hybrid["event_pj"] == pytest.approx(sum(parts), rel=1e-4)
    assert min(parts) > 0
    # Four 3×3×3 convolutions that halve 4 × 32 × 32, and the head, by hand.
    macs = 27 * (8 * 2 * 16**2 + 8 * 16 * 1 * 8**2 + 16 * 32 * 4**2 + 32 * 64 * 2**2) + 64 * 35
    assert table.loc["cnn3d"]["macs"] == macs
    begun = tmp_path / "out" / "float" / "concat+still" / "0"
    from snnq.checkpoints.opening import open_checkpoint

    start, still = open_checkpoint(begun / "start.safetensors"), open_checkpoint(tmp_path / "out/still/0.safetensors")
    assert torch.equal(start.state_dict["ann.conv1.weight"], still.state_dict["ann.conv1.weight"])
    (begun / "float.safetensors").unlink()
    example.main(images, arms="concat+still", **words)  # a finished cell is not made again
    assert not (begun / "float.safetensors").exists()


def test_accuracy_of_one_factor_sums_over_the_other(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Class 1 alone is the likeliest, but its object's classes together are less likely than another's."""
    logits = torch.full((1, 35), -20.0)
    logits[0, 1], logits[0, 7], logits[0, 8] = 1.0, 0.9, 0.9
    cells = sys.modules["cells"]
    monkeypatch.setattr(cells, "predict", lambda *_: (logits, torch.tensor([7])))

    class Data:
        test = None

    found = cells.accuracies(None, Data, "test")
    assert found == {"joint": 0.0, "appearance": 1.0, "motion": 0.0}


def test_arms_and_plans(example: ModuleType) -> None:
    arm = sys.modules["arms"].Arm
    assert (arm.named("cross+still").architecture, arm.named("cross+still").pretrained) == ("respike-cross", True)
    assert "key_stride" not in arm.named("dense").sizes
    for name in ("corss", "residual+still", "cross+moving"):
        with pytest.raises(ValueError, match="no arm is called"):
            arm.named(name)
    assert set(sys.modules["plans"].FIXED) < set(sys.modules["plans"].ROWS)
