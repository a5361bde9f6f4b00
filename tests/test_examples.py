"""The scripts in examples/ run, on small data, as their own docstrings type them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from snnq.checkpoints.opening import load_model, open_checkpoint

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"image_size": 16, "steps": 2, "dim": 16, "depth": 1, "heads": 2, "epochs": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_float", ROOT / "examples/train_float.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fashion(tmp_path):
    """Write IDX files as Fashion-MNIST has them: 40 training and 20 test images of ten classes."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 40), ("t10k", 20)):
        images = draw.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            with gzip.open(tmp_path / f"{split}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + array.tobytes())
    return f"fashion-mnist:{tmp_path}"


def test_train_float_makes_a_checkpoint_that_opens(example, tmp_path, capsys):
    out = tmp_path / "small.safetensors"
    example.main("random,classes=3,samples=16", out, **SMALL)
    said = json.loads(capsys.readouterr().out)
    opened = open_checkpoint(out)
    assert opened.data == "random,classes=3,samples=16"
    assert opened.config["classes"] == 3
    assert load_model(opened).config.dim == 16
    assert 0 <= said["test_accuracy"] <= 1
    before = out.read_bytes()
    example.main("random,classes=3,samples=16", out, **SMALL)  # a finished run: the same checkpoint again
    assert out.read_bytes() == before


def test_train_float_on_fashion_mnist(example, fashion, tmp_path, capsys):
    example.main(fashion, tmp_path / "fashion.safetensors", **SMALL | {"epochs": 1})
    assert json.loads(capsys.readouterr().out)["simulated"] is True
    assert open_checkpoint(tmp_path / "fashion.safetensors").config["classes"] == 10


def test_augmentations_keep_what_they_promise(example):
    from snnq.training.seeding import generator

    frames = np.zeros((2, 1, 1, 5, 5), np.float32)
    frames[:, 0, 0, 2, 2] = 100
    import torch

    counts = torch.from_numpy(frames)
    moved = example.shift_frames(counts, 1, generator(0))
    assert torch.equal(moved.sum((1, 2, 3, 4)), counts.sum((1, 2, 3, 4)))
    thinned = example.thin_events(counts, 0.5, generator(0))
    assert ((thinned <= counts) & (thinned == thinned.round())).all()
    assert 30 < thinned[0].sum() <= 100
    assert torch.equal(example.thin_events(counts, 0.0, generator(0)), counts)
