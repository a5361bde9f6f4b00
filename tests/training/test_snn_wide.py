"""SNNAugmentWide against upstream's own output, against scipy, and by what it promises."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform

from snnq.training import snn_wide
from snnq.training.seeding import generator
from snnq.training.snn_wide import SnnWide, cut_square, magnitude, source_matrix, warp

# Made by _apply_op of zhouchenlin2096/Spikingformer's cifar10-dvs/autoaugment.py on torchvision 0.28, of 1 … 36 in
# rows of six and 1 … 35 in rows of seven.
UPSTREAM = {
    (
        "shear-x",
        0.3,
        6,
    ): "0 1 2 3 4 5 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 32 33 34 35 36 0",
    (
        "shear-x",
        -0.2,
        6,
    ): "2 3 4 5 6 0 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 0 31 32 33 34 35",
    ("translate-x", 2.0, 6): "0 0 1 2 3 4 0 0 7 8 9 10 0 0 13 14 15 16 0 0 19 20 21 22 0 0 25 26 27 28 0 0 31 32 33 34",
    (
        "translate-y",
        -1.0,
        6,
    ): "7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 0 0 0 0 0 0",
    (
        "rotate",
        30.0,
        6,
    ): "0 3 4 11 12 0 2 3 10 11 18 18 8 8 15 16 23 24 13 14 21 22 29 29 19 19 26 27 34 35 0 25 26 33 34 0",
    (
        "rotate",
        -12.0,
        6,
    ): "7 2 2 3 4 5 13 8 9 10 11 12 19 14 15 16 17 12 25 20 21 22 23 18 25 26 27 28 29 24 32 33 34 35 35 30",
    (
        "shear-x",
        0.3,
        7,
    ): "0 1 2 3 4 5 6 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 30 31 32 33 34 35 0",
    ("rotate", 20.0, 7): "0 0 4 5 6 14 0 2 2 10 11 12 20 21 8 9 17 18 19 27 28 15 16 24 25 26 34 34 0 22 30 31 32 0 0",
}


@pytest.mark.parametrize(("operation", "value", "width"), UPSTREAM)
def test_as_upstream_does_it(operation, value, width):
    expected = [int(word) for word in UPSTREAM[operation, value, width].split()]
    frames = torch.arange(1.0, len(expected) + 1).reshape(1, 1, 1, -1, width)
    assert warp(frames, source_matrix(operation, value)[None]).flatten().int().tolist() == expected


def test_upstreams_magnitudes():
    pixels = [-5, -4, -4, -4, -3, -3, -3, -2, -2, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5]
    for name in ("translate-x", "translate-y"):
        assert [magnitude(name, i) for i in range(31)] == pixels
    for name, largest in (("shear-x", 0.3), ("rotate", 30.0)):
        assert [magnitude(name, i) for i in range(31)] == pytest.approx(np.linspace(-largest, largest, 31), abs=1e-5)


def in_scipy(matrix, size) -> tuple[np.ndarray, Any]:  # scipy says no type of its offset
    """Return the turn and offset of ``affine_transform`` for rows and columns from the corner, in float64."""
    (a, b, c), (d, e, f) = matrix.double().tolist()
    turn, centre = np.array([[e, d], [b, a]]), (np.array(size) - 1) / 2
    return turn, centre + np.array([f, c]) - turn @ centre


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["shear-x", "translate-x", "translate-y", "rotate"]),
    st.integers(0, 30),
    st.sampled_from([(16, 16), (34, 34), (24, 40), (17, 9)]),
)
@example("rotate", 0, (17, 9))
def test_as_scipy_does_it(operation, place, size):
    matrix = source_matrix(operation, magnitude(operation, place))
    frames = torch.arange(1.0, 2 * math.prod(size) + 1).reshape(1, 1, 2, *size)
    ours = warp(frames, matrix[None])[0, 0].numpy()
    turn, offset = in_scipy(matrix, size)
    source = np.einsum("ij,jyx->iyx", turn, np.indices(size)) + offset[:, None, None]
    # Half-way between two pixels the nearest one is a matter of rounding.
    clear = (np.abs(source % 1 - 0.5) > 1e-4).all(axis=0)
    for channel in range(2):
        scipys = affine_transform(frames[0, 0, channel].numpy(), turn, offset, order=0, mode="grid-constant")
        assert np.array_equal(ours[channel][clear], scipys[clear])


def test_what_is_cut_out():
    assert cut_square(128, 128, 0.0, 0.0, 0.0) == (slice(0, 4), slice(0, 4))  # sqrt(0.001 · 128²) = 4.05
    assert cut_square(128, 128, 1.0, 0.999999, 0.999999) == (slice(86, 128), slice(86, 128))  # sqrt(0.11 · 128²) = 42.5
    assert cut_square(2, 200, 1.0, 0.0, 0.0)[0] == slice(0, 2)
    assert cut_square(8, 8, 0.0, 0.5, 0.5) == (slice(4, 4), slice(4, 4))  # a share that is no whole pixel


def test_each_sample_takes_one_operation_drawn_evenly(monkeypatch):
    asked = Counter()

    def counted(operation, place):
        asked[operation] += 1
        return magnitude(operation, place)

    monkeypatch.setattr(snn_wide, "magnitude", counted)
    frames = torch.ones(3000, 1, 1, 16, 16)
    changed = SnnWide()(frames, generator(0))
    assert set(asked) == {"shear-x", "translate-x", "translate-y", "rotate"}
    assert all(420 < times < 580 for times in asked.values())
    full = (changed == 1).flatten(1).all(1)
    holes = 256 - changed.flatten(1).sum(1)
    assert 500 < int(full.sum()) < 1100  # identity, and what moves by nothing
    assert holes.max() <= 16 * 16 / 2
    assert torch.equal(frames, torch.ones_like(frames))


def test_a_sample_is_changed_alike_in_all_steps_and_channels():
    frames = torch.rand(40, 1, 1, 12, 12, generator=generator(0)).expand(-1, 4, 2, -1, -1)
    changed = SnnWide()(frames, generator(1))
    assert torch.equal(changed, changed[:, :1, :1].expand_as(changed))
    assert not torch.equal(changed, frames)
