"""How near the engine comes to the speed at which this machine can add rows of 64 sums at all."""

# pyright: reportCallIssue=false
from __future__ import annotations

import time

import numpy as np

from snnq.runtime import Engine
from snnq.runtime.compiling import compiled
from snnq.runtime.vectors import LANES, sum_rows

ROWS, TIMES, TRIES = 4096, 2000, 5


def row_limit(engine: Engine, rows: float, parts: dict[str, float], batch: int) -> dict[str, float]:
    """Return rows added a second in the layers, the machine's limit, and their ratio.

    ``rows``: of one sample; ``parts``: ms of every part for ``batch`` samples. The limit is that of the inner loop
    alone, at random rows of a table of the largest layer's size, by as many threads.
    """
    layers = list(engine.layers.values())
    largest = max(layers, key=lambda layer: layer.table_size)
    table = np.ones(largest.table_size, largest.table_type)
    offsets = np.random.default_rng(0).integers(0, largest.table_size // LANES, ROWS).astype(np.int32) * LANES
    work = engine.workers.threads * ROWS * TIMES
    limit = 0.0
    for _ in range(TRIES + 1):
        begun = time.perf_counter()
        engine.workers.run(_add, [(table, offsets, largest.sum_type)] * engine.workers.threads)
        limit = max(limit, work / (time.perf_counter() - begun))
    names = [layer.name for layer in layers]
    seconds = sum(ms for part, ms in parts.items() if part.split(", ")[0] in names) / 1000
    reached = rows * batch / seconds
    return {"rows_per_second": reached, "limit_rows_per_second": limit, "share_of_limit": reached / limit}


def _add(table: np.ndarray, offsets: np.ndarray, sum_type: type) -> None:
    _add_rows(table, offsets, np.zeros(LANES, sum_type), TIMES)


@compiled
def _add_rows(table, offsets, sums, times):  # pragma: no cover (compiled)  # type: ignore[no-untyped-def]
    for _ in range(times):
        sum_rows(table, offsets, len(offsets), sums, 0)
