"""Threads that run pieces of a layer, each with scratch memory of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from snnq.base.errors import UsageError
from snnq.base.machine import available_processors
from snnq.runtime.program import Operation, Piece, Program


class Workers:
    """At most ``threads`` workers, all processors if None; ``threads`` of them work, which may be set to fewer.

    Compiled loops release the interpreter, so that they really run side by side. What runs is written to a ``tape``,
    where there is one: operations, and the names of parts that end between them.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = available_processors() if threads is None else threads
        if self.threads < 1:
            raise UsageError(f"threads: found {threads}, at least 1 is needed")
        # It starts a thread only when one is needed.
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None
        self._local = threading.local()
        self._own: list[dict[str, np.ndarray]] = [{} for _ in range(self.threads)]  # memory of programs' workers
        self._acting: int | None = None  # as which of them calls are prepared
        self._helping: list[Future[None]] = []
        self.tape: list[Operation | str] | None = None

    def run(self, work: Callable[..., object], pieces: Sequence[tuple[object, ...]]) -> None:
        """Call ``work(*piece)`` for every piece; return when all are done. This thread works, too."""
        if self.tape is not None:
            self.tape.append([[[(work, piece)] for piece in pieces]])
        self._share(work, pieces)

    def run_prepared(self, prepare: Callable[..., Piece], pieces: Sequence[tuple[object, ...]]) -> None:
        """Make the calls that ``prepare(*piece)`` returns, in scratch memory of the thread that makes them."""
        if self.tape is None:
            self._share(_make, [(prepare, *piece) for piece in pieces])
            return
        ready = [self._prepared(worker, prepare, pieces) for worker in range(self.threads)]
        self.tape.append(ready)
        for piece in ready[0]:
            make(piece)

    def _prepared(
        self, worker: int, prepare: Callable[..., Piece], pieces: Sequence[tuple[object, ...]]
    ) -> list[Piece]:
        """Return the calls of all pieces as a program's worker makes them, in its memory."""
        self._acting = worker
        try:
            return [prepare(*piece) for piece in pieces]
        finally:
            self._acting = None

    def _share(self, work: Callable[..., object], pieces: Sequence[tuple[object, ...]]) -> None:
        if self._pool is None or self.threads == 1 or len(pieces) == 1:
            for piece in pieces:
                work(*piece)
            return
        left = iter(pieces)  # next() of a list's iterator is atomic

        def take() -> None:
            for piece in left:
                work(*piece)

        others = [self._pool.submit(take) for _ in range(min(self.threads, len(pieces)) - 1)]
        take()
        for other in others:
            other.result()

    def start(self, program: Program) -> None:
        """Begin a program, with all workers but this thread."""
        self._wait()
        program.begin()
        if self._pool is not None:
            self._helping = [self._pool.submit(program.help, worker) for worker in range(1, program.workers)]

    def go_on(self, program: Program, until: int) -> None:
        """Take part in a program up to an operation."""
        program.run(until, self._make_all)

    def give_up(self, program: Program) -> None:
        """End a program of which nobody will see the end."""
        program.stop()
        self._wait()

    def _make_all(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            make(piece)

    def _wait(self) -> None:
        """Wait for threads that came late to the last program: it is over, they find nothing to do."""
        for helping in self._helping:
            if not helping.cancel():
                helping.result()
        self._helping = []

    def scratch(self, name: str, size: int, kind: type) -> np.ndarray:
        """Return ``size`` elements of this thread's own memory; what is in it is of no meaning."""
        kept = self._local.__dict__ if self._acting is None else self._own[self._acting]
        need = size * np.dtype(kind).itemsize
        if name not in kept or len(kept[name]) < need:
            kept[name] = aligned(need)
        return kept[name][:need].view(kind)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def make(piece: Piece) -> None:
    """Make calls one after the other."""
    for loop, arguments in piece:
        loop(*arguments)


def _make(prepare: Callable[..., Piece], *piece: object) -> None:
    """Prepare a piece, in the memory of the thread that runs it, and run it."""
    make(prepare(*piece))


def aligned(size: int) -> np.ndarray:
    """Return ``size`` bytes that begin at a multiple of 64."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def ranges(total: int, parts: int) -> list[tuple[int, int]]:
    """Return 0 … total in at most ``parts`` pieces of about one size."""
    parts = max(1, min(parts, total))
    edges = [total * i // parts for i in range(parts + 1)]
    return list(pairwise(edges))
