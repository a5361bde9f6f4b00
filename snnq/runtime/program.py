"""Prepared calls as one program, which several threads run together without the interpreter.

A program is a row of operations, each of some pieces. Every thread takes the next piece of the operation at hand, until
there are none; who ends the last one moves on to the next operation. So a thread that is late, or never comes, holds
nobody up, and those that wait stay awake: layers follow each other in less than a microsecond.
"""

# Compiled functions have no types that a checker could use.
# pyright: reportCallIssue=false
from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from itertools import accumulate

import numpy as np

from snnq.base.errors import SnnqError
from snnq.runtime import native
from snnq.runtime.compiling import compiled

# A loop and its arguments; calls that one thread makes in turn; and an operation: its pieces, as each worker makes
# them in memory of its own, or one list for all.
Call = tuple[Callable[..., object], tuple[object, ...]]
Piece = Sequence[Call]
Operation = Sequence[Sequence[Piece]]

AT, FAILED, STOPPED, COUNTERS = 0, 1, 2, 3  # places in a program's state
# Looks at the state, some ten microseconds, after which a thread that waits lets others have its processor.
PATIENCE = 20_000


def _let_others() -> None:
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        time.sleep(0)


@compiled
def follow(state, pieces, firsts, calls, worker, until, patience):  # pragma: no cover (compiled)
    """Take part in a program up to the operation ``until``; return the one at hand, earlier if it waited too long.

    ``state`` int64: the operation at hand, whether a call failed, whether all go home before the end, and how many
    pieces of each operation were taken, and are done. ``pieces`` int64 (operations + 1,) is where each one's begin; one
    without any is the main thread's, worker 0, which comes back with it. ``firsts`` int64 (workers, pieces + 1) is
    where the ``calls`` of a piece begin: int64 (calls, 2), addresses of code and of arguments.
    """
    operations, waited = len(pieces) - 1, 0
    while True:
        at = native.read(state, AT)
        if at >= until or native.read(state, STOPPED) != 0:
            return at
        first, count = pieces[at], pieces[at + 1] - pieces[at]
        if count == 0 and worker == 0:
            return at
        if native.read(state, COUNTERS + at) < count:
            piece = native.add_one(state, COUNTERS + at)
            if piece < count:
                for i in range(firsts[worker, first + piece], firsts[worker, first + piece + 1]):
                    if native.call(calls[i, 0], calls[i, 1]) != 0:
                        native.write(state, FAILED, 1)
                if native.add_one(state, COUNTERS + operations + at) == count - 1:
                    native.write(state, AT, at + 1)
                waited = 0
                continue
        waited += 1
        if waited > patience:
            return at


@compiled
def move_to(state, operation):  # pragma: no cover
    """Go on with an operation."""
    native.write(state, AT, operation)


@compiled
def stop(state):  # pragma: no cover
    """Send all threads home."""
    native.write(state, STOPPED, 1)


class Program:
    """Operations that are run again and again, always on the same memory, by up to ``workers`` threads."""

    def __init__(self, operations: Sequence[Operation], workers: int) -> None:
        self.workers, self.operations = workers, operations
        self.compiled = [all(map(_is_native, _calls(one))) and any(_calls(one)) for one in operations]
        counts = [len(one[0]) if ready else 0 for one, ready in zip(operations, self.compiled, strict=True)]
        self._pieces = np.array([0, *accumulate(counts)], np.int64)
        self._state = np.zeros(COUNTERS + 2 * len(operations), np.int64)
        self._state[AT] = len(operations)
        self._slots: list[np.ndarray] = []
        calls, self._firsts = list[tuple[int, int]](), np.zeros((workers, int(self._pieces[-1]) + 1), np.int64)
        for worker in range(workers):
            self._add(worker, calls)
        self._calls = np.array(calls, np.int64).reshape(-1, 2)

    def _add(self, worker: int, calls: list[tuple[int, int]]) -> None:
        """Add the calls of a worker."""
        place = 0
        for operation, ready in zip(self.operations, self.compiled, strict=True):
            for piece in operation[worker % len(operation)] if ready else ():
                self._firsts[worker, place] = len(calls)
                for loop, arguments in piece:
                    code, slots = native.prepare(loop, arguments)
                    self._slots.append(slots)
                    calls.append((code, slots.ctypes.data))
                place += 1
        self._firsts[worker, place] = len(calls)

    @property
    def end(self) -> int:
        """How many operations there are."""
        return len(self.operations)

    def begin(self) -> None:
        """Go back to the first operation; nobody may be at work."""
        self._state[FAILED:] = 0
        move_to(self._state, 0)

    def stop(self) -> None:
        """Send all threads home: those that have begun a piece end it."""
        stop(self._state)

    def help(self, worker: int) -> None:
        """Take part until the end, as a worker from 1 on."""
        while self._follow(worker, self.end) < self.end and not self._state[STOPPED]:
            _let_others()

    def run(self, until: int, share: Callable[[Sequence[Piece]], None]) -> None:
        """Take part as the main thread up to an operation; ``share`` makes what is not compiled."""
        while (at := self._follow(0, until)) < until:
            if self.compiled[at]:
                _let_others()
                continue
            share(self.operations[at][0])
            move_to(self._state, at + 1)
        if self._state[FAILED]:
            raise SnnqError("a loop of the integer engine failed")

    def _follow(self, worker: int, until: int) -> int:
        return follow(self._state, self._pieces, self._firsts, self._calls, worker, until, PATIENCE)


def _calls(operation: Operation) -> list[Call]:
    return [call for pieces in operation for piece in pieces for call in piece]


def _is_native(call: Call) -> bool:
    return native.fits(*call)
