"""How the engine's time grows with batch, time steps and firing rate, and how near it is to the machine's limit.

That is the speed at which the machine can add rows of 64 sums at all.
"""

# pyright: reportCallIssue=false
from __future__ import annotations

import dataclasses
import statistics
import time
from typing import Any

import numpy as np

from snnq.bench.timing import time_in_turns
from snnq.network.graph import Neuron
from snnq.runtime import Engine
from snnq.runtime.compiling import compiled
from snnq.runtime.vectors import LANES, sum_rows
from snnq.runtime.weights import LayerWeights


def firing(engine: Engine, frames: np.ndarray) -> tuple[dict[str, float], int]:
    """Return every neuron's firing rate (0 … 1), and how many rows of 64 sums the batch looks up at least."""
    streams = engine.wiring.graph.streams
    channels = {
        one.neuron: streams[one.gives].channels for one in engine.wiring.graph.operations if isinstance(one, Neuron)
    }
    rates: dict[str, float] = {}

    def watch(neuron: str, spikes: np.ndarray) -> None:
        fired = int(np.bitwise_count(spikes).sum())
        rates[neuron] = fired / (spikes.shape[0] * spikes.shape[1] * channels[neuron])

    before = engine.rows
    engine(frames, watch)
    return rates, engine.rows - before


def growth(engine: Engine, frames: np.ndarray, repeats: int) -> dict[str, dict[str, float]]:
    """Return the engine's median ms by batch size, by time steps, and by firing rate (thresholds moved)."""
    sizes: Any = engine.config
    steps, layers = sizes.steps, engine.layers

    def median(given: np.ndarray) -> float:
        return 1000 * statistics.median(time_in_turns({"": lambda: engine(given)}, repeats, 1)[""])

    found = {"batch": {str(n): median(frames[:n]) for n in (1, 2, 4, 8, 16)}, "steps": {}, "firing_rate": {}}
    for count in (1, 2, 4, 8, 16, 32):
        # Only the time matters here: the head's scale stays that of the true T.
        engine.config = dataclasses.replace(sizes, steps=count)
        found["steps"][str(count)] = median(np.ascontiguousarray(frames[:1, np.arange(count) % steps]))
    engine.config = sizes
    for factor in (8.0, 2.0, 1.0, 0.5, 0.25):
        engine.layers = {name: _with_thresholds(layer, factor) for name, layer in layers.items()}
        rates = firing(engine, frames[:1])[0]
        found["firing_rate"][f"{statistics.mean(rates.values()):.3f}"] = median(frames[:1])
    engine.layers = layers
    return found


def _with_thresholds(layer: LayerWeights, factor: float) -> LayerWeights:
    limit = np.iinfo(layer.neuron_type).max // 2
    shift, offset, threshold = layer.numbers
    moved = np.clip(threshold * factor, 1, limit).astype(layer.neuron_type)
    return dataclasses.replace(layer, numbers=(shift, offset, moved))


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
