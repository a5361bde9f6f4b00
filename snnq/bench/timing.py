"""Paired timing: the contestants take turns, so that a machine whose speed drifts treats them alike."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping

from snnq.base.progress import Progress, silent
from snnq.base.strict_json import Json

# What a benchmark found, ready for JSON: numbers by nested names that its function tells.
Findings = Json


def time_in_turns(
    contestants: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int = 2,
    progress: Progress = silent,
    stage: str = "timing",
    before: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Return the seconds of every repeat by contestant: A B C A B C …, after ``warmup`` rounds that do not count.

    ``before`` is called before every round and not timed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for i in range(-warmup, repeats):
        before()
        for name, work in contestants.items():
            begun = time.perf_counter()
            work()
            if i >= 0:
                seconds[name].append(time.perf_counter() - begun)
        progress(stage, i + warmup + 1, repeats + warmup)
    return seconds


def median_ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the ratios of paired times."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def machine() -> dict[str, object]:
    """Return what a figure must be read with: processor, threads and versions."""
    import torch

    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"
