"""How the engine's time grows with the batch, the number of time steps and the firing rate."""

from __future__ import annotations

import dataclasses
import statistics
from typing import Any

import numpy as np

from snnq.bench.timing import time_in_turns
from snnq.runtime import Engine
from snnq.runtime.weights import LayerWeights


def firing(engine: Engine, frames: np.ndarray) -> tuple[dict[str, float], int]:
    """Return every neuron's firing rate (0 … 1), and how many rows of 64 sums the batch looks up at least."""
    sizes: Any = engine.config  # those of a Spikformer
    channels = {layer.neuron: layer.outputs for layer in engine.layers.values()}
    channels |= {mixing.neuron: sizes.dim for mixing in engine.mixings.values()}
    rates: dict[str, float] = {}

    def watch(neuron: str, spikes: np.ndarray) -> None:
        fired = int(np.bitwise_count(spikes).sum())
        rates[neuron] = fired / (spikes.shape[0] * spikes.shape[1] * channels[neuron])

    engine.rows = 0
    engine(frames, watch)
    return rates, engine.rows


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
    threshold = np.clip(layer.threshold * factor, 1, limit).astype(layer.neuron_type)
    return dataclasses.replace(layer, threshold=threshold)
