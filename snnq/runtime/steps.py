"""The engine's steps without weights: pooling, attention, neurons of one unit, sums and gates; and its bookkeeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from snnq.runtime.running import NeuronMemory
from snnq.runtime.vectors import LANES
from snnq.runtime.workers import Workers, ranges

# Fewer words of work than these are done before another thread has woken up.
ALONE = 20_000
# Called with a neuron's module path and its spikes, uint64 (pixels, steps, words), of several a step (planes, …).
Watch = Callable[[str, np.ndarray], None]


@dataclass
class Steps:
    """What runs steps: workers, the time that every part took, summed, and a ``watch`` that is shown spikes.

    ``planes``: how many bits a sum of spikes may grow to. ``memory``: the voltages that neurons are left with from call
    to call, by neuron, int (pixels, words, 64); None: they start at rest.
    """

    workers: Workers
    planes: int
    seconds: dict[str, float] = field(default_factory=dict)
    watch: Watch | None = None
    memory: NeuronMemory | None = None

    def voltages(self, neuron: str, pixels: int, words: int, kind: type) -> np.ndarray | None:
        """Return the voltages that neurons were left with, int (pixels, words, 64), or None if they start at rest."""
        if self.memory is not None and neuron not in self.memory:
            self.memory[neuron] = np.zeros((pixels, words, LANES), kind)
        return None if self.memory is None else self.memory[neuron]

    def state(self, voltages: np.ndarray | None, kind: type) -> tuple[np.ndarray, bool]:
        """Return what loops take as ``state`` and ``kept``: voltages, or scratch of this thread's own."""
        if voltages is not None:
            return voltages, True
        return self.workers.scratch("voltages", LANES, kind).reshape(1, 1, LANES), False

    def parts(self, total: int, words: int) -> list[tuple[int, int]]:
        """Return 0 … total in parts for the workers, or whole where each of them is only ``words`` words of work."""
        alone = self.workers.threads == 1 or total * words < ALONE
        return ranges(total, 1 if alone else 2 * self.workers.threads)

    def took(self, part: str, begun: float) -> None:
        """Add the time since ``begun`` to a part."""
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - begun
        if self.workers.tape is not None:
            self.workers.tape.append(part)

    def show(self, neuron: str, spikes: np.ndarray) -> None:
        """Show spikes to whom it may concern."""
        if self.watch is not None:
            self.watch(neuron, spikes)
