from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from snnq.base.errors import DataError
from snnq.data import DataSet, open_data, prepare

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return open_data("digits", steps=4, image_size=(16, 16))


def test_digits_have_the_promised_shape(digits: DataSet) -> None:
    assert digits.frames_shape == (4, 2, 16, 16)
    assert digits.simulated
    assert digits.classes == tuple("0123456789")
    sizes = [len(getattr(digits, split)) for split in SPLITS]
    assert sum(sizes) == 1797
    assert [round(size / 1797, 2) for size in sizes] == [0.65, 0.15, 0.20]
    for split in SPLITS:
        frames = getattr(digits, split)
        assert frames.frames.dtype == np.uint8
        assert frames.frames.shape == (len(frames), 4, 2, 16, 16)
        counts = np.bincount(frames.labels, minlength=10)
        assert counts.min() > 0.9 * counts.max()
    assert digits.describe() == (
        "digits: 1169 train + 269 validation + 359 test, 10 classes, frames 4x2x16x16, simulated; "
        "split: fixed, by class: 65 % train, 15 % validation, 20 % test"
    )


def test_digits_have_some_hundreds_of_events_each(digits: DataSet) -> None:
    events = digits.train.frames.sum(axis=(1, 2, 3, 4))
    assert events.min() > 500
    assert events.max() < 1500


def test_no_digit_is_in_two_splits(digits: DataSet) -> None:
    seen = [{sample.tobytes() for sample in getattr(digits, split).frames} for split in SPLITS]
    assert sum(map(len, seen)) == 1797
    assert len(set.union(*seen)) == 1797


def test_digits_can_be_learned(digits: DataSet) -> None:
    """Ridge regression on the flattened counts, in closed form: a floor under what a network must reach."""

    def flat(frames: np.ndarray) -> np.ndarray:
        return np.asarray(frames, dtype=float).reshape(len(frames), -1)

    x, mean = flat(digits.train.frames), flat(digits.train.frames).mean(axis=0)
    kernel = (x - mean) @ (x - mean).T + 300 * np.eye(len(x))
    weights = (x - mean).T @ np.linalg.solve(kernel, np.eye(10)[digits.train.labels])
    guess = ((flat(digits.test.frames) - mean) @ weights).argmax(axis=1)
    assert (guess == digits.test.labels).mean() >= 0.92


def test_frames_fetch_a_batch(digits: DataSet) -> None:
    frames, labels = digits.train.__getitems__([5, 2, 5])
    assert (frames.dtype, frames.shape) == (torch.float32, (3, 4, 2, 16, 16))
    assert (labels.dtype, labels.tolist()) == (torch.int64, digits.train.labels[[5, 2, 5]].tolist())
    assert torch.equal(frames[1], torch.from_numpy(digits.train.frames[2].astype(np.float32)))
    one, label = digits.train[2]
    assert torch.equal(one, frames[1])
    assert label == labels[1]


def test_frames_work_in_a_data_loader(digits: DataSet) -> None:
    samples: Any = digits.test  # of torch's Dataset it has what a loader calls
    loader = torch.utils.data.DataLoader(samples, batch_size=100, collate_fn=digits.test.collate)
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [100, 100, 100, 59]
    assert torch.cat([labels for _, labels in batches]).tolist() == digits.test.labels.tolist()


def test_options_change_the_frames_and_the_hash(digits: DataSet) -> None:
    small = [
        open_data(f"digits,limit=20{more}", steps=4, image_size=(16, 16)) for more in ("", ",by=count", ",by=time")
    ]
    assert [len(small[0].train), len(small[0].validation), len(small[0].test)] == [20, 20, 20]
    assert len({digits.sha256, small[0].sha256, small[1].sha256}) == 3
    assert small[0].sha256 == small[2].sha256  # what is the default is the same when it is typed
    by_count = np.asarray(small[1].train.frames).sum(axis=(2, 3, 4))
    assert (by_count[:, :3] == by_count[:, :1]).all()
    assert (by_count[:, 3] - by_count[:, 0] < 4).all()


def test_the_sensor_seed_changes_counts_but_not_the_split() -> None:
    one, other = (open_data("digits,limit=30", steps=2, image_size=(16, 16), seed=seed) for seed in (0, 1))
    assert one.train.labels.tolist() == other.train.labels.tolist()
    assert not np.array_equal(one.train.frames, other.train.frames)
    assert one.sha256 != other.sha256


def test_random_is_small_repeatable_and_learnable() -> None:
    data = open_data("random,classes=3,samples=30", steps=2, image_size=(8, 10))
    assert data.frames_shape == (2, 2, 8, 10)
    assert data.classes == ("0", "1", "2")
    assert [len(getattr(data, split)) for split in SPLITS] == [30, 30, 30]
    mean = np.stack([data.train.frames[data.train.labels == label].mean(axis=0) for label in range(3)])
    distance = ((data.test.frames[:, None] - mean) ** 2).sum(axis=(2, 3, 4, 5))
    assert (distance.argmin(axis=1) == data.test.labels).all()
    assert not np.array_equal(data.train.frames, data.test.frames)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("digits,steps=8", ["steps is 8", "takes 4 time steps"]),
        ("digits,image_size=20", ["image_size is 20x20", "takes 16x16"]),
        ("n-mnist:x", ["34x34", "16x16"]),
    ],
)
def test_a_spec_that_contradicts_the_model(spec: str, words: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        open_data(spec, steps=4, image_size=(16, 16))
    assert all(word in caught.value.message for word in words)
    assert caught.value.hint


def test_an_option_that_agrees_is_fine() -> None:
    data = open_data("random,steps=4,image_size=16", steps=4, image_size=(16, 16))
    assert data.sha256 == open_data("random", steps=4, image_size=(16, 16)).sha256


def test_prepare_uses_the_defaults_and_says_where_it_lies() -> None:
    spec = "random,samples=11"  # nobody else's: the cache is the session's
    done = prepare(spec)
    assert done.data.frames_shape == (4, 2, 16, 16)
    assert not done.cached
    assert prepare(spec).cached
    facts = done.facts()
    assert facts["samples"] == {"train": 11, "validation": 11, "test": 11}
    assert facts["bytes"] == done.stored.bytes > 3 * 11 * 4 * 2 * 16 * 16


def test_prepare_asks_for_a_shape_it_cannot_know() -> None:
    with pytest.raises(DataError, match="no default shape") as caught:
        prepare("frames:somewhere")
    assert "--image-size" in caught.value.hint


@pytest.mark.parametrize(("steps", "size"), [(0, (16, 16)), (4, (0, 16))])
def test_a_shape_must_be_positive(steps: int, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="at least 1"):
        open_data("digits", steps=steps, image_size=size)
