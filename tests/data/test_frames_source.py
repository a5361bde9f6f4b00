from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnq.base.errors import DataError
from snnq.base.progress import silent
from snnq.data import open_data
from snnq.data.cache import content_hash
from snnq.data.fingerprint import hash_files
from snnq.data.folders import hold_out, list_samples
from snnq.data.frames import read_frames

SHAPE = (3, 2, 5, 6)


def write_set(root: Path, splits: tuple[str, ...] = ("train", "test"), samples: int = 4) -> Path:
    for split in splits:
        for name in ("dog", "cat"):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(samples):
                value = 100 * splits.index(split) + 10 * (name == "dog") + number
                np.savez_compressed(folder / f"{number}.npz", frames=np.full(SHAPE, value, dtype=np.float64))
    return root


def first_values(frames: np.ndarray) -> list[int]:
    return frames[:, 0, 0, 0, 0].tolist()


def test_classes_are_in_order_and_validation_is_carved_from_train(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    data = open_data(f"frames:{root}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")
    assert data.classes == ("cat", "dog")
    assert data.frames_shape == SHAPE
    assert first_values(data.test.frames) == [100, 101, 102, 103, 110, 111, 112, 113]
    assert data.test.labels.tolist() == [0] * 4 + [1] * 4
    assert [len(data.train), len(data.validation)] == [6, 2]
    both = first_values(data.train.frames) + first_values(data.validation.frames)
    assert sorted(both) == [0, 1, 2, 3, 10, 11, 12, 13]


def test_a_validation_folder_is_used(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", ("train", "test", "val"))
    data = open_data(f"frames:{root},steps=3", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")
    assert [len(data.train), len(data.validation)] == [8, 8]
    assert first_values(data.validation.frames)[0] == 200


def write_numbered(root: Path, splits: tuple[str, ...] = ("train", "test"), classes: int = 11) -> Path:
    """SpikingJelly's DVS128 Gesture: a folder for each label, 0 to 10; every count of a sample is 100 + its label."""
    for split in splits:
        for label in range(classes):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for number in range(2):
                frames = np.full(SHAPE, 100 + label)
                frames[0, 0, 0, 1] = 1000 * splits.index(split) + number
                np.savez(folder / f"user{number}_{number}.npz", frames=frames)
    return root


def spikingjellys_labels(root: Path) -> dict[str, int]:
    """The labels of SpikingJelly's own loader, torchvision's ``DatasetFolder.find_classes``."""
    return {name: label for label, name in enumerate(sorted(entry.name for entry in root.iterdir() if entry.is_dir()))}


def test_labels_of_numbered_classes_are_those_of_spikingjelly(tmp_path: Path) -> None:
    root = write_numbered(tmp_path / "set" / "frames_number_3_split_by_number")
    labels = spikingjellys_labels(root / "train")
    assert labels["10"] == 2
    data = open_data(f"frames:{tmp_path / 'set'}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")
    for split in (data.train, data.validation, data.test):
        assert [labels[str(value - 100)] for value in first_values(split.frames)] == split.labels.tolist()
        assert len(set(split.labels.tolist())) == 11
    assert {name: index for index, name in enumerate(data.classes)} == labels
    assert data.class_rows()[2] == ("2", "10", "1", "1", "2")


def test_numbered_classes_by_number_where_asked(tmp_path: Path) -> None:
    root = write_numbered(tmp_path / "set")
    given = {"steps": 3, "image_size": (5, 6), "cache_dir": tmp_path / "cache"}
    data = open_data(f"frames:{root},classes=numeric", **given)
    assert data.classes == tuple(map(str, range(11)))
    assert first_values(data.test.frames) == [100 + label for label in range(11) for _ in range(2)]
    by_name = open_data(f"frames:{root}", **given)
    assert by_name.sha256 != data.sha256
    assert by_name.sha256 == open_data(f"frames:{root},classes=name", **given).sha256
    assert by_name.spec_for(data.classes) == f"frames:{root},classes=numeric"
    assert by_name.spec_for(data.classes[::-1]) is None


@pytest.mark.parametrize(("write", "order"), [(write_set, ""), (write_numbered, ",classes=numeric")])
def test_the_hash_of_a_set_is_that_from_before_its_classes_could_be_ordered(tmp_path: Path, write, order: str) -> None:
    """Plans of these sets, and of numbered ones with ``classes=numeric``, still fit."""
    root, cache = write(tmp_path / "set"), tmp_path / "cache"
    data = open_data(f"frames:{root}{order}", steps=3, image_size=(5, 6), cache_dir=cache)
    train, test = (list_samples(root / split, data.classes, ".npz") for split in ("train", "test"))
    splits = hold_out(root, data.classes, train, test, "").splits
    files = [file for split in ("train", "validation", "test") for file in splits[split].files]
    facts = {
        "source": "frames",
        "options": {"steps": 3, "image_size": [5, 6], "limit": None},
        "classes": list(data.classes),
        "content": hash_files(root, files, cache, silent).total,
    }
    assert data.sha256 == content_hash(facts)


def test_classes_by_number_must_be_numbers(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    with pytest.raises(DataError, match="classes=numeric, but the class folder 'cat' is no number"):
        open_data(f"frames:{root},classes=numeric", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"data": np.zeros(SHAPE)}, ["no key 'frames'", "data"]),
        ({"frames": np.zeros((4, 2, 5, 6))}, ["(4, 2, 5, 6)", "(3, C, 5, 6)"]),
        ({"frames": np.zeros((3, 2, 6, 5))}, ["(3, 2, 6, 5)"]),
        ({"frames": np.zeros((3, 5, 6))}, ["(3, 5, 6)"]),
        ({"frames": np.full(SHAPE, 0.5)}, ["no counts"]),
        ({"frames": np.full(SHAPE, -1)}, ["no counts"]),
        ({"frames": np.full(SHAPE, np.nan)}, ["no counts"]),
        ({"frames": np.full(SHAPE, np.inf)}, ["no counts"]),
        ({"frames": np.array([{}], dtype=object)}, ["cut off or damaged"]),
        ({"frames": np.full(SHAPE, 1e30)}, ["holds 1e+30, allowed: counts of 0 to 65535"]),
        ({"frames": np.full(SHAPE, 2**64 - 1, np.uint64)}, ["holds 1.84467e+19"]),
        ({"frames": np.full(SHAPE, 65_536)}, ["holds 65536"]),
        ({"frames": np.full(SHAPE, 1j)}, ["no counts"]),
        ({"frames": np.zeros((3, 0, 5, 6))}, ["(3, 0, 5, 6)"]),
        ({"frames": np.zeros((3, 257, 5, 6), np.uint8)}, ["(3, 257, 5, 6)"]),
    ],
)
def test_a_file_of_another_content(tmp_path: Path, arrays: dict[str, Any], words: list[str]) -> None:
    file = tmp_path / "a.npz"
    np.savez(file, **arrays)
    with pytest.raises(DataError) as caught:
        read_frames(file, 3, (5, 6))
    for word in [str(file), *words]:
        assert word in caught.value.message


def test_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    np.savez_compressed(file, frames=np.random.default_rng(0).integers(0, 9, SHAPE))
    sound = file.read_bytes()
    for content in (b"", sound[:-30], sound[:200] + bytes(40) + sound[240:], b"no zip"):
        file.write_bytes(content)
        with pytest.raises(DataError, match="cut off or damaged"):
            read_frames(file, 3, (5, 6))
    with file.open("wb") as stream:
        np.save(stream, np.zeros(SHAPE))
    with pytest.raises(DataError, match="cut off or damaged"):
        read_frames(file, 3, (5, 6))


def test_samples_of_different_channels_are_refused(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    odd = root / "test" / "cat" / "1.npz"
    np.savez(odd, frames=np.zeros((3, 1, 5, 6)))
    with pytest.raises(DataError, match=r"1\.npz: its counts are \(3, 1, 5, 6\)"):
        open_data(f"frames:{root}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")


def test_one_sample_a_class_leaves_no_validation(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", samples=1)
    with pytest.raises(DataError, match="no sample for validation"):
        open_data(f"frames:{root}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")


def write_classes(root: Path, samples: int = 20) -> Path:
    """CIFAR10-DVS as SpikingJelly lays it out: classes, no train and test."""
    for label, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for number in range(samples):
            np.savez(root / name / f"{name}_{number}.npz", frames=np.full(SHAPE, 100 * label + number))
    return root


def test_spikingjellys_folder_of_a_set_is_searched_for_the_model_s_time_steps(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_set(root / "frames_number_3_split_by_number")
    write_set(root / "frames_number_8_split_by_number")
    data = open_data(f"frames:{root}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")
    assert [len(data.train), len(data.validation), len(data.test)] == [6, 2, 8]
    with pytest.raises(DataError, match=r"no folder for 4 time steps among frames_number_3_split_by_number, frames"):
        open_data(f"frames:{root}", steps=4, image_size=(5, 6), cache_dir=tmp_path / "cache")
    (root / "frames_number_3_split_by_time").mkdir()
    with pytest.raises(DataError, match="2 folders for 3 time steps"):
        open_data(f"frames:{root}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")


def test_classes_without_train_and_test_are_split_as_spikingjelly_does(tmp_path: Path) -> None:
    write_classes(tmp_path / "set" / "frames_number_3_split_by_number")
    data = open_data(f"frames:{tmp_path / 'set'}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")
    assert [len(data.train), len(data.validation), len(data.test)] == [30, 6, 4]
    assert first_values(data.test.frames) == [8, 9, 108, 109]
    assert "last tenth" in data.split


@pytest.mark.parametrize("inside", ["", "events_np/train", "a/b/c"])
def test_a_folder_without_frames_is_told_so(tmp_path: Path, inside: str) -> None:
    (tmp_path / "set" / inside).mkdir(parents=True)
    with pytest.raises(DataError, match="no frames in it; expected train/<class>"):
        open_data(f"frames:{tmp_path / 'set'}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")
