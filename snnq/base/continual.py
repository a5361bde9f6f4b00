"""Learning classes task by task: what a model knows after every task, in the field's metrics.

a[t][i] is the accuracy (0 … 1) on task i after task t was learned, i ≤ t. Everything derived is computed here, so that
a file holds the matrix alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pydantic import Field, model_validator

from snnq.base.strict_json import Json
from snnq.base.validation import Many, Record

Rows = Sequence[Sequence[float]]


def final_average(rows: Rows) -> float:
    """Return A_N, the mean over all N tasks of the accuracy after the last one; each task counts alike."""
    return sum(rows[-1]) / len(rows[-1])


def average_incremental(rows: Rows) -> float:
    """Return the mean over t of the mean accuracy on the tasks seen by then (iCaRL: Rebuffi et al. 2017)."""
    return sum(final_average(rows[: t + 1]) for t in range(len(rows))) / len(rows)


def forgetting(rows: Rows) -> float | None:
    """Return the mean over all tasks but the last of max over t < N of a[t][i], minus a[N][i]; None for one task.

    Source: Chaudhry et al. 2018 (arXiv:1801.10112). It is negative where tasks are known better in the end.
    """
    before, last = rows[:-1], rows[-1]
    lost = [max(row[i] for row in before[i:]) - last[i] for i in range(len(before))]
    return sum(lost) / len(lost) if lost else None


def forgetting_by_step(rows: Rows) -> float | None:
    """Return 1/(N−1) Σ_t 1/t Σ_{i<t} (a[t−1][i] − a[t][i]), tasks counted from 0; None for one task.

    What one more task costs those before it on average: the F_N of CODA-Prompt's and OS-Prompt's code.
    """
    lost = [sum(a - b for a, b in zip(row, after, strict=False)) / len(row) for row, after in pairwise(rows)]
    return sum(lost) / len(lost) if lost else None


class TaskAccuracies(Record):
    """Two matrices a[t][i] as they were measured on ``samples`` test samples of each task.

    ``class_incremental``: a sample's class is chosen among all seen so far; ``task_incremental``: among those of its
    task, which the model is then told.
    """

    samples: Many[int] = Field(min_length=1)
    class_incremental: Many[Many[float]]
    task_incremental: Many[Many[float]]

    @model_validator(mode="after")
    def _triangles(self) -> TaskAccuracies:
        for rows in (self.class_incremental, self.task_incremental):
            if [len(row) for row in rows] != list(range(1, len(self.samples) + 1)):
                raise ValueError("after task t there are t accuracies")
            if any(not 0 <= value <= 1 for row in rows for value in row):
                raise ValueError("accuracies are from 0 to 1")
        return self

    def metrics(self) -> Json:
        """Return the metrics by name, for both ways to choose a class; forgetting is None for one task."""
        return {
            name: {
                "final_average_accuracy": final_average(rows),
                "average_incremental_accuracy": average_incremental(rows),
                "forgetting": forgetting(rows),
                "forgetting_by_step": forgetting_by_step(rows),
            }
            for name, rows in (
                ("class_incremental", self.class_incremental),
                ("task_incremental", self.task_incremental),
            )
        }
