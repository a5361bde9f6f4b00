"""Work shared among processes that outlive nobody: each takes every n-th job and stops when its parent is gone."""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from snnq.base.errors import SnnqError

Job = TypeVar("Job")
Given = TypeVar("Given")
Result = TypeVar("Result")


def shared(
    work: Callable[[Job, Given], Result], jobs: Sequence[tuple[Job, Given]], workers: int
) -> Iterator[tuple[Job, Result]]:
    """Yield (job, work(job, given)) for every (job, given), in the order in which ``workers`` processes finish them.

    On Linux the processes are forked, so that they need not import anything again; elsewhere they are spawned, and
    ``work`` and the jobs must be picklable. Raises what ``work`` raises, or SnnqError where a process dies.
    """
    kind = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(kind)
    processes: list[BaseProcess] = []
    readers: list[Connection] = []
    try:
        for number in range(min(workers, len(jobs))):
            reader, writer = context.Pipe(duplex=False)
            arguments = (work, jobs[number::workers], writer, os.getpid())
            processes.append(context.Process(target=_do, args=arguments, daemon=True))
            with warnings.catch_warnings():
                # Of forking beside other threads: ours hold nothing that this work needs.
                warnings.simplefilter("ignore", DeprecationWarning)
                processes[-1].start()
            writer.close()
            readers.append(reader)
        left = {number: len(jobs[number::workers]) for number in range(len(processes))}
        while any(left.values()):
            for reader in wait([readers[number] for number, count in left.items() if count]):
                number = readers.index(reader)  # type: ignore[arg-type]
                at, result = _received(readers[number], processes[number])
                left[number] -= 1
                yield jobs[number + at * workers][0], result
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _received(reader: Connection, process: BaseProcess) -> tuple[int, Any]:
    try:
        at, result = reader.recv()
    except EOFError:
        process.join()
        raise SnnqError(
            f"a process that prepared data died (exit code {process.exitcode})", "use fewer: --workers 1"
        ) from None
    if isinstance(result, BaseException):
        raise result
    return at, result


def _do(
    work: Callable[[Job, Given], object], jobs: Sequence[tuple[Job, Given]], writer: Connection, parent: int
) -> None:
    with suppress(KeyboardInterrupt, BrokenPipeError):  # the parent says so
        for at, (job, given) in enumerate(jobs):
            if os.getppid() != parent:
                return
            try:
                result = work(job, given)
            except Exception as error:
                result = error
            writer.send((at, result))
