"""``images:DIR`` against a loader written here with Pillow and numpy, after torchvision's rules; CIFAR's own files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snnq.base.errors import DataError
from snnq.data import DataSet, open_data, prepare
from snnq.data.pixels import Fitting

SIZE = (16, 12)
CLASSES = ("n01", "n02", "n10")


def write_set(root: Path, splits: tuple[tuple[str, int], ...] = (("train", 3), ("val", 2))) -> Path:
    """Images of many sizes and kinds, some in folders below their class."""
    draw = np.random.default_rng(0)
    for split, count in splits:
        for name in CLASSES:
            (root / split / name / "more").mkdir(parents=True)
            for number in range(count):
                height, width = (int(side) for side in draw.integers(20, 45, 2))
                picture = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
                inside = root / split / name / ("more" if number == 1 else "")
                picture.save(inside / f"{split}_{number}.JPEG", quality=95)
    picture = Image.fromarray(draw.integers(0, 256, (30, 26, 4), dtype=np.uint8), "RGBA")
    picture.save(root / splits[-1][0] / "n02" / "a.png")
    picture.convert("RGB").convert("P").save(root / splits[-1][0] / "n02" / "b.PNG")
    picture.convert("L").save(root / splits[-1][0] / "n10" / "grey.png")
    (root / splits[-1][0] / "n10" / "notes.txt").write_text("no image")
    return root


def own_loader(folder: Path, shorter: int) -> tuple[np.ndarray, list[int]]:
    """Every image as torchvision's ImageFolder, Resize, CenterCrop, ToTensor and Normalize give it: (N, 3, h, w)."""
    found, labels = [], []
    for label, name in enumerate(sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())):
        for place, _, files in sorted(os.walk(folder / name)):
            for file in sorted(files):
                if not file.lower().endswith((".jpg", ".jpeg", ".png")):
                    continue
                image = Image.open(Path(place, file)).convert("RGB")
                width, height = image.size
                if width <= height:
                    width, height = shorter, int(shorter * height / width)
                else:
                    width, height = int(shorter * width / height), shorter
                pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
                top, left = round((height - SIZE[0]) / 2.0), round((width - SIZE[1]) / 2.0)
                cut = pixels[top : top + SIZE[0], left : left + SIZE[1]].astype(np.float32) / np.float32(255)
                mean, std = (np.array(one, np.float32) for one in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
                found.append(((cut - mean) / std).transpose(2, 0, 1))
                labels.append(label)
    return np.stack(found), labels


def opened(root: Path, tmp_path: Path, more: str = "", steps: int = 3) -> DataSet:
    return open_data(f"images:{root}{more}", steps=steps, image_size=SIZE, cache_dir=tmp_path / "cache")


def test_pixels_order_and_classes_are_those_of_torchvisions_rule(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    data = opened(root, tmp_path)
    pixels, labels = own_loader(root / "val", 18)  # 16 / 0.875, rounded down
    frames, found = data.test.__getitems__(range(len(data.test)))
    assert (data.classes, found.tolist()) == (CLASSES, labels)
    assert data.frames_shape == (3, 3, *SIZE)
    for step in range(3):
        assert np.array_equal(frames[:, step].numpy(), pixels)
    assert [len(data.train), len(data.validation), len(data.test)] == [6, 3, 9]
    one, label = data.test[4]
    assert torch.equal(one, frames[4])
    assert int(label) == labels[4]


def test_images_are_kept_once_whatever_the_steps(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    first = prepare(f"images:{root}", steps=1, image_size=SIZE, cache_dir=tmp_path / "cache")
    again = prepare(f"images:{root}", steps=16, image_size=SIZE, cache_dir=tmp_path / "cache", workers=2)
    assert (again.cached, again.stored.path) == (True, first.stored.path)
    assert again.data.sha256 == first.data.sha256
    assert again.data.test.frames.strides[1] == 0
    assert "shorter side to 18 pixels (bicubic), the middle 16x12; mean 0.485" in again.data.describe()


@pytest.mark.parametrize(
    ("more", "sizes"),
    [("", (18, 24)), (",resize=20", (20, 26)), (",resize=16x40", (16, 40)), (",resize=none", (30, 40))],
)
def test_what_becomes_of_an_image(more: str, sizes: tuple[int, int]) -> None:
    text = more.partition("=")[2] or None
    fit = Fitting.of(text, SIZE, "bilinear")
    assert fit.resized(30, 40) == sizes
    pixels = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    whole = np.asarray(Image.fromarray(pixels).resize((sizes[1], sizes[0]), Image.Resampling.BILINEAR))
    top, left = round((sizes[0] - 16) / 2), round((sizes[1] - 12) / 2)
    assert np.array_equal(fit(Image.fromarray(pixels)), whole[top : top + 16, left : left + 12].transpose(2, 0, 1))


def test_above_224_pixels_nothing_is_cut_off_the_shorter_side() -> None:
    assert [Fitting.of(None, (side, side), "bicubic").shorter for side in (32, 224, 288, 384)] == [36, 256, 288, 384]


def test_mean_and_deviation_are_what_is_asked_for(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    plain = opened(root, tmp_path, ",mean=none,std=none").test.__getitems__([0])[0]
    moved = opened(root, tmp_path, ",mean=0.1+0.2+0.3,std=0.5+0.25+0.2").test.__getitems__([0])[0]
    due = (plain - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.25, 0.2]).view(3, 1, 1)
    torch.testing.assert_close(moved, due)
    assert float(plain.max()) <= 1.0
    assert torch.equal(plain * 255, (plain * 255).round())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (",mean=0.5", r"'mean' is '0.5'; expected three numbers such as 0.485\+0.456\+0.406, or imagenet, cifar10"),
        (",std=0+1+1", "'std' is .*expected three numbers of at least 1e-06"),
        (",resize=big", "'resize' is 'big'; expected a whole number"),
        (",filter=nearest", "'filter' is 'nearest'; expected 'bicubic' or 'bilinear'"),
        (",resize=10", "none of the 18 recordings can be used, all for the same reason: .*behind the resizing"),
    ],
)
def test_options_that_cannot_be_are_named(more: str, said: str, tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    with pytest.raises(DataError, match=said):
        opened(root, tmp_path, more)


def test_a_corrupt_image_is_named_and_can_be_left_out(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    torn, odd = root / "val/n01/val_0.JPEG", root / "val/n10/val_0.JPEG"
    torn.write_bytes(torn.read_bytes()[:300])
    odd.write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="2 of 18 recordings are damaged") as caught:
        opened(root, tmp_path)
    assert f"{torn}: cannot be read (" in caught.value.message
    assert f"{odd}: it is no image of JPEG, PNG" in caught.value.message
    data = prepare(f"images:{root}", steps=1, image_size=SIZE, cache_dir=tmp_path / "cache", skip_corrupt=True).data
    assert (len(data.test), len(data.skipped)) == (7, 2)
    deep = np.linspace(0, 65535, 48 * 48).astype(np.uint16).reshape(48, 48)
    Image.fromarray(deep).save(torn, format="PNG")  # as RGB all but its darkest pixels would be white
    with pytest.raises(DataError, match="its pixels are I;16, deeper than 8 bits"):
        opened(root, tmp_path)


def test_a_folder_for_evaluation_is_all_test(tmp_path: Path) -> None:
    data = opened(write_set(tmp_path / "set", (("val", 2),)), tmp_path)
    assert [len(data.train), len(data.validation), len(data.test)] == [0, 0, 9]
    again = opened(tmp_path / "set", tmp_path, steps=1)  # from the cache
    assert again.train.frames.shape == (0, 1, 3, *SIZE)


def test_splits_by_their_folders(tmp_path: Path) -> None:
    data = opened(write_set(tmp_path / "set", (("train", 3), ("test", 2), ("val", 1))), tmp_path)
    assert [len(data.train), len(data.validation), len(data.test)] == [9, 6, 6]
    assert data.split == "train, validation and test as in the folders"


def test_folders_that_do_not_fit_are_named(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    (root / "val" / "n11").mkdir()
    with pytest.raises(DataError, match=r"val/n11: class 'n11' is not among the 3 of train"):
        opened(root, tmp_path)
    (root / "train" / "n11").mkdir()
    with pytest.raises(DataError, match=r"train/n11: no image in it \(\.jpg"):
        opened(root, tmp_path)
    pickled = tmp_path / "cifar-10-batches-py"
    pickled.mkdir()
    for name in ("data_batch_1", "test_batch"):
        (pickled / name).write_bytes(b"")
    with pytest.raises(DataError, match="files are pickles, and nothing is unpickled here"):
        opened(pickled, tmp_path)


def write_cifar(root: Path, header: int, names: list[str], file: str, sets: dict[str, int]) -> np.ndarray:
    """Records of ``header`` bytes, the last one the label, and 3072 pixels, red before green before blue."""
    draw, written = np.random.default_rng(2), []
    root.mkdir()
    for name, count in sets.items():
        records = draw.integers(0, 256, (count, header + 3072), dtype=np.uint8)
        records[:, :header] = (np.arange(count) % 5)[:, None]
        (root / name).write_bytes(records.tobytes())
        written.append(records)
    (root / file).write_text("\n".join(names) + "\n\n")
    return np.concatenate(written)


def test_cifar10s_binary_files(tmp_path: Path) -> None:
    sets = {**{f"data_batch_{number}.bin": 10 for number in range(1, 6)}, "test_batch.bin": 7}
    records = write_cifar(tmp_path / "c", 1, [f"class{number}" for number in range(10)], "batches.meta.txt", sets)
    spec = f"images:{tmp_path / 'c'},mean=none,std=none"
    data = open_data(spec, steps=2, image_size=(32, 32), cache_dir=tmp_path / "cache")
    assert data.classes[3] == "class3"
    assert np.array_equal(data.test.frames[:, 1].reshape(7, -1), records[50:, 1:])
    assert data.test.labels.tolist() == records[50:, 0].tolist()
    # Every record of the five files is in train or validation, with its label.
    parts = (data.train, data.validation)
    both = np.concatenate([np.c_[one.labels, one.frames[:, 0].reshape(len(one), -1)] for one in parts])
    assert sorted(map(tuple, both)) == sorted(map(tuple, records[:50]))
    usual = open_data(f"images:{tmp_path / 'c'}", steps=1, image_size=(32, 32), cache_dir=tmp_path / "cache")
    assert str(usual.pixels) == "RGB, the middle 32x32; mean 0.4914, 0.4822, 0.4465, deviation 0.247, 0.2435, 0.2616"
    larger = open_data(f"images:{tmp_path / 'c'},limit=5", steps=1, image_size=(48, 64), cache_dir=tmp_path / "cache")
    assert larger.frames_shape == (1, 3, 48, 64)
    assert "to 48x64 pixels" in str(larger.pixels)


def test_cifar100s_binary_files(tmp_path: Path) -> None:
    names = [f"class{number}" for number in range(100)]
    records = write_cifar(tmp_path / "c", 2, names, "fine_label_names.txt", {"train.bin": 20, "test.bin": 6})
    data = open_data(f"images:{tmp_path / 'c'}", steps=1, image_size=(32, 32), cache_dir=tmp_path / "cache")
    assert (len(data.classes), data.test.labels.tolist()) == (100, records[20:, 1].tolist())
    assert np.array_equal(data.test.frames.reshape(6, -1), records[20:, 2:])
    (tmp_path / "c/test.bin").write_bytes(b"0" * 100)
    with pytest.raises(DataError, match=r"test\.bin: 100 bytes, expected records of 3074"):
        open_data(f"images:{tmp_path / 'c'}", steps=1, image_size=(32, 32), cache_dir=tmp_path / "cache")
