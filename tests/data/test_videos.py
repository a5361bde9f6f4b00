"""``video:``: clips by hand, official lists, groups that stay together, and videos that are damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from snnq.base.errors import DataError
from snnq.data import DataSet, open_data
from snnq.data.open import prepare
from snnq.data.videos import Sampling
from snnq.training.evaluation import video_share

CLASSES = ("jump", "run")
AREA = np.full((12, 16, 3), 1, np.uint8)


def frames_of(count: int, first: int) -> np.ndarray:
    """Return frames (count, 12, 16, 3), each of one value: first, first + 1, …"""
    return np.stack([AREA * (first + index) for index in range(count)])


def write(place: Path, frames: np.ndarray) -> None:
    """Write a video as a folder of images where its name says so, else as .npy."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.suffix == ".npy":
        np.save(place, frames)
        return
    place.mkdir()
    for index, frame in enumerate(frames):
        Image.fromarray(frame).save(place / f"frame{index}.png")  # 10 comes behind 9


def ucf(root: Path, groups: int = 8) -> Path:
    """Write two classes of so many groups of two videos each, of 12 frames; the odd groups as folders of images."""
    for label, name in enumerate(CLASSES):
        for group in range(1, groups + 1):
            for number in (1, 2):
                ending = "" if group % 2 else ".npy"
                video = root / name / f"v_{name}_g{group:02d}_c{number:02d}{ending}"
                write(video, frames_of(12, 100 * label + 5 * group + number))
    return root


def lists(root: Path, number: int = 1) -> None:
    """Write UCF101's lists: groups 1 and 2 are for test."""
    place = root / "ucfTrainTestlist"
    place.mkdir(exist_ok=True)
    videos = [f"{name}/v_{name}_g{g:02d}_c{c:02d}.avi" for name in CLASSES for g in range(1, 9) for c in (1, 2)]
    tested = [one for one in videos if "_g01_" in one or "_g02_" in one]
    trained = [one for one in videos if one not in tested]
    (place / f"testlist{number:02d}.txt").write_text("\n".join(tested))
    numbered = [f"{one} {1 + CLASSES.index(one.partition('/')[0])}" for one in trained]
    (place / f"trainlist{number:02d}.txt").write_text("\n".join(numbered))


def opened(root: Path, options: str = "", steps: int = 4, **given: Any) -> DataSet:
    spec = f"video:{root},resize=none{',' + options if options else ''}"
    return open_data(spec, steps=steps, image_size=(12, 16), cache_dir=root.parent / "cache", **given)


@pytest.mark.parametrize(
    ("sampling", "frames", "starts"),
    [
        (Sampling(4, 1, 4, None), 12, [0, 4, 8]),
        (Sampling(4, 1, 4, None), 11, [0, 4]),
        (Sampling(4, 1, 4, None), 3, []),
        (Sampling(4, 2, 8, None), 7, [0]),
        (Sampling(4, 2, 8, None), 6, []),
        (Sampling(4, 1, 2, None), 8, [0, 2, 4]),
        (Sampling(4, 1, 4, 1), 12, [4]),
        (Sampling(4, 1, 4, 2), 12, [2, 6]),
        (Sampling(4, 1, 4, 9), 5, [0]),
        (Sampling(4, 1, 4, 3), 4, [0]),
    ],
)
def test_clips_begin_where_they_should(sampling: Sampling, frames: int, starts: list[int]) -> None:
    assert sampling.starts(frames) == starts
    assert all(sampling.places(start)[-1] < frames for start in starts)


