"""An adapter that was evaluated: the record that the job fills and the report shows."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.base.strict_json import Json


@dataclass(frozen=True)
class Scored:
    """An adapter as it is now: accuracies (0 … 1) on every task, all classes to choose from or those of the task.

    ``accuracy`` counts every sample alike. ``metrics`` are those of the matrix that was measured while it learned.
    ``synaptic_operations``: of an inference, with the frozen pass where there is one; ``backbone_operations``: without
    the adapter. ``milliseconds`` of an inference on the integer engine, one sample at a time, the median, and
    ``backbone_milliseconds`` of the folder alone, in turns with it. None where they were not measured.
    """

    path: str
    method: str
    bytes: int
    order: int
    classes: tuple[str, ...]
    tasks: tuple[int, ...]
    samples: int
    accuracy: float
    class_incremental: tuple[float, ...]
    task_incremental: tuple[float, ...]
    metrics: Json
    macs: Json
    synaptic_operations: float | None
    backbone_operations: float | None
    milliseconds: float | None
    backbone_milliseconds: float | None
    overlap: bool
    simulated: bool
