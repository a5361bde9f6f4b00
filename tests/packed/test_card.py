"""The model card: what it says, and that its numpy lines decode every layer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from packed_samples import RESULTS, Sample, make_sample

from snnq.network.folding import ChannelAffine
from snnq.packed.card import model_card
from snnq.packed.loading import load_packed
from snnq.packed.readers import NUMPY_READERS
from snnq.packed.verification import verify
from snnq.schemes.scheme import scheme_names

NAMES = scheme_names()


def python_block(card: str) -> str:
    blocks = re.findall(r"```python\n(.*?)```", card, re.S)
    assert len(blocks) == 1
    return blocks[0]


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet", "qkformer-dvs", "maxformer-imagenet"])
@pytest.mark.parametrize("storage", NUMPY_READERS)
def test_the_numpy_block_decodes_every_layer(
    storage: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_sample(layout, schemes=NAMES).write(tmp_path / "packed", storage=storage)
    block = python_block((folder / "README.md").read_text())
    assert block == NUMPY_READERS[storage]
    monkeypatch.chdir(tmp_path)
    found: dict[str, dict[str, np.ndarray]] = {}
    exec(compile(block, "README.md", "exec"), found)
    model = load_packed(folder, "float")
    layers = [
        name
        for name, module in model.named_modules()
        if hasattr(module, "weight") and not isinstance(module, ChannelAffine)
    ]
    assert sorted(found["weights"]) == sorted(layers)
    for name, weight in found["weights"].items():
        due = model.get_submodule(name).get_parameter("weight").numpy()
        assert weight.dtype == np.float32
        assert weight.shape == due.shape
        np.testing.assert_array_equal(weight.view(np.int32), due.view(np.int32), err_msg=name)


def test_the_numpy_block_needs_neither_snnq_nor_torch(folder: Path) -> None:
    after = "\nimport sys; assert weights and not {'torch', 'snnq'} & set(sys.modules), sorted(sys.modules)"
    command = [sys.executable, "-W", "error", "-c", NUMPY_READERS["coded"] + after]
    done = subprocess.run(command, cwd=folder.parent, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_far_exponents_decode_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # power-of-two-8 reaches 126 octaves below its scale, into float32's subnormal numbers and under them.
    sample = make_sample(schemes=("power-of-two-8",))
    for name, coded in sample.layers.items():
        codes = torch.arange(coded.codes.numel()).remainder(128).to(torch.uint8).view_as(coded.codes)
        params = {"log2_scale": torch.full_like(coded.params["log2_scale"], -30.0)}
        sample.layers[name] = type(coded)(coded.scheme, codes, params)
        weight = sample.model.get_submodule(name).get_parameter("weight")
        k = codes.numpy().astype(np.int64)
        value = np.where(k > 0, np.ldexp(1.0, k - 127 - 30), 0.0).astype(np.float32)
        with torch.no_grad():
            weight.copy_(torch.from_numpy(value).view_as(weight))
    folder = sample.write(tmp_path / "packed")
    verify(folder)
    monkeypatch.chdir(tmp_path)
    found: dict[str, dict[str, np.ndarray]] = {}
    exec(NUMPY_READERS["coded"], found)
    model = load_packed(folder, "float")
    for name, weight in found["weights"].items():
        np.testing.assert_array_equal(weight, model.get_submodule(name).get_parameter("weight").numpy())


def test_what_the_card_says(sample: Sample, folder: Path, tmp_path: Path) -> None:
    card, sizes = (folder / "README.md").read_text(), verify(folder).sizes
    assert card == model_card(sample.plan, RESULTS, sizes, "coded")
    assert card.startswith("---\nlibrary_name: snnq\n")
    assert f"{sample.plan.totals.avg_bits:.2f} bits a weight" in card
    assert "| float checkpoint | 50.00% | 25.00% |" in card
    assert "| this folder | 37.50% | 25.00% |" in card
    assert "validation (8 samples) | test (4 samples)" in card
    assert "simulated" in card
    assert "Data: `random`, 3 classes: zero, one, two." in card
    assert "image_size 16×16" in card
    assert "pooling 1111" in card
    assert f"{sizes.total_bytes:,} bytes" in card
    for entry in sample.plan.layers:
        assert f"| `{entry.name}` | {entry.group} |" in card
    for kind in ("tables", "scales", "zero points", "batchnorm", "biases", "states", "header"):
        assert f"| {kind} | " in card
    fixed = sample.write(tmp_path / "fixed", storage="fixed") / "README.md"
    for kind in ("padding", "scales", "zero points", "shapes", "batchnorm", "biases", "header"):
        assert f"| {kind} | " in fixed.read_text()


def test_a_card_without_accuracies(sample: Sample, folder: Path) -> None:
    sizes = verify(folder).sizes
    for results in ({}, {"accuracy": None}, {"accuracy": {}}):
        card = model_card(sample.plan, results, sizes, "coded")
        assert "## Accuracy" not in card
        assert "## Number formats" in card
    partial = model_card(sample.plan, {"accuracy": {"plan": {"test": 0.5}}}, sizes, "coded")
    assert "| this folder | not measured | 50.00% |" in partial
