"""How many threads PyTorch computes with: as told, as the run was begun, or by the size of the work.

The number decides in which order sums are rounded, so it belongs to a run as its seed does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from snnq.base.machine import fitting_threads
from snnq.training import processes
from snnq.training.devices import Compute
from snnq.training.run_folder import begun_with

Given = ParamSpec("Given")
Result = TypeVar("Result")


def keeps_threads(command: Callable[Given, Result]) -> Callable[Given, Result]:
    """Let a function set PyTorch's number of threads for itself alone: afterwards it is as before."""

    @wraps(command)
    def kept(*arguments: Given.args, **named: Given.kwargs) -> Result:
        before = torch.get_num_threads()
        try:
            return command(*arguments, **named)
        finally:
            torch.set_num_threads(before)

    return kept


def use_threads(compute: Compute, macs: int, run: Path | None = None) -> int | None:
    """Set the number of threads for batches of ``macs`` multiply-accumulates in all processes; return it.

    A run folder ``run`` that is already there goes on with its own number. None: it was begun before numbers were
    recorded, and PyTorch's own is left.
    """
    threads = processes.on_first(lambda: _chosen(compute, macs, run))
    if threads is not None:
        torch.set_num_threads(threads)
    return threads


def _chosen(compute: Compute, macs: int, run: Path | None) -> int | None:
    if compute.threads is not None:
        return compute.threads
    begun = begun_with(run) if run is not None else None
    if begun is None:
        return fitting_threads(macs, compute.devices)
    recorded = begun.get("threads")
    return recorded if isinstance(recorded, int) and recorded > 0 else None
