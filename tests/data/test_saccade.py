from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.data.images import Saccades, path, shift, simulate
from snnq.data.integrator import Events

BLOB = np.exp(-((np.arange(34)[:, None] - 16) ** 2 + (np.arange(34) - 18) ** 2) / 20.0)


def columns(recording: Events) -> list[list[int]]:
    return [column.tolist() for column in (recording.t, recording.x, recording.y, recording.p)]


def test_path_is_closed_centred_and_scaled() -> None:
    walk = path(Saccades(substeps=4), (34, 34))
    corners = walk[[0, 4, 8, 12]]
    assert corners.tolist() == pytest.approx(np.array([[-3.5, -3.5], [0, 3.5], [3.5, -3.5], [-3.5, -3.5]]))
    assert path(Saccades(substeps=4), (17, 40)) == pytest.approx(walk / 2)


def test_speed_is_smooth_within_a_saccade() -> None:
    speed = np.linalg.norm(np.diff(path(Saccades(substeps=16), (34, 34)), axis=0), axis=1)[:16]
    assert speed == pytest.approx(speed[::-1])
    assert speed.argmax() in (7, 8)
    assert speed[0] < 0.02 * speed.max()


def test_shift_golden() -> None:
    image = np.array([[[0.0, 4.0, 0.0], [0.0, 0.0, 0.0]]])
    assert shift(image, 1, 0).tolist() == [[[0, 0, 4], [0, 0, 0]]]
    assert shift(image, -0.25, 0.5).tolist() == [[[0.5, 1.5, 0], [0.5, 1.5, 0]]]
    assert shift(image, 7.5, -9).tolist() == [[[0, 0, 0], [0, 0, 0]]]


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_shift_keeps_the_light_that_stays_inside(dx: float, dy: float) -> None:
    image = np.zeros((1, 12, 12))
    image[0, 4:8, 4:8] = np.arange(16).reshape(4, 4)
    assert shift(image, dx, dy).sum() == pytest.approx(image.sum())


def test_golden_events_of_one_pixel() -> None:
    # One leg of one pixel: after it, the light has gone one pixel to the right, in two substeps (half way, the rest).
    move = Saccades(legs=((34 / 3, 0.0),), leg_us=1000, substeps=2, threshold=0.4, spread=0.0, dark=0.1)
    image = np.zeros((1, 3, 3))
    image[0, 1, 1] = 1.0
    (recording,) = simulate(image, move, [0])
    assert path(move, (3, 3)).tolist() == pytest.approx(np.array([[-0.5, 0], [0, 0], [0.5, 0]]))
    # Light at (row 1, columns 0, 1, 2): (.5, .5, 0) → (0, 1, 0) → (0, .5, .5), in log of light + 0.1.
    low, half, full = math.log(0.1), math.log(0.6), math.log(1.1)
    down = [int(500 * n * 0.4 / (half - low)) for n in (1, 2, 3, 4)]  # column 0 darkens by 1.79: four thresholds
    up = int(500 * 0.4 / (full - half))  # column 1 brightens by 0.61: one threshold
    back = int(500 + 500 * (full - (half + 0.4 - 0.4)) / (full - half))
    expected = sorted(
        [(t, 0, 0) for t in down] + [(up, 1, 1)] + [(500 + t, 2, 1) for t in down] + [(back, 1, 0)][: int(half <= half)]
    )
    assert sorted(zip(recording.t.tolist(), recording.x.tolist(), recording.p.tolist(), strict=True)) == expected
    assert set(recording.y.tolist()) == {1}


def slow_oracle(image: np.ndarray, move: Saccades) -> list[tuple[int, int, int, int]]:
    """Counts of (substep, y, x, sign), one pixel and one threshold at a time."""
    walk = path(move, image.shape)
    logs = [np.log(shift(image[None], *step)[0] + move.dark) for step in walk]
    found = []
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            reference = logs[0][y, x]
            for number, log in enumerate(logs[1:]):
                while abs(log[y, x] - reference) >= move.threshold * (1 - 1e-9):
                    sign = 1 if log[y, x] > reference else -1
                    reference += sign * move.threshold
                    found.append((number, y, x, sign))
    return sorted(found)


def test_against_a_slow_oracle() -> None:
    move = Saccades(spread=0.0, threshold=0.31, substeps=6, leg_us=6_000_000)
    image = np.random.default_rng(3).random((9, 9))
    (recording,) = simulate(image[None], move, [0])
    step_us = move.leg_us / move.substeps
    # Times are cut to whole µs; one at a substep's end, as at the end of the closed path, belongs to it.
    substep = np.minimum((recording.t + 1) // step_us, 17).astype(int).tolist()
    sign = (2 * recording.p - 1).tolist()
    found = sorted(zip(substep, recording.y.tolist(), recording.x.tolist(), sign, strict=True))
    assert found == slow_oracle(image, move)
    assert len(found) > 200


@settings(max_examples=20)
@given(st.permutations(range(5)), st.integers(1, 5))
def test_the_result_does_not_depend_on_batching(order: list[int], size: int) -> None:
    images = np.random.default_rng(0).random((5, 8, 8))
    whole = simulate(images, Saccades(substeps=4), range(5), seed=7)
    for start in range(0, 5, size):
        part = order[start : start + size]
        for index, recording in zip(part, simulate(images[part], Saccades(substeps=4), part, seed=7), strict=True):
            assert columns(recording) == columns(whole[index])


def test_events_are_in_order_inside_the_field_and_of_both_polarities() -> None:
    (recording,) = simulate(BLOB[None], Saccades(), [0])
    assert (np.diff(recording.t) >= 0).all()
    assert recording.t.min() >= 0
    assert recording.t.max() <= 3 * 100_000
    assert set(recording.p.tolist()) == {0, 1}
    # The path is closed: nearly as many events up as down.
    assert abs(recording.p.mean() - 0.5) < 0.05


def test_seed_and_index_choose_the_thresholds() -> None:
    one, again, other = (simulate(BLOB[None], Saccades(), [i], seed=s)[0] for i, s in ((0, 0), (0, 0), (1, 0)))
    assert columns(one) == columns(again)
    assert columns(one) != columns(other)


def test_a_still_or_even_image_gives_no_event() -> None:
    (recording,) = simulate(np.zeros((1, 9, 9)), Saccades(), [0])
    assert len(recording) == 0
    (recording,) = simulate(BLOB[None], Saccades(legs=((0.0, 0.0),)), [0])
    assert len(recording) == 0


def test_a_higher_threshold_gives_fewer_events() -> None:
    counts = [len(simulate(BLOB[None], Saccades(threshold=threshold), [0])[0]) for threshold in (0.2, 0.4, 0.8)]
    assert counts[0] > counts[1] > counts[2] > 0