def test_official_lists_and_clips_by_hand(tmp_path: Path) -> None:
    root = ucf(tmp_path / "set")
    lists(root)
    data = opened(root)
    assert data.classes == CLASSES
    # Groups 1 and 2 of both classes, two videos each, three clips of 4 of 12 frames.
    assert len(data.test) == 2 * 2 * 2 * 3
    assert data.test.videos is not None
    assert data.test.videos.tolist() == np.repeat(np.arange(8), 3).tolist()
    assert data.test.frames.dtype == np.uint8
    assert data.test.frames[:4, :, 0, 0, 0].tolist() == [
        [6, 7, 8, 9],
        [10, 11, 12, 13],
        [14, 15, 16, 17],
        [7, 8, 9, 10],
    ]
    assert "trainlist01.txt" in data.split
    assert "samples are clips of 20 + 4 + 8 videos" in data.describe()
    normal, label = data.test[0]
    assert normal.shape == (4, 3, 12, 16)
    assert float(normal[1, 0, 0, 0]) == pytest.approx((7 / 255 - 0.485) / 0.229, abs=1e-6)
    assert int(label) == 0


def test_groups_stay_together(tmp_path: Path) -> None:
    root = ucf(tmp_path / "set")
    for listed in (False, True):
        if listed:
            lists(root)
        data = opened(root, "clips=1")
        groups = {
            split: {int(value - 100 * label - 1) // 5 + 100 * label
                    for value, label in zip(part.frames[:, 0, 0, 0, 0] - 4, part.labels, strict=True)}
            for split, part in (("train", data.train), ("validation", data.validation), ("test", data.test))
        }  # fmt: skip
        assert not groups["train"] & groups["validation"]
        assert not groups["test"] & (groups["train"] | groups["validation"])
        assert len(data.train) + len(data.validation) + len(data.test) == 32


def test_hmdb_lists(tmp_path: Path) -> None:
    root = tmp_path / "hmdb"
    (root / "splits").mkdir(parents=True)
    for label, name in enumerate(CLASSES):
        lines = []
        for number in range(8):
            write(root / name / f"Film_{number}_{name}_f_cm.npy", frames_of(4, 50 * label + number))
            lines.append(f"Film_{number}_{name}_f_cm.avi {(1, 1, 1, 1, 1, 2, 2, 0)[number]}")
        (root / "splits" / f"{name}_test_split2.txt").write_text("\n".join(lines))
    data = opened(root, "split=2")
    assert data.test.frames[:, 0, 0, 0, 0].tolist() == [5, 6, 55, 56]
    assert len(data.train) + len(data.validation) == 10
    assert "(2 videos are in neither)" in data.split


def test_folders_of_splits(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("test", 2)):
        for name in CLASSES:
            for number in range(count):
                write(tmp_path / "set" / split / name / f"{number}.npy", frames_of(5, 10 * number))
    data = opened(tmp_path / "set", "stride=1,every=1")
    assert data.test.frames[:, 0, 0, 0, 0].tolist() == [0, 1, 10, 11] * 2
    assert len(data.train) + len(data.validation) == 16


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("split=3", "no lists of split 3 found"),
        ("stride=5", "no video of train has the 16 frames of a clip"),
        ("clips=few", "option 'clips' is 'few'"),
        ("every=0", "option 'every' is '0'"),
    ],
)
def test_what_cannot_be_is_said(options: str, said: str, tmp_path: Path) -> None:
    root = ucf(tmp_path / "set", groups=3)
    with pytest.raises(DataError) as caught:
        opened(root, options)
    assert said in caught.value.message


def test_a_listed_video_that_is_not_there_is_named(tmp_path: Path) -> None:
    root = ucf(tmp_path / "set")
    lists(root)
    (root / "run" / "v_run_g02_c01.npy").unlink()
    with pytest.raises(DataError, match=r"1 of the 32 videos in its lists are not there \(such as v_run_g02_c01\)"):
        opened(root)


