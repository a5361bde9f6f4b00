"""The engine's arithmetic once more, in plain numpy: slow and obvious, what every kernel is tested against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from snnq.arithmetic import integers
from snnq.network.wiring import COUNT_LIMIT, FRAMES, Fire, Mix, Mixing, Pool, Stage
from snnq.packed.arrays import PackedArrays, open_arrays

# Called with a neuron's module path and its spikes, bool (samples, pixels, steps, channels).
Watch = Callable[[str, np.ndarray], None]


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the sums (S, T, out, H, W) of whole numbers x (S, T, in, H, W) and weight (out, in, k, k), zero-padded."""
    reach = weight.shape[-1] // 2
    height, width = x.shape[-2:]
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (reach, reach), (reach, reach)))
    sums = np.zeros((*x.shape[:2], len(weight), height, width), np.int64)
    for i in range(weight.shape[-1]):
        for j in range(weight.shape[-1]):
            sums += np.einsum("stchw,oc->stohw", padded[..., i : i + height, j : j + width], weight[:, :, i, j])
    return sums


def lif(currents: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return the spikes of whole currents (S, T, C, H, W): u = v + x, spike = [u ≥ Θ], v ← 0 or u >> 1."""
    spikes, v = np.zeros(currents.shape, np.int64), np.zeros_like(currents[:, 0])
    for step in range(currents.shape[1]):
        u = v + currents[:, step]
        spikes[:, step] = u >= threshold[:, None, None]
        v = np.where(spikes[:, step] == 1, 0, u >> 1)
    return spikes


def max_pool(spikes: np.ndarray) -> np.ndarray:
    """Return the maximum over 3×3 windows, stride 2, padding 1, of spikes (…, H, W)."""
    height, width = spikes.shape[-2:]
    padded = np.pad(spikes, [(0, 0)] * (spikes.ndim - 2) + [(1, 2), (1, 2)])
    windows = [padded[..., i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)]
    return np.maximum.reduce(windows)


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> np.ndarray:
    """Return (Q Kᵀ) V of spikes (S, T, C, H, W), heads taking the channels in turn, same shape."""
    samples, steps, channels, height, width = q.shape
    parts = (one.reshape(samples, steps, heads, channels // heads, height * width) for one in (q, k, v))
    mixed = np.einsum("sthdn,sthdm,sthem->sthen", *parts, optimize=True)
    return mixed.reshape(q.shape)


class Reference:
    """A packed folder that runs in plain numpy: ``reference(frames)`` → logits float32 (B, classes)."""

    def __init__(self, path: str | Path) -> None:
        """Read a packed folder; raises as ``open_arrays`` does."""
        self.arrays: PackedArrays = open_arrays(path)
        self._watch: Watch | None = None

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        """Return the logits of event counts (B, T, C, H, W)."""
        self._watch = watch
        x = np.minimum(frames, COUNT_LIMIT).astype(np.int64)
        streams = {FRAMES: x}
        for one in self.arrays.wiring.flow:
            if isinstance(one, Fire):
                spikes = [self._fire(stage, streams[one.takes]) for stage in one.stages]
                streams |= zip(one.gives, spikes, strict=True)
            elif isinstance(one, Pool):
                streams[one.stream] = max_pool(streams[one.stream])
            elif isinstance(one, Mix):
                streams[one.gives] = self._mix(one.mixing, [streams[name] for name in one.takes])
            else:
                streams[one.stream] = streams[one.stream] + streams[one.spikes]
        x = streams[self.arrays.wiring.stream]
        head = self.arrays.head()
        return ((x.sum((1, 3, 4)) @ head.weight.T + head.bias) * head.scale).astype(np.float32)

    def _mix(self, mixing: Mixing, spikes: list[np.ndarray]) -> np.ndarray:
        shift, threshold = integers.mixing_threshold(mixing.scale, mixing.threshold)
        q, k, v = spikes
        mixed = lif(attend(q, k, v, mixing.heads) << shift, np.array([threshold]))
        self._show(mixing.neuron, mixed)
        return mixed

    def _fire(self, stage: Stage, x: np.ndarray) -> np.ndarray:
        whole = self.arrays.whole(stage)
        neurons = self.arrays.neurons(stage, whole)
        shape = self.arrays.config.layers[stage.layer].shape
        weight = (whole.values * neurons.sign[:, None]).reshape(
            *shape[:2], *(shape[2:4] if len(shape) == 4 else (1, 1))
        )
        currents = (convolve(x, weight) << neurons.shift[:, None, None]) + neurons.offset[:, None, None]
        spikes = lif(currents, neurons.threshold)
        self._show(stage.neuron, spikes)
        return spikes

    def _show(self, neuron: str, spikes: np.ndarray) -> None:
        if self._watch is not None:
            samples, steps, channels = spikes.shape[:3]
            seen = spikes.reshape(samples, steps, channels, -1).transpose(0, 3, 1, 2)
            self._watch(neuron, seen.astype(bool))
