"""The calls of a sample or a small batch, kept to be made again on others of its shape.

To prepare the calls of all loops takes Python several times as long as the loops of one small sample, or of one step,
themselves. Calls that are ready take none, they are one program (``program``). So what is prepared once is kept with
all its memory: the next batch is copied to where the first one lay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from weakref import ref

import numpy as np

from snnq.runtime.program import Operation, Program
from snnq.runtime.running import NeuronMemory
from snnq.runtime.workers import Workers


class Tape:
    """Calls that run what lies in ``frames``, and leave what a head is given in ``sums``.

    ``voltages``: the memory that they change, of one run that goes on after the other; no other tape has it.
    """

    def __init__(self, frames: np.ndarray) -> None:
        self.frames, self.program = frames.copy(), Program([], 1)
        self._parts: list[tuple[str, int]] = []
        self.sums = np.empty(0, np.int64)
        self.voltages: dict[str, np.ndarray] = {}
        self._owner: Callable[[], NeuronMemory | None] = lambda: None

    def own(self, memory: NeuronMemory) -> None:
        """Say whose voltages are in this tape's memory."""
        self.voltages, self._owner = dict(memory), ref(memory)

    def keep(self, calls: Sequence[Operation | str], threads: int) -> None:
        """Make a program of operations and the names of parts that end between them."""
        operations = [one for one in calls if not isinstance(one, str)]
        ends = [sum(not isinstance(one, str) for one in calls[:place]) for place in range(len(calls))]
        self._parts = [(one, end) for one, end in zip(calls, ends, strict=True) if isinstance(one, str)]
        self.program = Program(operations, threads)

    def play(
        self, frames: np.ndarray, memory: NeuronMemory | None, workers: Workers, seconds: dict[str, float]
    ) -> None:
        """Make all calls on other frames of the shape; ``seconds`` of every part are added up."""
        begun = time.perf_counter()
        np.copyto(self.frames, frames)
        if memory is not None:
            self._change(memory)
        try:
            workers.start(self.program)
            for part, end in self._parts:
                workers.go_on(self.program, end)
                now = time.perf_counter()
                seconds[part] = seconds.get(part, 0.0) + now - begun
                begun = now
            workers.go_on(self.program, self.program.end)
        except BaseException:
            workers.give_up(self.program)
            raise

    def _change(self, memory: NeuronMemory) -> None:
        """Put the voltages of a run into this tape's memory, and those of the run before it out of it."""
        before = self._owner()
        for neuron, here in self.voltages.items():
            given = memory.get(neuron)
            if given is here:
                continue
            if before is not None and before.get(neuron) is here:
                before[neuron] = here.copy()
            if given is None:
                here[...] = 0
            else:
                np.copyto(here, given)
            memory[neuron] = here
        self._owner = ref(memory)
