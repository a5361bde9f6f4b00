from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snnq.data import open_data
from snnq.data.frames import read_frames
from snnq.errors import DataError

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


def test_numbered_classes_are_in_order_of_number(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in (0, 2, 10):
            folder = tmp_path / "set" / split / str(label)
            folder.mkdir(parents=True)
            for number in range(2):
                np.savez(folder / f"{number}.npz", frames=np.full(SHAPE, label + 300))
    data = open_data(f"frames:{tmp_path / 'set'}", steps=3, image_size=(5, 6), cache_dir=tmp_path / "cache")
    assert data.classes == ("0", "2", "10")
    assert data.test.frames.dtype == np.uint16
    assert first_values(data.test.frames) == [300, 300, 302, 302, 310, 310]


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
        ({"frames": np.array([{}], dtype=object)}, ["not a frame file"]),
    ],
)
def test_a_file_of_another_content(tmp_path: Path, arrays: dict[str, np.ndarray], words: list[str]) -> None:
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
        with pytest.raises(DataError, match="not a frame file"):
            read_frames(file, 3, (5, 6))
    with file.open("wb") as stream:
        np.save(stream, np.zeros(SHAPE))
    with pytest.raises(DataError, match="not a frame file"):
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
