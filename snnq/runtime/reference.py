"""The engine's arithmetic once more, in plain numpy: slow and obvious, what every kernel is tested against.

It walks the wiring step by step. Streams are whole numbers, int64 (S, T, C, H, W), samples first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from snnq.network.activations import Hold, KeyFrames, Quantise, Rectify
from snnq.network.combining import (
    Add,
    Concat,
    First,
    Flatten,
    MeanPool,
    Multiply,
    Pad,
    Pool,
    Residual,
    Sum,
    Switch,
)
from snnq.network.leaks import left
from snnq.network.operations import Head, Mean, Neuron
from snnq.network.stages import Fire, Mix, Potential, Stage
from snnq.network.streams import FRAMES
from snnq.packed.arrays import PackedArrays, open_arrays
from snnq.runtime.running import NeuronMemory, Running, of_clips, segments_of

# Called with a neuron's module path and its spikes (samples, pixels, steps, channels), bool or numbers of them.
Watch = Callable[[str, np.ndarray], None]


def convolve(x: np.ndarray, weight: np.ndarray, strides: tuple[int, int] = (1, 1), *, pad: bool = True) -> np.ndarray:
    """Return the sums (S, T, out, h, w) of whole numbers x (S, T, in, H, W) and weight (out, in, k, l).

    A weight (out, 1, k, l) for several inputs is depth-wise. ``pad``: with zeros, so that no pixel is lost.
    """
    sides, (down, across) = weight.shape[2:], strides
    height, width = (full - (0 if pad else side - 1) for full, side in zip(x.shape[-2:], sides, strict=True))
    padded = np.pad(x, [(0, 0)] * 3 + [(side // 2, side // 2) if pad else (0, 0) for side in sides])
    sums: Any = 0
    for i in range(sides[0]):
        for j in range(sides[1]):
            seen, taps = padded[..., i : i + height : down, j : j + width : across], weight[:, :, i, j]
            if taps.shape[1] == 1 < x.shape[2]:
                sums = sums + seen * taps[:, 0, None, None]
            else:
                sums = sums + np.einsum("stchw,oc->stohw", seen, taps)
    return sums


def lif(currents: np.ndarray, threshold: np.ndarray, leak: int = 2, v: np.ndarray | None = None) -> np.ndarray:
    """Return the spikes of whole currents (S, T, C, H, W): u = v + x, spike = [u ≥ Θ], v ← 0 or what is left of u.

    ``v`` (S, C, H, W) are the voltages before and, in place, after; at rest without any.
    """
    spikes, v = np.zeros(currents.shape, np.int64), np.zeros_like(currents[:, 0]) if v is None else v
    for step in range(currents.shape[1]):
        u = v + currents[:, step]
        spikes[:, step] = u >= threshold[:, None, None]
        v[...] = np.where(spikes[:, step] == 1, 0, left(u, leak))
    return spikes


def counts(currents: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return how many thresholds (D, C), or (D, 1), whole currents (S, T, C, H, W) reach."""
    return np.asarray(sum((currents >= top[:, None, None]).astype(np.int64) for top in thresholds))


