"""Threads that run pieces of a layer, each with scratch memory of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from snnq.base.errors import UsageError
from snnq.base.machine import available_processors
from snnq.runtime.tape import Call


class Workers:
    """At most ``threads`` workers, all processors if None; ``threads`` of them work, which may be set to fewer.

    Compiled loops release the interpreter, so that they really run side by side. What runs is written to a ``tape``,
    where there is one.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = available_processors() if threads is None else threads
        if self.threads < 1:
            raise UsageError(f"threads: found {threads}, at least 1 is needed")
        # It starts a thread only when one is needed.
        self._pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None
        self._scratch = threading.local()
        self.tape: list[Call] | None = None

    def run(self, work: Callable[..., object], pieces: Sequence[tuple[object, ...]]) -> None:
        """Call ``work(*piece)`` for every piece; return when all are done. This thread works, too."""
        if self.tape is not None:
            self.tape.append((work, pieces))
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

    def scratch(self, name: str, size: int, kind: type) -> np.ndarray:
        """Return ``size`` elements of this thread's own memory; what is in it is of no meaning."""
        kept: dict[str, np.ndarray] = self._scratch.__dict__
        need = size * np.dtype(kind).itemsize
        if name not in kept or len(kept[name]) < need:
            kept[name] = aligned(need)
        return kept[name][:need].view(kind)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


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