def test_damaged_videos_are_skipped_with_all_of_their_clips(tmp_path: Path) -> None:
    root = ucf(tmp_path / "set")
    lists(root)
    (root / "jump" / "v_jump_g01_c01" / "frame5.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"frame5\.png: it is no image"):
        opened(root)
    spec = f"video:{root},resize=none"
    cache = tmp_path / "cache"
    data = prepare(spec, steps=4, image_size=(12, 16), cache_dir=cache, skip_corrupt=True).data
    assert data.test.videos is not None
    assert data.test.videos.tolist() == np.repeat(np.arange(1, 8), 3).tolist()
    assert len(data.skipped) == 3


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 12, 16, 3), np.float32), "float32 of shape"),
        (np.zeros((4, 3, 12, 16), np.uint8), "uint8 of shape (4, 3, 12, 16)"),
        (np.zeros((0, 12, 16, 3), np.uint8), "0 frames found"),
    ],
)
def test_arrays_of_another_form(array: np.ndarray, said: str, tmp_path: Path) -> None:
    root = ucf(tmp_path / "set", groups=3)
    np.save(root / "run" / "other.npy", array)
    with pytest.raises(DataError) as caught:
        opened(root)
    assert said in caught.value.message
    assert "other.npy" in caught.value.message


def test_what_is_no_array_of_frames_is_not_opened(tmp_path: Path) -> None:
    root = ucf(tmp_path / "set", groups=3)
    pickled = root / "run" / "pickled.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"pickled\.npy: it cannot be read"):
        opened(root)
    pickled.unlink()
    os.mkfifo(root / "run" / "pipe.npy")
    with pytest.raises(DataError, match="it is no regular file"):
        opened(root)


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    root = ucf(tmp_path / "set")
    made = [
        prepare(f"video:{root},resize=none", steps=4, image_size=(12, 16), cache_dir=tmp_path / name, workers=workers)
        for name, workers in (("one", 1), ("two", 2))
    ]
    first, second = (one.data for one in made)
    assert first.sha256 == second.sha256
    assert np.array_equal(first.train.frames, second.train.frames)
    assert first.train.videos is not None
    assert second.train.videos is not None
    assert np.array_equal(first.train.videos, second.train.videos)


def test_other_sampling_is_another_set(tmp_path: Path) -> None:
    root = ucf(tmp_path / "set", groups=3)
    assert len({opened(root, options).sha256 for options in ("", "every=2", "stride=2", "clips=1")}) == 4


def test_encoded_files_have_the_frames_that_were_encoded(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    root = ucf(tmp_path / "set", groups=3)
    with av.open(str(root / "run" / "v_run_g04_c01.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 16, 12, "yuv420p", 4_000_000
        for frame in frames_of(9, 100):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame * 1, format="rgb24")))
        container.mux(stream.encode())
    data = opened(root)
    parts = (data.train, data.validation, data.test)
    values = np.concatenate([part.frames[:, :, 0, 6, 8].astype(int) for part in parts if len(part)])
    for start in (100, 104):
        assert (np.abs(values - np.arange(start, start + 4)).max(1) <= 2).any()
    assert opened(root).sha256 == data.sha256  # counted again from the cache
    (root / "run" / "v_run_g05_c01.avi").write_bytes(b"no video" * 100)
    with pytest.raises(DataError, match=r"v_run_g05_c01\.avi: it cannot be decoded"):
        opened(root)


def test_an_encoded_file_without_its_reader_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from snnq.base.errors import MissingLibraryError

    root = ucf(tmp_path / "set", groups=3)
    (root / "run" / "x.avi").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingLibraryError, match=r"x\.avi: a \.avi file takes PyAV") as caught:
        opened(root)
    assert "snnq[video]" in caught.value.hint


def test_a_video_is_told_by_the_mean_probabilities_of_its_clips() -> None:
    """Two clips are slightly for class 0 and one is surely for class 1: the video is of class 1, most clips are not."""
    logits = torch.tensor([[0.2, 0.0], [0.2, 0.0], [0.0, 9.0], [3.0, 0.0]])
    labels, videos = torch.tensor([1, 1, 1, 0]), torch.tensor([7, 7, 7, 2])
    assert video_share(logits, labels, videos) == (1.0, 2)
    assert float((logits.argmax(1) == labels).double().mean()) == 0.5
    assert video_share(logits, labels, None) is None
