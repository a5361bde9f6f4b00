"""How the engine's time grows with batch, threads, steps, firing rate and size, and how near it is to the limit.

The limit is the speed at which the machine can add rows of 64 sums at all.
"""

# pyright: reportCallIssue=false
from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from snnq.arithmetic.integers import NEURON_LIMIT, WIDE_NEURON_LIMIT
from snnq.bench.timing import time_in_turns
from snnq.network.operations import Neuron
from snnq.network.stages import Potential
from snnq.runtime import Engine
from snnq.runtime.compiling import compiled
from snnq.runtime.vectors import LANES, sum_rows
from snnq.runtime.weights import LayerWeights


def firing(engine: Engine, frames: np.ndarray) -> tuple[dict[str, float], int]:
    """Return every neuron's firing rate (0 … 1), and how many rows of 64 sums the batch looks up."""
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


def growth(
    folder: Path, sizes: Mapping[str, Path], frames: np.ndarray, threads: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Return the engine's median ms by batch size, and of one sample by threads, time steps, firing rate and size.

    Firing rates are those of moved thresholds; ``sizes`` are folders of the model in other sizes.
    """

    def median(engine: Engine, given: np.ndarray) -> float:
        return 1000 * statistics.median(time_in_turns({"": lambda: engine(given)}, repeats, 1)[""])

    engine, one = Engine(folder, threads), frames[:1]
    found = {"batch": {str(n): median(engine, frames[:n]) for n in (1, 2, 4, 8, 16)}}
    found["threads"] = {str(n): median(Engine(folder, n), one) for n in sorted({1, 2, threads})}
    whole = math.lcm(*(mixing.mixes.chunk for mixing in engine.wiring.mixings))  # steps that attention mixes at once
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n % whole == 0]
    found["steps"] = {str(n): median(*_stepped(folder, threads, one, n)) for n in counts}
    found["firing_rate"] = {}
    for factor in (8.0, 2.0, 1.0, 0.5, 0.25):
        eager = with_thresholds(folder, threads, factor)
        rates = firing(eager, one)[0]
        found["firing_rate"][f"{statistics.mean(rates.values()):.3f}"] = median(eager, one)
    if sizes:
        found["size"] = {name: median(Engine(other, threads), one) for name, other in sizes.items()}
        found["size"]["as it is"] = median(engine, one)
    return found


def _stepped(folder: Path, threads: int, frames: np.ndarray, steps: int) -> tuple[Engine, np.ndarray]:
    """Return an engine of another T, and frames for it. Only the time matters: the head's scale stays the true T's."""
    engine = Engine(folder, threads)
    before = engine.config.steps
    engine.config = dataclasses.replace(engine.config, steps=steps)  # pyright: ignore[reportArgumentType]
    return engine, np.ascontiguousarray(frames[:, np.arange(steps) % before])


def with_thresholds(folder: Path, threads: int, factor: float) -> Engine:
    """Return an engine, not run before (it keeps prepared calls), whose thresholds are ``factor`` times as high."""
    engine = Engine(folder, threads)
    engine.layers = {name: _moved(layer, factor) for name, layer in engine.layers.items()}
    for name, one in engine.compared.items():
        most = WIDE_NEURON_LIMIT if one.wide else NEURON_LIMIT
        own = tuple(min(max(round(top * factor), 1), most) for top in one.thresholds)
        threshold = min(max(round(one.threshold * factor), 1), most)
        engine.compared[name] = dataclasses.replace(one, threshold=threshold, thresholds=own)
    return engine


def _moved(layer: LayerWeights, factor: float) -> LayerWeights:
    if isinstance(layer.step, Potential):
        return layer
    limit = np.iinfo(layer.neuron_type).max // 2

    def moved(thresholds: np.ndarray) -> np.ndarray:
        return np.clip(thresholds * factor, 1, limit).astype(layer.neuron_type)

    if layer.step.fires.rounds:
        return dataclasses.replace(layer, numbers=tuple(map(moved, layer.numbers)))
    return dataclasses.replace(layer, numbers=(*layer.numbers[:-1], moved(layer.numbers[-1])))


ROWS, TIMES, TRIES = 4096, 2000, 5


def row_limit(engine: Engine, rows: float, parts: dict[str, float], batch: int) -> dict[str, float]:
    """Return rows added a second in the layers that look up sums, the machine's limit, and their ratio.

    Nothing of the first and the last where all layers are run otherwise.
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
    names = [layer.name for layer in layers if not layer.windowed and not layer.sparse]
    seconds = sum(ms for part, ms in parts.items() if part.split(", ")[0] in names) / 1000
    if not seconds:
        return {"limit_rows_per_second": limit}
    reached = rows * batch / seconds
    return {"rows_per_second": reached, "limit_rows_per_second": limit, "share_of_limit": reached / limit}


def _add(table: np.ndarray, offsets: np.ndarray, sum_type: type) -> None:
    _add_rows(table, offsets, np.zeros(LANES, sum_type), TIMES)


@compiled
def _add_rows(table, offsets, sums, times):  # pragma: no cover (compiled)  # type: ignore[no-untyped-def]
    for _ in range(times):
        sum_rows(table, offsets, len(offsets), sums, 0)