def max_pool(x: np.ndarray, stride: int = 2, side: int = 3, edge: int = 1) -> np.ndarray:
    """Return the maximum over windows of ``side`` × ``side``, padded by ``edge``, of whole numbers (…, H, W)."""
    least = np.iinfo(np.int64).min
    padded = np.pad(x.astype(np.int64), [(0, 0)] * (x.ndim - 2) + [(edge, edge)] * 2, constant_values=least)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), (-2, -1))
    return windows[..., ::stride, ::stride, :, :].max((-2, -1))


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int, chunk: int = 1) -> np.ndarray:
    """Return (Q Kᵀ) V of spikes (S, T, C, H, W), heads taking the channels in turn, of the shape of v.

    ``chunk`` steps are one long row of tokens.
    """
    samples, steps, _, height, width = q.shape
    parts = (
        one.reshape(samples, steps // chunk, chunk, heads, one.shape[2] // heads, height * width) for one in (q, k, v)
    )
    mixed = np.einsum("stahdn,stbhdm,stbhem->stahen", *parts, optimize=True)
    return mixed.reshape(v.shape)


class Reference:
    """A packed folder that runs in plain numpy: ``reference(frames)`` → logits float32 (B, classes)."""

    def __init__(self, path: str | Path) -> None:
        """Read a packed folder; raises as ``open_arrays`` does."""
        self.arrays: PackedArrays = open_arrays(path)
        self.wiring, self.heads = self.arrays.wiring, self.arrays.heads()
        self._watch: Watch | None = None
        self._memory: NeuronMemory | None = None

    def __call__(self, frames: np.ndarray, watch: Watch | None = None) -> np.ndarray:
        """Return the logits of event counts, or of images, (B, T, C, H, W)."""
        return self.heads.after(self.wiring.graph.steps).logits(self.advance(frames, None, watch))

    def stream(self) -> Running:
        """Return a run that goes on: its ``step`` takes a step's frame, and gives the logits of all steps so far."""
        return Running(self, self.wiring)

    def advance(self, frames: np.ndarray, memory: NeuronMemory | None, watch: Watch | None = None) -> np.ndarray:
        """Run steps (B, any number, C, H, W) and return what the head is given of them: sums, int64 (B, n).

        ``memory``: the voltages that neurons start from, and are left with; None: they start at rest.
        """
        self._watch, self._memory, wiring = watch, memory, self.wiring
        segments = segments_of(self.arrays.frames(frames), wiring.graph.segment)
        streams = {FRAMES: segments.astype(np.int64)}
        for one in wiring.flow:
            given = [streams[name] for name in one.takes]
            if isinstance(one, Fire):
                streams |= {stage.gives: self._fire(stage, given[0]) for stage in one.stages}
            elif isinstance(one, Head):
                return of_clips(given[0].sum((1, 3, 4)), len(frames))
            else:
                streams[one.gives] = _RUN[type(one)](self, one, *given)
        raise AssertionError("a graph ends with a head")

    def _fire(self, stage: Stage, x: np.ndarray) -> np.ndarray:
        network = self.arrays.network
        whole, neurons = network.stage(stage)
        sums = self._sums(stage, x, whole.values * neurons.sign[:, None])
        sums = max_pool(sums) if stage.pooled else sums
        if stage.fires.rounds:
            return self._shown(stage.neuron, counts(sums, neurons.threshold))
        currents = (sums << neurons.shift[:, None, None]) + neurons.offset[:, None, None]
        return self._fired(stage.neuron, currents, neurons.threshold, network.leak(stage.fires))

    def _sums(self, one: Stage | Potential, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        shape = self.arrays.config.layers[one.layer].shape
        inputs = shape[1] * one.made.groups
        weight = values.reshape(shape[0], inputs, *(shape[2:4] if len(shape) == 4 else (1, 1)))
        return convolve(x, weight, one.made.strides, pad=one.made.padded)

    def _potential(self, one: Potential, x: np.ndarray) -> np.ndarray:
        whole, kept = self.arrays.network.potential(one)
        multiplier, half, shift, offset = (
            part[:, None, None] for part in (kept.multiplier, kept.half, kept.shift, kept.offset)
        )
        sums = self._sums(one, x, whole.values * kept.sign[:, None])
        return ((sums * multiplier + half) >> shift) + offset

    def _neuron(self, one: Neuron, x: np.ndarray) -> np.ndarray:
        found = self.arrays.network.compared(one)
        if found.thresholds:
            return self._shown(one.neuron, counts(x, np.array(found.thresholds)[:, None]))
        return self._fired(one.neuron, x << found.shift, np.array([found.threshold]), found.leak)

    def _mix(self, one: Mix, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self._neuron(one.fires, attend(q, k, v, one.mixes.heads, one.mixes.chunk))

    def _pad(self, one: Pad, x: np.ndarray) -> np.ndarray:
        return np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))

    def _pool(self, one: Pool, x: np.ndarray) -> np.ndarray:
        if one.heads is None:
            return max_pool(x, one.stride, one.kernel, one.padding)
        samples, steps, channels, height, width = x.shape
        by_head = x.reshape(samples, steps, one.heads, channels // one.heads, height * width)
        return max_pool(by_head, one.stride).reshape(x.shape)

    def _mean_pool(self, one: MeanPool, x: np.ndarray) -> np.ndarray:
        edges = [(0, x.shape[-2] % 2), (0, x.shape[-1] % 2)]  # a last row, or column, alone counts twice
        full = np.pad(x, [(0, 0)] * 3 + edges, mode="edge")
        return full[..., ::2, ::2] + full[..., ::2, 1::2] + full[..., 1::2, ::2] + full[..., 1::2, 1::2]

    def _residual(self, one: Residual, x: np.ndarray) -> np.ndarray:
        return x[:, 1:] - x[:, :1]

    def _key_frames(self, one: KeyFrames, x: np.ndarray) -> np.ndarray:
        return x[:, :1]

    def _hold(self, one: Hold, x: np.ndarray) -> np.ndarray:
        return x.repeat(one.steps, axis=1)

    def _rectify(self, one: Rectify, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def _quantise(self, one: Quantise, x: np.ndarray) -> np.ndarray:
        how = self.arrays.network.codes(one)
        return np.clip((x * how.multiplier + how.half) >> how.shift, how.least, how.most)

    def _flatten(self, one: Flatten, x: np.ndarray) -> np.ndarray:
        return x.reshape(*x.shape[:2], -1, 1, 1)

    def _add(self, one: Add, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        first, second = self.arrays.network.factors(one) if one in self.wiring.raising else (1, 1)
        return first * x + second * y

    def _concat(self, one: Concat, *streams: np.ndarray) -> np.ndarray:
        factors = self.arrays.network.factors(one)
        return np.concatenate([factor * x for factor, x in zip(factors, streams, strict=True)], 2)

    def _first(self, one: First, x: np.ndarray) -> np.ndarray:
        return x[:, : max(0, one.steps - (self._memory.taken if self._memory is not None else 0))]

    def _switch(self, one: Switch, x: np.ndarray, later: np.ndarray) -> np.ndarray:
        down, across = one.strides
        return np.concatenate((x, later[:, x.shape[1] :, :, ::down, ::across]), 1)

    def _multiply(self, one: Multiply, gate: np.ndarray, x: np.ndarray) -> np.ndarray:
        return gate.repeat(x.shape[2] // gate.shape[2], axis=2) * x

    def _sum(self, one: Sum, x: np.ndarray) -> np.ndarray:
        if one.over == "tokens":
            return x.sum((3, 4), keepdims=True)
        samples, steps, channels, height, width = x.shape
        return x.reshape(samples, steps, one.heads, channels // one.heads, height, width).sum(3)

    def _mean(self, one: Mean, x: np.ndarray) -> np.ndarray:
        return x.sum((3, 4), keepdims=True)

    def _fired(self, neuron: str, currents: np.ndarray, threshold: np.ndarray, leak: int) -> np.ndarray:
        """Return the spikes of neurons of one threshold a channel, which go on from where they were left."""
        v = None if self._memory is None else self._memory.setdefault(neuron, np.zeros_like(currents[:, 0]))
        return self._shown(neuron, lif(currents, threshold, leak, v))

    def _shown(self, neuron: str, spikes: np.ndarray) -> np.ndarray:
        """Return the spikes of neurons, shown to whom it may concern."""
        if self._watch is not None:
            samples, steps, channels = spikes.shape[:3]
            seen = spikes.reshape(samples, steps, channels, -1).transpose(0, 3, 1, 2)
            self._watch(neuron, seen.astype(bool) if seen.max(initial=0) <= 1 else seen)
        return spikes


_RUN: dict[type, Callable[..., np.ndarray]] = {
    Potential: Reference._potential,
    Neuron: Reference._neuron,
    Mix: Reference._mix,
    Pad: Reference._pad,
    Pool: Reference._pool,
    MeanPool: Reference._mean_pool,
    KeyFrames: Reference._key_frames,
    Residual: Reference._residual,
    Hold: Reference._hold,
    Rectify: Reference._rectify,
    Quantise: Reference._quantise,
    Flatten: Reference._flatten,
    Add: Reference._add,
    Concat: Reference._concat,
    First: Reference._first,
    Switch: Reference._switch,
    Multiply: Reference._multiply,
    Sum: Reference._sum,
    Mean: Reference._mean,
}
