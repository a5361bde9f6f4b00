"""A detection backbone in SpikeYOLO's style, of a user's own file: what is known of it, and the way to a packed one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import spike_yolo
import torch
from lively import wake
from torch import nn

import snnq
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.cli.main import run
from snnq.models.registry import OWN
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import layer_table

SIZES: dict[str, Any] = {"steps": 2, "image_size": (32, 32)}
FRAMES = torch.poisson(torch.full((4, 2, 2, 32, 32), 0.7), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder with the network's file and a checkpoint of it."""
    monkeypatch.chdir(tmp_path)
    OWN.clear()
    shutil.copy(spike_yolo.__file__ or "", "yolo.py")
    torch.manual_seed(0)
    model = spike_yolo.build()
    wake(model, FRAMES.transpose(0, 1))
    torch.save({"model": model.state_dict()}, "yolo.pth")
    return tmp_path


def opened(name: str) -> nn.Module:
    return load_model(open_checkpoint("yolo.pth", model=f"yolo.py:{name}", **SIZES))


def test_spikingjellys_neuron_is_theirs() -> None:
    currents = torch.randn(6, 50, generator=torch.Generator().manual_seed(2)) * 3
    due = spike_yolo.MemUpdate()(currents)
    assert torch.equal(spike_yolo.ILIF()(currents), due)
    assert set(due.unique().tolist()) == {0, 1, 2, 3, 4}


def test_layers_of_integer_spikes_are_known(place: Path) -> None:
    model = opened("build")
    table = {one.name: one for one in layer_table(model, (2, 2, 32, 32))}
    assert table["stem"].input == "counts"
    assert {table[name].input for name in ("down.conv", "p3.mix.0.conv", "p4.1.cv2.conv", "neck.conv")} == {
        "multispikes"
    }
    assert table["down.conv"].multiplications == 9 * 4 * 8 * 8 * 8 * 4  # D = 4
    assert table["p3.sep.2.conv.1"].input == "reals"  # a norm stands between spikes and it


def test_a_norm_whose_numbers_a_module_reads_folds_to_the_same(place: Path) -> None:
    model = opened("build")
    folded = fold_batchnorm(model, {})
    with torch.no_grad():
        due = model(FRAMES)
        torch.testing.assert_close(folded(FRAMES), due, rtol=1e-5, atol=1e-5)
    assert float(due.std(0).max()) > 0.01


def test_neurons_that_are_none_here_are_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "yolo.pth", "--model", "yolo.py:as_published", "--steps", "2", "--image-size", "32"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "no module of --model yolo.py:as_published is a neuron of SpikingJelly or derived from one" in said
    model = opened("as_published")
    with torch.no_grad():
        assert torch.equal(model(FRAMES), opened("build")(FRAMES))


@pytest.mark.slow
def test_the_whole_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, batch = ["--model", "yolo.py:build"], ["--epochs", "1", "--batch-size", "8"]
    data = ["--data", "random,samples=16", "--steps", "2", "--image-size", "32"]
    assert run(["search", "yolo.pth", *own, *data, *batch]) == 0
    assert run(["finalize", *own, *batch, "--out", "trained"]) == 0
    assert run(["ptq", "yolo.pth", *own, *data, "--scheme", "uniform-4", "--out", "rounded"]) == 0
    for folder in ("trained", "rounded"):
        assert run(["verify", folder, *own]) == 0
        assert run(["report", folder, *own]) == 0
        capsys.readouterr()
        assert run(["eval", folder, *own, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["samples"] == 16
    report = snnq.report("rounded", progress=snnq.silent).to_dict()
    assert report["totals"]["avg_bits"] == pytest.approx(4)
