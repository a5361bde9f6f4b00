"""What the rest of snnq makes of images: real numbers in the layer table, evaluation, and refusals before the hours."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import snnq
from snnq.base.errors import DataError, UsageError
from snnq.checkpoints.opening import save_checkpoint
from snnq.data import open_data
from snnq.models.registry import build
from snnq.reconstructing.run import calibration
from snnq.reconstructing.settings import PtqSettings
from snnq.training.augmentation import check_changes
from snnq.training.evaluation import top_share
from snnq.training.job import open_job

SIZES = {"dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 6, "image_size": [16, 16], "in_channels": 3}


def images(root: Path, *splits: str) -> Path:
    draw = np.random.default_rng(0)
    for split in splits:
        for name in "abcdef":
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = draw.integers(0, 256, (20, 18, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


def checkpoint(path: Path, name: str) -> Path:
    torch.manual_seed(0)
    save_checkpoint(path, build(name, SIZES), architecture=name, facts={})
    return path


def test_top_share_by_hand() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    labels = torch.tensor([1, 3, 0, 3])
    assert [top_share(logits, labels, first) for first in (1, 2, 3)] == [0.25, 0.5, 0.5]
    assert top_share(logits, labels, 4) is None
    right = (logits.argmax(1) == labels).double().mean().item()
    assert top_share(logits, labels, 1) == right


def test_a_model_is_evaluated_on_images_and_says_what_was_done(tmp_path: Path) -> None:
    spec = f"images:{images(tmp_path / 'set', 'val')}"
    path = checkpoint(tmp_path / "m.safetensors", "spikformer-cifar10")
    found = snnq.eval(path, data=spec, progress=snnq.silent)
    assert found.samples == 12
    assert found.top5 is not None
    assert found.top5 >= found.accuracy
    assert found.images is not None
    assert found.images.startswith("RGB, shorter side to 18 pixels (bicubic), the middle 16x16; mean 0.485")
    assert found.samples_per_second > 0
    with pytest.raises(DataError, match="its train split is empty"):
        snnq.eval(path, data=spec, split="train", progress=snnq.silent)


def test_what_cannot_be_compressed_on_images_is_refused_first(tmp_path: Path) -> None:
    whole, only = images(tmp_path / "set", "train", "val"), images(tmp_path / "only", "val")
    real = checkpoint(tmp_path / "v.safetensors", "sdt-v3-imagenet")
    with pytest.raises(DataError, match="has no train samples: it is for evaluation alone"):
        open_job(real, f"images:{only}")
    assert open_job(real, f"images:{whole}").layers[0].input == "reals"


def test_images_lose_no_events(tmp_path: Path) -> None:
    data = open_data(f"images:{images(tmp_path / 'set', 'val')}", steps=1, image_size=(16, 16))
    check_changes("flip,shift", data)
    with pytest.raises(UsageError, match=r"'thin' loses events, and images:.* are images"):
        check_changes("flip,thin", data)


def test_a_recording_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    torch.manual_seed(0)
    model = build("spikformer-cifar10", SIZES | {"in_channels": 2})
    save_checkpoint(path, model, architecture="spikformer-cifar10", facts={"data": "images:set"})
    with pytest.raises(DataError, match=r"its data are images \(images:set\), and a recording is none"):
        snnq.classify(path, tmp_path / "r.npz")


def test_calibration_sees_normalised_pixels(tmp_path: Path) -> None:
    data = open_data(f"images:{images(tmp_path / 'set', 'train', 'val')}", steps=2, image_size=(16, 16))
    job: Any = SimpleNamespace(data=data)
    samples = calibration(job, PtqSettings(samples=4, batch_size=2))
    every = data.train.__getitems__(range(len(data.train)))[0]
    for one in samples.__getitems__(range(4))[0]:
        assert any(torch.equal(one, other) for other in every)
