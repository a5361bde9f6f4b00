"""Letters that a random pen draws: the same everywhere, all different, and events of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from snnq.base.errors import DataError
from snnq.data import open_data
from snnq.data.classes import check_samples, only_classes
from snnq.data.letters import EACH, STROKES, drawings


def test_drawings_are_known_and_every_one_is_another() -> None:
    pictures, labels = drawings()
    assert pictures.shape == (26 * EACH, 16, 16)
    assert pictures.dtype == np.uint8
    assert "".join(STROKES) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    assert np.bincount(labels).tolist() == [EACH] * 26
    assert len({one.tobytes() for one in pictures}) == len(pictures)
    assert pictures.max() == 255
    means = np.stack([pictures[labels == label].mean(0) for label in range(26)]).reshape(26, -1)
    nearest = ((pictures.reshape(len(pictures), 1, -1) - means) ** 2).sum(-1).argmin(1)
    assert (nearest == labels).mean() > 0.6  # far above 1/26: letters that can be told apart
    digest = hashlib.sha256(pictures.tobytes()).hexdigest()
    assert digest == DIGEST


DIGEST = "4ac9d14515eeb85b5c175c132b574a749e71745c98f6b6c531b8e73b163819c9"


def test_some_classes_in_an_order_of_ones_own(tmp_path) -> None:
    data = open_data("letters,limit=52", steps=2, image_size=(8, 8), cache_dir=tmp_path)
    assert (data.classes, data.simulated, len(data.test)) == (tuple(STROKES), True, 52)
    found = only_classes(data, ("C", "A"))
    assert (found.classes, len(found.train)) == (("C", "A"), 4)
    first = np.flatnonzero(data.train.labels == 2)
    assert np.array_equal(found.train.frames[found.train.labels == 0], data.train.frames[first])
    whole = only_classes(data, data.classes[::-1])
    assert whole.train.frames is data.train.frames  # nothing is copied
    assert np.array_equal(whole.train.labels, 25 - data.train.labels)
    with pytest.raises(DataError, match="has no class 'a'"):
        only_classes(data, ["a"])
    with pytest.raises(DataError, match="has no labels"):
        only_classes(replace(data, labels="none"), ["A"])
    with pytest.raises(DataError, match="its test split has no sample of B"):
        check_samples(replace(data, test=only_classes(data, ("A", "C")).test, classes=("A", "C", "B")), "test")


def test_some_classes_of_clips_are_of_their_own_videos(tmp_path) -> None:
    data = open_data("letters,limit=52", steps=2, image_size=(8, 8), cache_dir=tmp_path)
    videos = np.arange(len(data.test)) // 2
    found = only_classes(replace(data, test=replace(data.test, videos=videos)), ("C", "A")).test
    assert found.videos is not None
    assert np.array_equal(found.videos, videos[np.isin(data.test.labels, (0, 2))])
