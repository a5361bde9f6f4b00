"""The calls of a small batch, kept to be made again on others of its shape.

To prepare the calls of all loops takes Python several times as long as the loops of one small sample, or of one step,
themselves. A call that is ready takes a microsecond. So what is prepared once is kept with all its memory: the next
batch is copied to where the first one lay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from weakref import ref

import numpy as np

from snnq.runtime.running import Memory

# A loop and the pieces it is called with, or the name of the part whose calls end here.
Call = tuple[Callable[..., object], Sequence[tuple[object, ...]]] | str


class Tape:
    """Calls that run what lies in ``frames``, and leave what a head is given in ``sums``.

    ``voltages``: the memory that they change, of one run that goes on after the other; no other tape has it.
    """

    def __init__(self, frames: np.ndarray) -> None:
        self.frames, self.calls = frames.copy(), list[Call]()
        self.sums = np.empty(0, np.int64)
        self.voltages: dict[str, np.ndarray] = {}
        self._owner: Callable[[], Memory | None] = lambda: None

    def own(self, memory: Memory) -> None:
        """Say whose voltages are in this tape's memory."""
        self.voltages, self._owner = dict(memory), ref(memory)

    def play(
        self,
        frames: np.ndarray,
        memory: Memory | None,
        run: Callable[[Callable[..., object], Sequence[tuple[object, ...]]], None],
        seconds: dict[str, float],
    ) -> None:
        """Make all calls on other frames of the shape; ``seconds`` of every part are added up."""
        begun = time.perf_counter()
        np.copyto(self.frames, frames)
        if memory is not None:
            self._change(memory)
        for call in self.calls:
            if isinstance(call, str):
                now = time.perf_counter()
                seconds[call] = seconds.get(call, 0.0) + now - begun
                begun = now
            else:
                run(*call)

    def _change(self, memory: Memory) -> None:
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
