"""The scripts in examples/ run, on small data, as their own docstrings type them."""

from __future__ import annotations

import gzip
import importlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import snnq
from snnq.base.errors import InterruptedRun, RunChangedError, UsageError
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.models.registry import build
from snnq.training.augmentation import Mixup, parse_changes

ROOT = Path(__file__).resolve().parents[1]
SIZES = "image_size=16,steps=4,dim=16,depth=1,heads=2"
SMALL = {"size": [SIZES], "epochs": 2, "batch_size": 8, "device": "cpu"}
RANDOM = "random,classes=3,samples=16"


@pytest.fixture(scope="module")
def example():
    sys.path.insert(0, str(ROOT / "examples"))
    yield importlib.import_module("train_float")
    sys.path.remove(str(ROOT / "examples"))


@pytest.fixture
def fashion(tmp_path):
    """Write IDX files as Fashion-MNIST has them: 40 training and 20 test images of ten classes."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 40), ("t10k", 20)):
        images = draw.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (tmp_path / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    return f"fashion-mnist:{tmp_path}"


def test_train_float_makes_a_checkpoint_that_opens(example, tmp_path, capsys):
    out = tmp_path / "small.safetensors"
    example.main(RANDOM, out, **SMALL)
    said = json.loads(capsys.readouterr().out)
    opened = open_checkpoint(out)
    assert opened.data == RANDOM
    assert opened.config["classes"] == 3
    assert load_model(opened).config.dim == 16
    assert 0 <= said["test_accuracy"] <= 1
    before = out.read_bytes()
    example.main(RANDOM, out, **SMALL)  # a finished run: the same checkpoint again
    assert out.read_bytes() == before
    example.main(RANDOM, out, **SMALL, half=True)  # the same again, its weights rounded
    assert out.stat().st_size < 0.7 * len(before)
    halves = open_checkpoint(out).state_dict
    for name, exact in opened.state_dict.items():
        assert torch.equal(halves[name], exact.half().float() if exact.ndim > 1 else exact)


def test_train_float_on_fashion_mnist(example, fashion, tmp_path, capsys):
    example.main(fashion, tmp_path / "fashion.safetensors", **SMALL | {"epochs": 1})
    assert json.loads(capsys.readouterr().out)["simulated"] is True
    assert open_checkpoint(tmp_path / "fashion.safetensors").config["classes"] == 10


@pytest.mark.parametrize(
    ("recipe", "architecture"), [("sdt-static", "sdt-static"), ("cifar10dvs", "spikformer-cifar10dvs")]
)
def test_a_run_that_was_cut_off_gives_the_same_weights(example, tmp_path, capsys, monkeypatch, recipe, architecture):
    given = SMALL | {"recipe": recipe}
    example.main(RANDOM, tmp_path / "whole.safetensors", **given)
    real, done = example.Training.step, []

    def stopping(self, place, indices):
        done.append(place.overall)
        if place.overall == 1 and len(done) < 3:
            signal.raise_signal(signal.SIGINT)
        return real(self, place, indices)

    monkeypatch.setattr(example.Training, "step", stopping)
    with pytest.raises(InterruptedRun):
        example.main(RANDOM, tmp_path / "cut.safetensors", **given)
    example.main(RANDOM, tmp_path / "cut.safetensors", **given)
    assert done == [0, 1, 2, 3]
    assert (tmp_path / "cut.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert open_checkpoint(tmp_path / "cut.safetensors").architecture == architecture
    with pytest.raises(RunChangedError, match="rate"):
        example.main(RANDOM, tmp_path / "cut.safetensors", **given, rate=0.5)


@pytest.mark.parametrize(
    "recipe", ["digits", "sdt-dvs", "statten-static", "statten-dvs", "cifar10", "spikingformer-dvs"]
)
def test_every_kind_of_recipe_trains(example, tmp_path, capsys, recipe):
    example.main(RANDOM, tmp_path / "one.safetensors", **SMALL | {"recipe": recipe, "epochs": 1})
    assert open_checkpoint(tmp_path / "one.safetensors").config["dim"] == 16


def test_recipes_are_as_published(example):
    """The rates at the corners of a run, counted in epochs of ten steps, and the epoch that mixup ends at."""
    corners = {
        "digits": {0: 4e-4, 10: 4e-3, 55: (4e-3 + 4e-5) / 2, 100: 4e-5},
        "cifar10dvs": {0: 1e-5, 5: 5.05e-4, 10: 1e-3, 53: 5.05e-4, 96: 1e-5, 105: 1e-5},
        "cifar10": {0: 1e-5, 20: 5e-4, 300: 1e-5, 309: 1e-5},
        "qkformer-dvs": {0: 1e-5, 10: 5e-3, 96: 1e-5},
        "maxformer-cifar10": {0: 8e-5, 20: 1.5e-3, 400: 1e-5},
        "statten-dvs": {0: 1e-3, 10: 1e-2, 200: 3e-4, 209: 3e-4},
    }
    for name, rates in corners.items():
        run = SimpleNamespace(recipe=example.RECIPES[name], per_epoch=10)
        for epoch, rate in rates.items():
            assert example.Training.rate(run, epoch * 10) == pytest.approx(rate, rel=1e-6), (name, epoch)
    for name, epoch in {
        "cifar10dvs": 75,
        "dvs128": 75,
        "qkformer-dvs": 75,
        "maxformer-cifar10": 200,
        "cifar10": 200,
        "sdt-static": 200,
        "statten-static": 200,
    }.items():
        recipe = example.RECIPES[name]
        mixup = parse_changes(recipe.augment)[-1]
        assert isinstance(mixup, Mixup)
        assert (epoch - 1) / recipe.epochs < mixup.until <= epoch / recipe.epochs
    assert all(recipe.source for recipe in example.RECIPES.values())


def test_logits_of_every_step_are_those_whose_mean_the_model_gives(example):
    torch.manual_seed(0)
    sizes = {"dim": 16, "depth": 1, "heads": 2, "steps": 3, "classes": 4, "image_size": [8, 8], "in_channels": 2}
    model = build("sdt-dvs", sizes).train()
    steps = example.step_logits(model)
    logits = model(torch.poisson(torch.full((5, 3, 2, 8, 8), 2.0)))
    found = steps()
    assert found.shape == (3, 5, 4)
    torch.testing.assert_close(found.mean(0), logits)
    with pytest.raises(UsageError, match="has no neuron before its head"):
        example.step_logits(build("spikformer-cifar10dvs", sizes))


def test_tet_loss_is_upstreams(example):
    """Typed by hand: CE of (0, 0) is log 2; of (1, 0) with label 0 log(1 + 1/e); squares from 1 are 1 1 0 1."""
    steps = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]])
    entropy = (math.log(2) + math.log(1 + math.exp(-1))) / 2
    found = example.tet_loss(steps, torch.tensor([0]), 0.1, 0.0)
    assert float(found) == pytest.approx(0.9 * entropy + 0.1 * 0.75)


def test_sizes_are_read_by_their_kind(example):
    recipe = example.RECIPES["cifar10dvs"]
    words = ["image_size=34x40,pooling=0111", "mlp_ratio=2"]
    assert example.read_sizes(words, recipe) == {
        "image_size": [34, 40],
        "pooling": [False, True, True, True],
        "mlp_ratio": 2.0,
    }
    assert example.read_sizes(["neuron=plif"], example.RECIPES["sdt-dvs"]) == {"neuron": "plif"}
    assert example.read_sizes([], example.RECIPES["digits"])["dim"] == 64


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipe": "cifar10dvd"}, "did you mean 'cifar10dvs'"),
        ({"architecture": "spikformer-cifar"}, "did you mean"),
        ({"size": ["dmi=64"]}, "did you mean 'dim'"),
        ({"size": ["dim=wide"]}, "64 is usual|256 is usual"),
        ({"size": ["dim"]}, "'' is no value of dim"),
        ({"size": ["pooling=0012"]}, "no value of pooling"),
        ({"size": ["mlp_ratio=inf"]}, "no value of mlp_ratio"),
        ({"size": ["classes=4"]}, "follows from"),
        ({"augment": "mxiup"}, "did you mean 'mixup'"),
        ({"epochs": 0}, "at least 1"),
        ({"warmup": 0.6, "cooldown": 0.4}, "less than 1 together"),
        ({"rate": float("nan")}, "--rate"),
        ({"label_smoothing": 1.5}, "--label-smoothing"),
    ],
)
def test_mistakes_are_named_before_anything_is_made(example, tmp_path, given, said):
    with pytest.raises(UsageError, match=said):
        example.main(RANDOM, tmp_path / "none.safetensors", device="cpu", **given)
    assert list(tmp_path.iterdir()) == []


def typed(folder, *words):
    """Type the script in a folder."""
    words = [sys.executable, str(ROOT / "examples/train_float.py"), RANDOM, "--device", "cpu", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_mistake_is_one_line(tmp_path):
    wrong = typed(tmp_path, "--recipe", "digit")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Error: --recipe: found 'digit'")
    assert "Traceback" not in wrong.stderr


@pytest.mark.slow
def test_as_typed(tmp_path):
    small = ["--size", SIZES, "--epochs", "1", "--batch-size", "8", "--devices", "2", "--augment", "flip,mixup"]
    done = typed(tmp_path, *small)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checkpoint"] == "float.safetensors"


def test_train_float_goes_on_from_a_checkpoint_and_its_structure(example, tmp_path, capsys):
    start, cores, out = (tmp_path / f"{name}.safetensors" for name in ("start", "cores", "out"))
    example.main(RANDOM, start, **SMALL)
    snnq.decompose(start, mode="ptt", rank="2", out=cores)
    words = {"start": cores, "epochs": 1, "batch_size": 8, "device": "cpu", "rate": 0.0, "start_rate": 0.0}
    example.main(RANDOM, out, **words, floor_rate=0.0)
    found, begun = open_checkpoint(out), open_checkpoint(cores)
    assert found.config == begun.config
    assert found.config["structure"]
    moved = [key for key in found.state_dict if not torch.equal(found.state_dict[key], begun.state_dict[key])]
    assert all("running_" in key or "num_batches" in key for key in moved)
    example.main(RANDOM, tmp_path / "scratch.safetensors", **words, scratch=True)
    fresh = open_checkpoint(tmp_path / "scratch.safetensors")
    assert fresh.config == begun.config
    assert not torch.equal(fresh.state_dict["head.weight"], begun.state_dict["head.weight"])
    with pytest.raises(UsageError, match="--architecture and --size are for a new one"):
        example.main(RANDOM, out, start=cores, size=["dim=32"])
    with pytest.raises(UsageError, match="its classes are 3, those of random,classes=4,samples=16 4"):
        example.main("random,classes=4,samples=16", tmp_path / "four.safetensors", **words)
    with pytest.raises(UsageError, match="--scratch goes with --start"):
        example.main(RANDOM, tmp_path / "none.safetensors", scratch=True)
