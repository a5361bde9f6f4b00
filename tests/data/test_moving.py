"""``moving-fashion:``: clips whose one frame does not tell how they move, and whose object does not either."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from snnq.data import open_data
from snnq.data.moving import CLASSES, MOTIONS, OBJECTS, clip, joint_labels

SQUARE = np.zeros((28, 28), np.uint8)
SQUARE[4:24, 4:24] = 200


def still(**other: float) -> tuple[float, float, float]:
    return (other.get("right", 0.0), other.get("down", 0.0), other.get("turn", 0.0))


def centre(frame: np.ndarray) -> np.ndarray:
    """Return the circular mean (right, down) of a frame's light, in pixels."""
    found = []
    for axis in (0, 1):
        light = frame.astype(float).sum(axis)
        angle = np.angle((light * np.exp(2j * np.pi * np.arange(len(light)) / len(light))).sum())
        found.append(angle % (2 * np.pi) * len(light) / (2 * np.pi))
    return np.array(found)


@pytest.mark.parametrize(("way", "due"), [(still(right=1.25), (1.25, 0)), (still(down=-1.25), (0, -1.25))])
def test_an_image_moves_as_it_should(way: tuple[float, float, float], due: tuple[float, float]) -> None:
    frames = clip(SQUARE, way, 16, (32, 32), np.random.default_rng(3))[:, 0]
    places = np.array([centre(one) for one in frames])
    steps = (np.diff(places, axis=0) + 16) % 32 - 16
    pace = steps.mean(0)
    assert np.abs(steps - pace).max() < 0.2
    assert np.allclose(pace / np.linalg.norm(pace), np.array(due) / 1.25, atol=0.05)
    assert 0.8 * 1.25 - 0.05 <= np.linalg.norm(pace) <= 1.2 * 1.25 + 0.05
    # It leaves the field on one side and comes back on the other: no light is lost.
    assert frames.sum((1, 2)).std() / frames.sum((1, 2)).mean() < 0.02


def test_what_stands_still_is_one_image_and_what_turns_is_not() -> None:
    same = clip(SQUARE, still(), 4, (32, 32), np.random.default_rng(0))
    assert (same == same[:1]).all()
    turned = clip(SQUARE, still(turn=8.0), 4, (32, 32), np.random.default_rng(0))
    assert (turned[0] == same[0]).all()  # a first frame says nothing of the motion
    assert (turned[1] != turned[0]).any()
    assert np.abs(centre(turned[3][0]) - centre(turned[0][0])).max() < 0.1


def test_every_object_moves_in_every_way_alike() -> None:
    kinds = np.tile(np.arange(10), 70)
    places, labels = joint_labels(kinds)
    assert (kinds[places] == np.array(list(OBJECTS.values()))[labels // len(MOTIONS)]).all()
    assert (np.bincount(labels) == 10).all()
    assert len(CLASSES) == len(OBJECTS) * len(MOTIONS) == 35
    assert CLASSES[labels[0]] == "trouser-still"


def test_the_source(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name, count in (("train", 350), ("t10k", 100)):
        images, labels = draw.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            with gzip.open(tmp_path / f"{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + array.astype(np.uint8).tobytes())
    spec, given = f"moving-fashion:{tmp_path}", {"steps": 4, "image_size": (16, 16), "cache_dir": tmp_path / "cache"}
    data = open_data(spec, **given)
    assert data.simulated
    assert (len(data.train) + len(data.validation), len(data.test)) == (175, 50)
    assert data.frames_shape == (4, 1, 16, 16)
    clips, _ = data.train[0]
    assert 0 <= float(clips.min()) <= float(clips.max()) <= 1
    fewer = open_data(f"{spec},limit=35", **given)
    assert (fewer.train.frames[0] == data.train.frames[0]).all()  # a limit draws nothing anew
    assert fewer.train.videos is None
