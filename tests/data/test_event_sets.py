"""DVS128 Gesture, CIFAR10-DVS and N-Caltech101, on files of their formats in their layouts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from event_writers import REAL, draw, write_aedat2, write_bin
from hypothesis import given
from hypothesis import strategies as st

from snnq.base.errors import DataError
from snnq.data import DataSet, open_data, prepare
from snnq.data.event_files import read_events
from snnq.data.image_sets import CLASSES
from snnq.data.integrator import Events, integrate, integrate_resized
from snnq.data.open import download

GESTURE = REAL / "recordings" / "dvs128_gesture_0_0.hdf5"


def opened(spec: str, tmp_path: Path, steps: int = 2, size: tuple[int, int] = (128, 128)) -> DataSet:
    return open_data(spec, steps=steps, image_size=size, cache_dir=tmp_path / "cache")


def marked(height: int, width: int, mark: int) -> dict[str, np.ndarray]:
    """Random events, and 200 at one pixel that tells the recording."""
    events = draw(50, height, width, seed=mark)
    at = np.sort(events["t"])[-1]
    place = {"t": at, "x": mark % width, "y": mark // width, "p": 1}
    return {name: np.concatenate([part, np.full(200, place[name])]) for name, part in events.items()}


def marks(frames: np.ndarray) -> list[int]:
    return frames.sum(axis=(1, 2)).reshape(len(frames), -1).argmax(axis=1).tolist()


def write_gestures(root: Path, people: int = 3) -> None:
    for split, first in (("Train", 0), ("Test", 10)):
        for person in range(people):
            folder = root / f"ibmGesture{split}" / f"user{first + person:02d}_led"
            folder.mkdir(parents=True)
            for gesture in range(11):
                e = marked(128, 128, 1000 * (first + person) + gesture)
                np.save(
                    folder / f"{gesture}.npy", np.stack([e["x"], e["y"], e["p"], e["t"] // 1000], axis=1).astype(float)
                )


@pytest.mark.parametrize("inside", ["", "DVSGesture"])
def test_gestures_by_the_official_persons(tmp_path: Path, inside: str) -> None:
    write_gestures(tmp_path / "set" / inside)
    data = opened(f"dvs128-gesture:{tmp_path / 'set'}", tmp_path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [22, 11, 33]
    assert len(data.classes) == 11
    for split in (data.train, data.validation, data.test):
        assert [mark % 1000 for mark in marks(split.frames)] == split.labels.tolist()
    assert {mark // 1000 for mark in marks(data.test.frames)} == {10, 11, 12}
    assert "official train and test persons" in data.split
    assert data.split in data.describe()


def test_gestures_as_spikingjellys_loader_numbers_them(tmp_path: Path) -> None:
    """It writes a folder for each gesture, 0 to 10; torchvision's ``DatasetFolder`` sorts them as strings."""
    write_gestures(tmp_path / "set", people=2)
    tonics = opened(f"dvs128-gesture:{tmp_path / 'set'}", tmp_path)
    data = opened(f"dvs128-gesture:{tmp_path / 'set'},numbering=spikingjelly", tmp_path)
    labels = {int(name): label for label, name in enumerate(sorted(map(str, range(11))))}
    for split in (data.train, data.validation, data.test):
        assert [labels[mark % 1000] for mark in marks(split.frames)] == split.labels.tolist()
    assert data.classes[:4] == ("hand clapping", "right hand wave", "other gestures", "left hand wave")
    assert {name: labels[gesture] for gesture, name in enumerate(tonics.classes)} == {
        name: index for index, name in enumerate(data.classes)
    }
    assert data.spec_for(tonics.classes) == f"dvs128-gesture:{tmp_path / 'set'},numbering=tonic"


