"""A run that goes on: one time step's frame at a time, the logits of all steps so far after each.

Everything that a network of LIF neurons keeps from step to step is their voltages and what its head has been given. So
after t steps the logits are those of the same folder with T = t, and after T steps those of the whole run, bit for bit.
Attention that mixes several steps at once (STAtten) needs them together: it takes so many at a time.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from snnq.arithmetic.whole_network import Heads
from snnq.base.errors import UsageError
from snnq.network.layers import check_frames_shape
from snnq.network.wiring import Wiring


class NeuronMemory(dict[str, np.ndarray]):
    """What neurons were left with, by their module path: whole numbers, all pixels of a sample side by side.

    ``taken``: how many steps they have taken.
    """

    taken = 0


class Runner(Protocol):
    """What runs steps: the engine, or its numpy reference."""

    @property
    def heads(self) -> Heads:
        """Its head, after any number of steps."""
        ...

    def advance(self, frames: np.ndarray, memory: NeuronMemory | None) -> np.ndarray:
        """Run steps (B, n, C, H, W) from ``memory``, and return the sums (B, n) that the head is given."""
        ...


class Running:
    """Samples that are run step by step, all at once; ``taken`` steps of them so far.

    ``chunk``: how many steps there are at a time, 1 but for attention that mixes more.
    """

    def __init__(self, runner: Runner, wiring: Wiring) -> None:
        """Begin; raises UsageError for a network of segments, whose neurons begin anew in the middle of a clip."""
        graph = wiring.graph
        if graph.segment is not None:
            raise UsageError(
                f"a clip is {graph.steps // graph.segment} segments of {graph.segment} frames, each run at once: "
                "it has no single steps",
                "run whole clips: engine(frames)",
            )
        self._runner, self._due = runner, (graph.steps, graph.frames.channels, *graph.frames.size)
        self._mixing = next((one.mixes.module for one in wiring.mixings if one.mixes.chunk > 1), None)
        self.chunk = math.lcm(*(one.mixes.chunk for one in wiring.mixings))
        self.taken = 0
        self._memory = NeuronMemory()
        self._sums: np.ndarray | None = None

    def step(self, frame: np.ndarray) -> np.ndarray:
        """Take a step's event counts (B, C, H, W); return the logits float32 (B, classes) of all steps so far.

        Raises UsageError for a frame of another shape or number of samples, one that is no counts, one more than the
        network takes, and for a network that mixes several steps at once. What was taken before stays as it was.
        """
        if frame.ndim != 4:
            raise UsageError(
                f"a frame of shape {frame.shape}: a stream takes (B, {', '.join(map(str, self._due[1:]))})"
            )
        return self.steps(frame[:, None])

    def steps(self, frames: np.ndarray) -> np.ndarray:
        """Take the counts (B, n, C, H, W) of n steps, a multiple of ``chunk``; return and raise as ``step`` does."""
        self._check(frames.shape)
        sums = self._runner.advance(frames, self._memory)
        self._sums = sums if self._sums is None else self._sums + sums
        self.taken = self._memory.taken = self.taken + frames.shape[1]
        return self._runner.heads.after(self.taken).logits(self._sums)

    def keep(self, samples: np.ndarray) -> None:
        """Go on with some of the samples alone: their places, or a bool for each."""
        if self._sums is None:
            raise UsageError("no step has been taken yet: there are no samples to keep")
        count = max(len(self._sums), 1)
        for neuron, voltages in self._memory.items():
            each = voltages.reshape(-1, len(voltages) // count, *voltages.shape[1:])
            self._memory[neuron] = np.array(each[samples]).reshape(-1, *voltages.shape[1:])
        self._sums = self._sums[samples]

    def _check(self, shape: tuple[int, ...]) -> None:
        """Raise UsageError for frames that do not come next."""
        steps = shape[1] if len(shape) == 5 else 0
        if steps < 1 or steps % self.chunk:
            what = f"attention {self._mixing} mixes {self.chunk} time steps at once" if self._mixing else "no time step"
            raise UsageError(
                f"frames of {steps} time steps: {what}", f"give it {self.chunk} at a time: steps(frames[:, a:b])"
            )
        check_frames_shape(shape, (steps, *self._due[1:]))
        if self.taken + steps > self._due[0]:
            raise UsageError(
                f"step {self.taken + steps}: the network takes {self._due[0]} time steps", "begin a new one: .stream()"
            )
        if self._sums is not None and shape[0] != len(self._sums):
            raise UsageError(f"frames of {shape[0]} samples: this stream has {len(self._sums)}")


def segments_of(frames: np.ndarray, segment: int | None) -> np.ndarray:
    """Return the segments of clips (B, T, C, H, W) as samples (B · T/segment, segment, C, H, W); None: the clips."""
    return frames if segment is None else frames.reshape(-1, segment, *frames.shape[2:])


def of_clips(sums: np.ndarray, clips: int) -> np.ndarray:
    """Return the sums (B, n) of clips of those of all their segments (B · segments, n)."""
    return sums if len(sums) == clips else sums.reshape(clips, -1, sums.shape[1]).sum(1)
