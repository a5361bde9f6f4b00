from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.data.image_sets import DIGITS, MNIST
from snnq.data.images import path, place, resize_matrix, shift


def test_resize_golden() -> None:
    assert resize_matrix(2, 4) == pytest.approx(np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]))
    assert resize_matrix(4, 2) == pytest.approx(np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7)
    assert (resize_matrix(5, 5) == np.eye(5)).all()


@given(st.integers(1, 40), st.integers(1, 40))
def test_resize_keeps_an_even_image_even(size: int, new: int) -> None:
    weights = resize_matrix(size, new)
    assert weights.shape == (new, size)
    assert (weights >= 0).all()
    assert weights.sum(axis=1) == pytest.approx(np.ones(new))
    assert weights == pytest.approx(weights[::-1, ::-1])


def test_resize_against_interpolation() -> None:
    image = np.random.default_rng(0).random(8)
    centres = (np.arange(12) + 0.5) * 8 / 12 - 0.5
    assert resize_matrix(8, 12) @ image == pytest.approx(np.interp(centres, np.arange(8), image))


def test_place_centres_in_the_dark() -> None:
    field = place(np.ones((2, 8, 8)), (16, 20), 0.75)
    assert field.shape == (2, 16, 20)
    assert field[:, 2:14, 4:16] == pytest.approx(np.ones((2, 12, 12)))
    assert field.sum() == pytest.approx(2 * 144)


@pytest.mark.parametrize("side", [12, 16, 24, 34])
def test_a_moving_digit_stays_inside_the_field(side: int) -> None:
    field = place(np.ones((1, 8, 8)), (side, side), DIGITS.fill)
    for dx, dy in path(DIGITS.saccades, (side, side)):
        assert shift(field, dx, dy).sum() == pytest.approx(field.sum())


def test_a_moving_28_pixel_image_leaves_at_most_half_a_pixel() -> None:
    field = place(np.ones((1, 28, 28)), (34, 34), MNIST.fill)
    inside = [shift(field, dx, dy).sum() for dx, dy in path(MNIST.saccades, (34, 34))]
    assert min(inside) >= 27.5**2 - 1e-9
