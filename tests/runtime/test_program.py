"""Programs: every piece is run once, whoever comes; and what they call gets the arguments that Python would give."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lively import write_lively

from snnq.base.errors import SnnqError
from snnq.runtime import Engine, native
from snnq.runtime.compiling import compiled
from snnq.runtime.program import Program
from snnq.runtime.workers import Workers


@compiled
def note(numbers, flag, pair, to, place):
    """Write what is given to ``to``."""
    first, (second, wide) = pair
    to[place, 0] = numbers[1, 2] * 1000 + (100 if flag else 0) + first
    to[place, 1] = second.shape[0] + wide


@compiled
def count(counts, place, times):
    for _ in range(times):
        counts[place] += 1


@compiled
def divide(numbers, by):
    numbers[0] = numbers[0] // by


def play(program: Program, workers: Workers) -> None:
    try:
        workers.start(program)
        workers.go_on(program, program.end)
    except BaseException:
        workers.give_up(program)
        raise


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int32, np.uint64])
def test_arguments_arrive(kind: Any) -> None:
    numbers = np.arange(24, dtype=kind).reshape(4, 6)
    views = [numbers, numbers[::2, 1:], numbers.T, np.asfortranarray(numbers)]
    found, due = np.zeros((2, 2 * len(views), 2), np.int64)
    pieces = []
    for i, view in enumerate(views):
        for flag in (True, False):
            pair = (np.int32(-3), (np.zeros((i, 2), np.float32), 2**40 + i))
            place = 2 * i + flag
            note(view, flag, pair, due, place)
            pieces.append([(note, (view, flag, pair, found, place))])
    play(Program([[pieces]], 1), Workers(1))
    assert due.any()
    assert np.array_equal(found, due)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_piece_is_run_once(threads: int) -> None:
    workers, total = Workers(threads), np.zeros(1, np.int64)
    sizes = [1, 7, 2, 30, 1, 3] * 4
    counts = [np.zeros(size, np.int64) for size in sizes]
    operations = []
    for one in counts:
        # A piece of two calls, of which each worker makes its own.
        mine = [[[(count, (one, place, 1)), (count, (one, place, 50))] for place in range(len(one))]] * threads
        operations += [mine, [[[(lambda one=one: total.__iadd__(one.sum()), ())]]]]
    program = Program(operations, threads)
    assert program.compiled == [True, False] * len(counts)
    for run in range(1, 101):
        play(program, workers)
        assert all((one == 51 * run).all() for one in counts)
    # After each operation its counts were added up: nothing began before all before it was done.
    assert total[0] == sum(51 * run * sum(sizes) for run in range(1, 101))


def test_helpers_that_never_come() -> None:
    counts = np.zeros(9, np.int64)
    program = Program([[[[(count, (counts, place, 1))] for place in range(9)]] * 4] * 3, 4)
    program.begin()
    program.run(program.end, lambda pieces: None)
    assert (counts == 3).all()
    program.help(2)  # too late: the program is over
    assert (counts == 3).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_loop_that_fails_ends_the_program(threads: int) -> None:
    numbers, by, workers = np.array([6]), 0, Workers(threads)
    bad, good = Program([[[[(divide, (numbers, by))]]]], threads), Program([[[[(divide, (numbers, 2))]]]], threads)
    for _ in range(3):
        with pytest.raises(SnnqError, match="failed"):
            play(bad, workers)
    play(good, workers)
    assert numbers[0] == 3


def test_a_call_that_raises_ends_the_program() -> None:
    def refuse() -> None:
        raise ValueError("no")

    counts, workers = np.zeros(2, np.int64), Workers(3)
    some = [[[(count, (counts, place, 1))] for place in range(2)]]
    bad = Program([some, [[[(refuse, ())]]], some], 3)
    for run in range(1, 4):
        with pytest.raises(ValueError, match="no"):
            play(bad, workers)
        assert (counts == run).all()


def test_what_is_no_compiled_loop_of_arrays_and_numbers() -> None:
    assert native.fits(count, (np.zeros(1), 0, True, (np.int8(1), (np.ones(1),))))
    assert not native.fits(count, (np.zeros(1), 0.5))
    assert not native.fits(np.copyto, (np.zeros(1), np.ones(1)))


def test_python_threads_share_an_engine_of_many(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-4", "power-of-two-4", "uniform-2"])
    given = [np.roll(frames, i, -1)[: 1 + i % 2] for i in range(8)]
    due = [Engine(tmp_path / "packed", 1)(one) for one in given]
    mine = Engine(tmp_path / "packed", 4)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(25):
            assert all(map(np.array_equal, pool.map(mine, given), due))
