"""Calls that were prepared once give what calls that are prepared anew give: every architecture, and streams."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lively import write_lively
from small_architectures import NAMES, ONE_EACH, small
from test_engine import MIXED

from snnq.runtime import Engine, engine


def refuse(*given: object) -> Any:
    raise AssertionError("this batch was to be run by prepared calls")


def batches_of(one: Engine) -> list[int]:
    """How many samples each tape of an engine is for."""
    keys: list[Any] = [*one._tapes]
    return [key[0][0] for key in keys]


def spikes_of(one: Engine) -> list[np.ndarray]:
    """All spikes that the calls of an engine's only tape read and wrote."""
    (tape,) = one._tapes.values()
    calls = [call for operation in tape.program.operations for piece in operation[0] for call in piece]
    return [part for _, piece in calls for part in piece if isinstance(part, np.ndarray) and part.dtype == np.uint64]


@pytest.mark.parametrize("name", ONE_EACH)
def test_other_frames_of_the_same_shape(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = 3 if name in (NAMES[0], "sdt-dvs") else 1
    one, sizes = small(name)
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    other = np.roll(frames, 7, -1)[::-1].copy()
    other[0, 0, 0, 0, 0] = frames.max()  # event counts take as many digits
    mine, anew = (Engine(tmp_path / "packed", threads) for _ in range(2))
    first, due = mine(frames), anew(other)
    if not mine.taped:  # of the metaformers
        assert not mine._tapes
        assert np.array_equal(mine(other), due)
        return
    before = [part.copy() for part in spikes_of(mine)]
    monkeypatch.setattr(mine, "_walk", refuse)
    assert np.array_equal(mine(other), due)
    for part, should in zip(spikes_of(mine), spikes_of(anew), strict=True):
        assert np.array_equal(part, should)
    assert any(not np.array_equal(part, was) for part, was in zip(spikes_of(mine), before, strict=True))
    assert np.array_equal(mine(frames), first)


@pytest.mark.parametrize("name", ["spikformer-cifar10dvs", "qkformer-dvs", "sdt-dvs"])
def test_streams_that_take_turns(name: str, tmp_path: Path) -> None:
    one, sizes = small(name)
    sizes["steps"] = 5
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    many = np.concatenate([frames, np.roll(frames, 3, -1), np.roll(frames, 9, -2)])
    due = Engine(tmp_path / "packed", 1)(many)
    mine = Engine(tmp_path / "packed", 1)
    parts, order = [many[i : i + 1] for i in range(6)], np.random.default_rng(0)
    streams, found = [mine.stream() for _ in parts], {}
    for place in order.permuted(np.repeat(np.arange(6), 5)):
        # Frames of one stream take other digits than those of others: several tapes hold its voltages in turn.
        found[place] = streams[place].step(parts[place][:, streams[place].taken])
    assert np.array_equal(np.concatenate([found[i] for i in range(6)]), due)
    assert 1 < len(mine._tapes) <= engine.TAPES


def test_streams_that_lose_samples_take_turns_with_whole_runs(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", MIXED, steps=4)
    mine, due = Engine(tmp_path / "packed", 1), Engine(tmp_path / "packed", 1)(frames)
    first, second = mine.stream(), mine.stream()
    for step in range(2):
        first.step(frames[:, step])
        second.step(frames[::-1, step])
    first.keep(np.array([1]))
    second.keep(np.array([True, False]))  # the same sample
    assert np.array_equal(mine(frames), due)
    found = []
    for step in (2, 3):
        found = [one.step(frames[1:, step]) for one in (first, second)]
        assert np.array_equal(found[0], found[1])
        assert np.array_equal(mine(frames), due)
    assert np.array_equal(found[0], due[1:])


def test_threads_that_share_an_engine(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", MIXED)
    mine = Engine(tmp_path / "packed", 1)
    given = [np.roll(frames, i, -1) for i in range(8)]
    due = [Engine(tmp_path / "packed", 1)(one) for one in given]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(12):
            assert all(map(np.array_equal, pool.map(mine, given), due))


def test_few_tapes_are_kept_and_none_of_large_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-2"])
    mine = Engine(tmp_path / "packed", 1)
    for size in range(1, 8):
        mine(np.repeat(frames[:1], size, 0))
    assert batches_of(mine) == [4, 5, 6, 7]
    monkeypatch.setattr(engine, "TAPED_MACS", mine.macs)
    assert len(mine(frames)) == 2
    assert batches_of(mine) == [4, 5, 6, 7]
    before = dict(mine.seconds)
    mine(frames[:1])
    mine(frames[:1])
    assert all(mine.seconds[part] > before[part] for part in before)


def test_other_layers_are_not_run_by_calls_of_those_before(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-2"])[:1]
    mine = Engine(tmp_path / "packed", 1)
    layers, first = dict(mine.layers), mine(frames)
    silent = {
        name: dataclasses.replace(one, numbers=(*one.numbers[:2], np.full_like(one.numbers[2], 2**30)))
        for name, one in layers.items()
    }
    mine.layers = silent
    assert not np.array_equal(mine(frames), first)
    mine.layers = layers
    assert np.array_equal(mine(frames), first)


@pytest.mark.parametrize("name", ["spikformer-cifar10dvs", "qkformer-dvs"])
def test_a_batch_of_large_samples_is_run_one_by_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, sizes = small(name)
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    mine = Engine(tmp_path / "packed", 2)
    due = mine(frames)
    monkeypatch.setattr(engine, "TAPED_MACS", mine.macs - 1)
    assert np.array_equal(mine(frames), due)
    assert {*batches_of(mine)} == {1, len(frames)}
    monkeypatch.setattr(mine, "_walk", refuse)
    assert np.array_equal(mine(frames[::-1].copy()), due[::-1])
