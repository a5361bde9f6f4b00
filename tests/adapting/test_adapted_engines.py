"""A packed folder with an adapter: torch, the engine and the numpy reference agree on every bit of every logit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from event_writers import draw, write_bin
from lively import write_lively
from made_adapters import write_random
from sifted import slow_but

from snnq.assessing.classify import classify
from snnq.base.errors import UsageError
from snnq.packed.adapted import load_adapted
from snnq.packed.adapter import read_adapter
from snnq.packed.adapter_sites import packed_sites
from snnq.packed.config import read_config
from snnq.runtime.adapted import AdaptedEngine
from snnq.runtime.adapted_reference import AdaptedReference
from snnq.runtime.comparing_adapted import compare_adapted

SCHEMES = ["uniform-4", "power-of-two-4", "uniform-2"]
# Every order of products: scores, scores scaled at once, keys, over chunks, sums, sums that are pooled.
PLACES: dict[str, dict[str, Any]] = {
    "cifar10dvs": {"seed": 0},
    "sdt-dvs": {"seed": 2},
    "statten-dvs": {"seed": 4, "chunk": 3},
    "cifar10": {"seed": 1},
    "imagenet": {"seed": 2, "chunk": 3},
    "sdt-static": {"seed": 3},
    "statten-static": {"seed": 5, "chunk": 3},
    "spikingformer-cifar10": {"seed": 4},
    "qkformer-cifar10": {"seed": 4, "depth": 3},
}


def three(folder: Path, adapter: Path, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with torch.no_grad():
        torches = load_adapted(folder, adapter)(torch.from_numpy(frames.astype(np.float32))).numpy()
    engine = AdaptedEngine(folder, adapter, threads=1)
    return torches, engine(frames), AdaptedReference(folder, adapter)(frames)


@pytest.mark.parametrize("layout", slow_but(("cifar10dvs",), PLACES))
def test_every_engine_gives_the_same_logits(layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "packed"
    frames = write_lively(folder, SCHEMES, layout, **PLACES[layout])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert packed_sites(folder, read_config(folder))
    plain = AdaptedEngine(folder, write_random(folder, tmp_path / "head.safetensors", "head"), threads=1)(frames)
    for method in ("head", "os", "coda", "l2p"):
        adapter = write_random(folder, tmp_path / f"{method}.safetensors", method)
        torches, engine, reference = three(folder, adapter, frames)
        assert torches.shape == (2, 4)
        assert np.array_equal(torches, engine)
        assert np.array_equal(torches, reference)
        again = AdaptedEngine(folder, adapter, threads=2)
        assert again.taped
        # Recorded, then played on others; prompts are chosen anew.
        assert all(np.array_equal(again(np.roll(frames, i, 0)), np.roll(torches, i, 0)) for i in (0, 1, 0))
        assert all(np.array_equal(again(frames[i : i + 1]), torches[i : i + 1]) for i in (0, 1, 0))
        # The same head: what differs is what the prompts do.
        assert np.array_equal(engine, plain) == (method == "head")
    assert compare_adapted(folder, read_adapter(tmp_path / "os.safetensors")) == 2
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_threads_that_share_an_engine(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", SCHEMES, "cifar10dvs")
    adapter = write_random(tmp_path / "packed", tmp_path / "os.safetensors", "os")
    engine = AdaptedEngine(tmp_path / "packed", adapter, threads=1)
    given = [np.roll(frames, i, -1) for i in range(8)]
    due = [engine(one) for one in given]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(6):
            assert all(map(np.array_equal, pool.map(engine, given), due))


def test_a_head_alone_runs_as_quickly_and_in_streams_as_the_folder(tmp_path: Path) -> None:
    """Its loops are recorded and played again, and a stream gives the whole run's logits at its end."""
    frames = write_lively(tmp_path / "packed", SCHEMES, "cifar10dvs")
    adapter = write_random(tmp_path / "packed", tmp_path / "head.safetensors", "head")
    due, engine, _ = three(tmp_path / "packed", adapter, frames)
    again = AdaptedEngine(tmp_path / "packed", adapter, threads=1)
    assert again.taped
    assert all(np.array_equal(again(np.roll(frames, i, 0)), np.roll(due, i, 0)) for i in (0, 1, 0))
    stream = again.stream()
    assert np.array_equal([stream.step(frame) for frame in np.moveaxis(frames, 1, 0)][-1], engine)
    prompts = write_random(tmp_path / "packed", tmp_path / "os.safetensors", "os")
    with pytest.raises(UsageError, match="chosen by all time steps"):
        AdaptedEngine(tmp_path / "packed", prompts, threads=1).stream()


def test_a_recording_is_cut_as_the_adapters_data_are(tmp_path: Path) -> None:
    write_lively(tmp_path / "packed", SCHEMES, "cifar10dvs")
    adapter = write_random(tmp_path / "packed", tmp_path / "head.safetensors", "head", data="digits")
    write_bin(tmp_path / "a.bin", draw(4000, 34, 34))
    assert classify(tmp_path / "packed", tmp_path / "a.bin").by == "count"
    assert classify(tmp_path / "packed", tmp_path / "a.bin", adapter=adapter).by == "time"
