"""The metrics of learning task by task, counted by hand, and beside numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from snnq.base.continual import TaskAccuracies, average_incremental, final_average, forgetting, forgetting_by_step

ROWS = [[0.9], [0.8, 1.0], [0.85, 0.6, 0.5]]


def test_metrics_by_hand() -> None:
    assert final_average(ROWS) == pytest.approx((0.85 + 0.6 + 0.5) / 3)
    assert average_incremental(ROWS) == pytest.approx((0.9 + 0.9 + 0.65) / 3)
    # Largest before the last: 0.9 and 1.0; lost since: 0.05 and 0.4.
    assert forgetting(ROWS) == pytest.approx(0.225)
    # Second task: 0.9 − 0.8; third: (0.8 − 0.85 + 1.0 − 0.6) / 2.
    assert forgetting_by_step(ROWS) == pytest.approx((0.1 + 0.175) / 2)
    assert (forgetting([[0.5]]), forgetting_by_step([[0.5]]), final_average([[0.5]])) == (None, None, 0.5)


@given(st.integers(1, 6), st.integers(0, 99))
def test_metrics_beside_numpy(tasks: int, seed: int) -> None:
    a = np.tril(np.random.default_rng(seed).random((tasks, tasks)))
    rows = [a[t, : t + 1].tolist() for t in range(tasks)]
    assert final_average(rows) == pytest.approx(a[-1].mean())
    assert average_incremental(rows) == pytest.approx(np.mean([a[t, : t + 1].mean() for t in range(tasks)]))
    if tasks > 1:
        assert forgetting(rows) == pytest.approx((a[:-1, :-1].max(0) - a[-1, :-1]).mean())
        steps = [(a[t - 1, :t] - a[t, :t]).mean() for t in range(1, tasks)]
        assert forgetting_by_step(rows) == pytest.approx(np.mean(steps))


def test_a_matrix_that_is_no_triangle_is_refused() -> None:
    whole: dict[str, Any] = {
        "samples": (1, 1),
        "class_incremental": ((1.0,), (0.5, 0.5)),
        "task_incremental": ((1.0,), (0.5, 0.5)),
    }
    assert TaskAccuracies(**whole).metrics()["class_incremental"]["forgetting"] == 0.5
    wrong: tuple[Any, ...] = (((1.0,), (0.5,)), ((1.0,),), ((1.0,), (0.5, 1.5)))
    for broken in wrong:
        with pytest.raises(ValidationError):
            TaskAccuracies(**(whole | {"class_incremental": broken}))
