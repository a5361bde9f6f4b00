from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.data.integrator import By, Events, frame_bounds, integrate


def frame_of_events(t: np.ndarray, steps: int, by: By) -> np.ndarray:
    return np.repeat(np.arange(steps), np.diff(frame_bounds(t, steps, by)))


BOTH = st.sampled_from(get_args(By))


def events(t: list[int], x: list[int], y: list[int], p: list[int]) -> Events:
    return Events(*(np.array(column, dtype=np.int64) for column in (t, x, y, p)))


def test_by_count_the_last_frame_takes_the_remainder() -> None:
    assert frame_of_events(np.arange(11), 3, "count").tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]


def test_by_count_fewer_events_than_steps_are_all_in_the_last() -> None:
    assert frame_of_events(np.array([5, 6]), 3, "count").tolist() == [2, 2]


def test_by_time_the_last_frame_takes_the_rest() -> None:
    # From 10 to 21 in three: 3 each, so 10..12, 13..15, 16..21.
    t = np.array([10, 12, 13, 15, 16, 19, 20, 21])
    assert frame_of_events(t, 3, "time").tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_by_time_a_frame_without_events_stays_empty() -> None:
    assert frame_of_events(np.array([0, 90]), 3, "time").tolist() == [0, 2]
    assert frame_of_events(np.array([7, 7, 7]), 3, "time").tolist() == [0, 0, 0]


def test_golden_frames() -> None:
    recording = events(t=[0, 1, 2, 3, 4], x=[0, 2, 2, 1, 1], y=[0, 1, 1, 0, 0], p=[0, 1, 1, 1, 0])
    assert integrate(recording, 2, 2, 3, by="count").tolist() == [
        [[[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]],
        [[[0, 1, 0], [0, 0, 0]], [[0, 1, 0], [0, 0, 1]]],
    ]
    assert integrate(recording, 2, 2, 3, by="time").tolist() == [
        [[[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]],
        [[[0, 1, 0], [0, 0, 0]], [[0, 1, 0], [0, 0, 1]]],
    ]


@st.composite
def recordings(draw: st.DrawFn) -> Events:
    n = draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    t = np.sort(rng.integers(0, draw(st.sampled_from([1, 5, 300_000])), n)) + draw(st.integers(0, 10**9))
    return Events(t, rng.integers(0, 5, n), rng.integers(0, 4, n), rng.integers(0, 2, n))


@given(recordings(), st.integers(1, 9), BOTH)
def test_no_event_is_lost_and_polarity_and_place_are_kept(recording: Events, steps: int, by: By) -> None:
    frames = integrate(recording, steps, 4, 5, by)
    assert frames.shape == (steps, 2, 4, 5)
    assert frames.sum() == len(recording)
    assert frames.sum(axis=(0, 2, 3)).tolist() == np.bincount(recording.p, minlength=2).tolist()
    still = np.zeros((4, 5), dtype=np.int64)
    np.add.at(still, (recording.y, recording.x), 1)
    assert (frames.sum(axis=(0, 1)) == still).all()


@given(recordings(), st.integers(1, 9), BOTH)
def test_frames_never_go_back_in_time(recording: Events, steps: int, by: By) -> None:
    frame = frame_of_events(recording.t, steps, by)
    assert (np.diff(frame) >= 0).all()
    assert ((frame >= 0) & (frame < steps)).all()


def oracle(recording: Events, steps: int, by: By) -> np.ndarray:
    """SpikingJelly's rule, written the slow way: bounds of every frame, then one event after the other."""
    t, n = recording.t.tolist(), len(recording)
    frames = np.zeros((steps, 2, 4, 5), dtype=np.int64)
    for i in range(steps):
        if by == "count":
            left, right = n // steps * i, n // steps * (i + 1)
            members = range(left, n if i == steps - 1 else right)
        else:
            width = (t[-1] - t[0]) // steps if n else 0
            start = t[0] + width * i if n else 0
            members = [k for k in range(n) if t[k] >= start and (i == steps - 1 or t[k] < start + width)]
        for k in members:
            frames[i, recording.p[k], recording.y[k], recording.x[k]] += 1
    return frames


@given(recordings(), st.integers(1, 9), BOTH)
def test_against_the_oracle(recording: Events, steps: int, by: By) -> None:
    long_enough = len(recording) and recording.t[-1] - recording.t[0] >= steps
    if by == "count" or long_enough:
        assert (integrate(recording, steps, 4, 5, by) == oracle(recording, steps, by)).all()


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (events([0], [5], [0], [0]), "x from 5 to 5, allowed: 0 to 4"),
        (events([0], [0], [-1], [0]), "y from -1 to -1"),
        (events([0], [0], [0], [2]), "p from 2 to 2"),
        (events([1, 0], [0, 0], [0, 0], [0, 0]), "not in time order"),
    ],
)
def test_events_that_cannot_be(recording: Events, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        integrate(recording, 2, 4, 5)
