from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from snnq.base.errors import DataError
from snnq.data import open_data
from snnq.data.image_sets import read_idx

NAMES = {"train": ("train", 40), "test": ("t10k", 20)}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_set(root: Path, packed: bool = False) -> Path:
    """Bright bars whose place says the class."""
    root.mkdir()
    for name, count in NAMES.values():
        labels = np.arange(count) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            image[4:24, 3 + 2 * label : 6 + 2 * label] = 200 + number
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            file, content = root / f"{name}-{kind}-ubyte", idx(array)
            if packed:
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                file.write_bytes(content)
    return root


def test_golden_idx(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 255]))
    assert read_idx(file, 1).tolist() == [7, 0, 255]
    file.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4]))
    assert read_idx(file, 3).tolist() == [[[1, 2], [3, 4]]]


@pytest.mark.parametrize("packed", [False, True])
def test_open(tmp_path: Path, packed: bool) -> None:
    root = write_set(tmp_path / "set", packed)
    data = open_data(f"fashion-mnist:{root}", steps=2, image_size=(20, 20), cache_dir=tmp_path / "cache")
    assert data.simulated
    assert data.frames_shape == (2, 2, 20, 20)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [30, 10, 20]
    assert np.bincount(data.validation.labels).tolist() == [1] * 10
    assert data.test.labels.tolist() == [*range(10), *range(10)]
    events = data.train.frames.sum(axis=(1, 2, 3, 4))
    assert events.min() > 100
    # The bar moves right with its label, and its events with it.
    columns = data.test.frames.sum(axis=(1, 2, 3)) @ np.arange(20.0) / data.test.frames.sum(axis=(1, 2, 3, 4))
    assert (np.diff(columns[:10]) > 0.5).all()


def test_limit_is_a_share_of_the_same_split(tmp_path: Path) -> None:
    root, cache = write_set(tmp_path / "set"), tmp_path / "cache"
    whole = open_data(f"fashion-mnist:{root}", steps=2, image_size=(20, 20), cache_dir=cache)
    part = open_data(f"fashion-mnist:{root},limit=10", steps=2, image_size=(20, 20), cache_dir=cache)
    for small, large in ((part.train, whole.train), (part.validation, whole.validation), (part.test, whole.test)):
        assert len(small) == 10
        known = {sample.tobytes() for sample in large.frames}
        assert all(sample.tobytes() in known for sample in small.frames)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t10k-labels-idx1-ubyte", None, "no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz"),
        ("train-images-idx3-ubyte", b"\0\0\x0d\3" + bytes(20), "starts with 00 00 0d 03, not an IDX file"),
        ("train-images-idx3-ubyte", idx(np.zeros((40, 28, 28)))[:-1], "31359 bytes of data, expected 31360"),
        ("train-images-idx3-ubyte", idx(np.zeros((39, 28, 28))), "40 labels for 39 images"),
        ("train-labels-idx1-ubyte", idx(np.full(40, 11)), "label 11 found, allowed: 0 to 9"),
        ("train-labels-idx1-ubyte", b"", "not an IDX file"),
    ],
)
def test_files_of_another_form(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    root = write_set(tmp_path / "set")
    file = root / name
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_data(f"fashion-mnist:{root}", steps=2, image_size=(20, 20), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(idx(np.zeros((2, 2, 2))), mtime=0)[:-9], b"\x1f\x8b\x08" + b"\xff" * 30]
)
def test_a_damaged_gz_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "images.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"images\.gz: cannot be read"):
        read_idx(file, 3)
