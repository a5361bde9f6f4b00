"""The engine's arithmetic once more, in plain numpy: slow and obvious, what every kernel is tested against."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from snnq.arithmetic import integers
from snnq.models.config import SpikformerConfig
from snnq.network.wiring import COUNT_LIMIT, Stage
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
        self.config = SpikformerConfig.from_dict(self.arrays.config.config)
        self.stages = {stage.layer: stage for stage in self.arrays.wiring.stages}
        self._watch: Watch | None = None

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        """Return the logits of event counts (B, T, C, H, W)."""
        self._watch = watch
        x = np.minimum(frames, COUNT_LIMIT).astype(np.int64)
        for suffix, pooled in zip(("", "1", "2", "3"), self.config.pooling, strict=True):
            x = self._fire(f"patch_embed.proj_conv{suffix}", x)
            x = max_pool(x) if pooled else x
        x = x + self._fire("patch_embed.rpe_conv", x)
        for index, mixing in enumerate(self.arrays.wiring.mixings):
            q, k, v = (self._fire(f"{mixing.module}.{name}", x) for name in ("q", "k", "v"))
            shift, threshold = integers.mixing_threshold(mixing.scale, mixing.threshold)
            mixed = lif(attend(q, k, v, self.config.heads) << shift, np.array([threshold]))
            self._show(mixing.neuron, mixed)
            x = x + self._fire(f"{mixing.module}.proj", mixed)
            x = x + self._fire(f"block.{index}.mlp.fc2", self._fire(f"block.{index}.mlp.fc1", x))
        head = self.arrays.head()
        return ((x.sum((1, 3, 4)) @ head.weight.T + head.bias) * head.scale).astype(np.float32)

    def _fire(self, layer: str, x: np.ndarray) -> np.ndarray:
        stage: Stage = self.stages[layer]
        whole = self.arrays.whole(stage)
        neurons = self.arrays.neurons(stage, whole)
        shape = self.arrays.config.layers[layer].shape
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