@pytest.mark.skipif(not GESTURE.is_file(), reason="needs the recordings in ../shared/data")
def test_a_real_gesture_in_tonics_layout(tmp_path: Path) -> None:
    import h5py
    from tonic.datasets import DVSGesture

    with h5py.File(GESTURE) as root:
        data: Any = root["data/0"]
        events = np.asarray(data[()])
    table = np.stack([events["x"], events["y"], events["p"], events["t"] // 1000], axis=1).astype(float)
    for split in ("Train", "Test"):
        for person in range(2):
            folder = tmp_path / "set" / f"ibmGesture{split}" / f"user0{person}_lab"
            folder.mkdir(parents=True)
            np.save(folder / "0.npy", table)
    data = opened(f"dvs128-gesture:{tmp_path / 'set'}", tmp_path, steps=16)
    frames = data.test.frames[0]
    assert frames.sum() == 213_025
    assert frames.sum(axis=(1, 2, 3)).tolist() == [13_314] * 15 + [13_315]
    tonics = object.__new__(DVSGesture)
    tonics.data, tonics.targets = [str(tmp_path / "set/ibmGestureTest/user00_lab/0.npy")], [0]
    tonics.transform = tonics.target_transform = tonics.transforms = None
    read = tonics[0][0]
    assert np.array_equal(frames, integrate(Events(*(read[name] for name in "txyp")), 16, 128, 128))


def test_a_gesture_folder_of_another_form(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(DataError, match=r"no ibmGestureTrain/user\*/\*.npy") as caught:
        opened(f"dvs128-gesture:{tmp_path / 'set'}", tmp_path)
    assert "--download" in caught.value.hint
    write_gestures(tmp_path / "set")
    (tmp_path / "set/ibmGestureTest/user10_led/11.npy").touch()
    with pytest.raises(DataError, match="named after no gesture"):
        opened(f"dvs128-gesture:{tmp_path / 'set'}", tmp_path)


def write_cifar(root: Path, samples: int = 20) -> None:
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(samples):
            write_aedat2(root / name / f"cifar10_{name}_{number}.aedat", marked(128, 128, 100 * label + number))


def spikingjellys(file: Path) -> dict[str, np.ndarray]:
    """``spikingjelly.datasets.cifar10_dvs._load_origin_data`` in other words."""
    data = file.read_bytes()
    position = 0
    while data[position : position + 1] == b"#":
        position = data.index(b"\n", position) + 1
    words = np.frombuffer(data[position:], ">u4")
    address = words[0::2]
    x, y, p = (address & 0xFE) >> 1, (address & 0x7F00) >> 8, (address & 1).astype(bool)
    return {"t": words[1::2], "x": 127 - y, "y": 127 - x, "p": 1 - p.astype(int)}


def test_cifar10_dvs_takes_the_last_tenth_in_lexicographic_order(tmp_path: Path) -> None:
    write_cifar(tmp_path / "set")
    data = opened(f"cifar10-dvs:{tmp_path / 'set'}", tmp_path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [150, 30, 20]
    assert data.classes == CLASSES
    # cifar10_airplane_0, _1, _10, …, _19, _2, …, _9: 8 and 9 are the last.
    assert marks(data.test.frames) == [100 * label + number for label in range(10) for number in (8, 9)]
    together = marks(data.train.frames) + marks(data.validation.frames)
    assert sorted(together) == [
        100 * label + number for label in range(10) for number in range(20) if number not in (8, 9)
    ]
    assert "last tenth" in data.split


def test_cifar10_dvs_is_converted_as_spikingjelly_does(tmp_path: Path) -> None:
    write_cifar(tmp_path / "set", 10)
    file = tmp_path / "set/truck/cifar10_truck_9.aedat"
    raw = np.random.default_rng(1).integers(0, 2**16, (300, 2))
    raw[:, 1] = np.sort(raw[:, 1])
    file.write_bytes(file.read_bytes()[:60].split(b"\r\n")[0] + b"\r\n" + raw.astype(">u4").tobytes())
    data = opened(f"cifar10-dvs:{tmp_path / 'set'}", tmp_path, steps=3)
    e = spikingjellys(file)
    expected = np.zeros((3, 2, 128, 128), int)
    for frame, (begin, end) in enumerate([(0, 100), (100, 200), (200, 300)]):
        np.add.at(expected[frame], (e["p"][begin:end], e["y"][begin:end], e["x"][begin:end]), 1)
    assert np.array_equal(data.test.frames[-1], expected)


def test_a_missing_class_is_named(tmp_path: Path) -> None:
    write_cifar(tmp_path / "set", 2)
    (tmp_path / "set/frog").rename(tmp_path / "set/toad")
    with pytest.raises(DataError, match="no folder 'frog' in it"):
        opened(f"cifar10-dvs:{tmp_path / 'set'}", tmp_path)


def write_caltech(root: Path, samples: tuple[int, ...] = (15, 11)) -> None:
    for label, (name, count) in enumerate(zip(("accordion", "yin_yang"), samples, strict=True)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            # A mark at a pixel that the nearest resize keeps: multiples of 45 rows and 15 columns are.
            mark = 45 * label * 240 + 15 * number
            write_bin(root / name / f"image_{number:04d}.bin", marked(180, 240, mark))


@pytest.mark.parametrize("inside", ["", "Caltech101"])
def test_n_caltech101_splits_and_resizes_as_statten(tmp_path: Path, inside: str) -> None:
    root = tmp_path / "set" / inside
    write_caltech(root)
    data = opened(f"n-caltech101:{tmp_path / 'set'}", tmp_path, size=(64, 64))
    assert data.classes == ("accordion", "yin_yang")
    files = []
    for name in data.classes:
        own = sorted((root / name).iterdir())
        files += own[int(len(own) * 0.9) :]
    assert len(files) == len(data.test) == 4
    for file, frames in zip(files, data.test.frames, strict=True):
        whole = integrate(read_events(file, (180, 240)).events, 2, 180, 240)
        nearest = torch.nn.functional.interpolate(torch.from_numpy(whole).float(), size=(64, 64), mode="nearest")
        assert np.array_equal(frames, nearest.numpy())


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_resizing_is_that_of_the_whole_frames(h: int, w: int, height: int, width: int, steps: int) -> None:
    e = draw(200, h, w, seed=h)
    events = Events(e["t"], e["x"], e["y"], e["p"])
    whole = integrate(events, steps, h, w)
    expected = np.empty((steps, 2, height, width), int)
    for i in range(height):
        for j in range(width):
            expected[:, :, i, j] = whole[:, :, math.floor(i * h / height), math.floor(j * w / width)]
    assert np.array_equal(integrate_resized(events, steps, (h, w), (height, width)), expected)


def test_all_damaged_recordings_are_named_and_skipped_only_if_asked(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_caltech(root)
    bad = [root / "accordion/image_0003.bin", root / "yin_yang/image_0010.bin"]
    for file in bad:
        file.write_bytes(file.read_bytes()[:-2])
    arguments = {"steps": 2, "image_size": (64, 64), "cache_dir": tmp_path / "cache"}
    spec = f"n-caltech101:{root}"
    with pytest.raises(DataError, match="2 of 26 recordings are damaged") as caught:
        prepare(spec, **arguments)
    assert all(f"{file}: the file is cut off" in caught.value.message for file in bad)
    assert f"snnq data prepare {spec} --steps 2 --image-size 64x64 --skip-corrupt" in caught.value.hint
    done = prepare(spec, skip_corrupt=True, **arguments)
    assert sum(len(part) for part in (done.data.train, done.data.validation, done.data.test)) == 24
    facts: dict[str, Any] = done.facts()
    assert len(done.data.skipped) == len(facts["skipped"]) == 2
    assert "2 damaged recordings skipped" in done.data.describe()
    assert prepare(spec, **arguments).data.skipped == done.data.skipped  # what was skipped is remembered
    labels = done.data.test.labels
    assert [len(done.data.test), labels.tolist()] == [3, [0, 0, 1]]


def test_download_asks_tonic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tonic import datasets

    asked = []
    monkeypatch.setattr(datasets, "DVSGesture", lambda **given: asked.append(given))
    download(f"dvs128-gesture:{tmp_path}")
    assert asked == [{"save_to": str(tmp_path), "train": True}, {"save_to": str(tmp_path), "train": False}]

    def fail(**given: object) -> None:
        raise OSError("no way out")

    monkeypatch.setattr(datasets, "CIFAR10DVS", fail)
    with pytest.raises(DataError, match="no way out"):
        download(f"cifar10-dvs:{tmp_path}")
    with pytest.raises(DataError, match="tonic cannot fetch 'n-caltech101'"):
        download(f"n-caltech101:{tmp_path}")
