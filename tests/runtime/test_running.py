"""Step by step is the whole run, bit for bit: on the engine and its numpy reference, for every architecture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lively import write_lively
from small_architectures import NAMES, ONE_EACH, small
from test_engine import MIXED

from snnq.base.errors import UsageError
from snnq.packed.config import CONFIG_FILE
from snnq.runtime import Engine
from snnq.runtime.reference import Reference
from snnq.runtime.running import Running

CHUNKED = [name for name in NAMES if small(name)[1].get("chunk", 1) > 1]


def run_through(running: Running, frames: np.ndarray) -> list[np.ndarray]:
    """Logits after every step, or chunk of steps."""
    return [running.steps(frames[:, t : t + running.chunk]) for t in range(0, frames.shape[1], running.chunk)]


# Segments have no single steps.
@pytest.mark.parametrize("name", [one for one in ONE_EACH if not small(str(one.values[0]))[1].get("key_stride")])
def test_the_last_logits_are_those_of_the_whole_run(name: str, tmp_path: Path) -> None:
    one, sizes = small(name)
    sizes |= {"steps": 4}
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    engine, reference = Engine(tmp_path / "packed", 2), Reference(tmp_path / "packed")
    due = engine(frames)
    mine, other = run_through(engine.stream(), frames), run_through(reference.stream(), frames)
    assert np.array_equal(mine[-1], due)
    assert all(np.array_equal(a, b) for a, b in zip(mine, other, strict=True))
    assert not np.array_equal(mine[0], mine[-1])
    assert np.array_equal(engine(frames), due)  # nothing is left of a stream
    assert len(mine) == 4 // sizes.get("chunk", 1)


def test_logits_so_far_are_those_of_a_folder_with_fewer_steps(tmp_path: Path) -> None:
    one, sizes = small("sdt-static")
    sizes["steps"] = 4
    frames = write_lively(tmp_path / "packed", MIXED, one, **sizes)
    found = run_through(Engine(tmp_path / "packed", 1).stream(), frames)
    path = tmp_path / "packed" / CONFIG_FILE
    said: dict[str, Any] = json.loads(path.read_text())
    del said["sha256"][CONFIG_FILE]
    for steps in (1, 2, 3):
        said["config"]["steps"] = steps
        path.write_text(json.dumps(said))
        assert np.array_equal(found[steps - 1], Engine(tmp_path / "packed", 1)(frames[:, :steps]))


@pytest.mark.parametrize("make", [lambda path: Engine(path, 1), Reference], ids=["engine", "reference"])
def test_samples_that_are_dropped_change_nothing(make: Callable[[Path], Engine | Reference], tmp_path: Path) -> None:
    frames = np.concatenate([write_lively(tmp_path / "packed", MIXED)] * 2)[[0, 1, 1, 0]]
    frames[2:, 1:] = frames[:2, 1:]
    runner = make(tmp_path / "packed")
    whole, running = runner(frames), runner.stream()
    running.step(frames[:, 0])
    running.keep(np.array([False, True, True, True]))
    running.step(frames[1:, 1])
    running.keep(np.array([2, 0]))
    assert np.array_equal(running.step(frames[[3, 1], 2]), whole[[3, 1]])
    running.keep(np.array([], np.int64))
    assert not np.array_equal(whole[0], whole[2])


def test_two_streams_do_not_meet(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", MIXED)
    engine = Engine(tmp_path / "packed", 2)
    first, second = engine.stream(), engine.stream()
    found = [(first.step(frames[:1, t]), second.step(frames[1:, t])) for t in range(frames.shape[1])]
    assert np.array_equal(np.concatenate(found[-1]), engine(frames))


@pytest.mark.parametrize("name", CHUNKED)
def test_a_network_that_mixes_steps_says_so(name: str, tmp_path: Path) -> None:
    one, sizes = small(name)
    frames = write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes)
    running = Engine(tmp_path / "packed", 1).stream()
    with pytest.raises(UsageError, match=r"frames of 1 time steps: attention .* mixes 2 time steps at once"):
        running.step(frames[:, 0])
    assert running.taken == 0


def test_what_does_not_come_next_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-2"])
    engine = Engine(tmp_path / "packed", 1)
    running = engine.stream()
    with pytest.raises(UsageError, match="no step has been taken"):
        running.keep(np.array([0]))
    running.step(frames[:, 0])
    for bad, said in (
        (frames[:1, 1], "frames of 1 samples: this stream has 2"),
        (frames[:, 1, :1], "frames of shape"),
        (frames[:, 1] + 0.5, "frames must be event counts"),
        (frames[:, 1:1], "frame of shape"),
        (frames[:, 1] * np.float32(np.nan), "frames must be event counts"),
    ):
        with pytest.raises(UsageError, match=said):
            running.step(bad)
    with pytest.raises(UsageError, match="no time step"):
        running.steps(frames[:, :0])
    assert np.array_equal(running.steps(frames[:, 1:]), engine(frames))
    with pytest.raises(UsageError, match="step 4: the network takes 3 time steps"):
        running.step(frames[:, 0])
