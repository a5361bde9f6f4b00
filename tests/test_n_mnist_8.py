"""E1's converter writes N-MNIST's own files: golden bytes, the split by index, and real recordings read back."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from snnq.data import open_data
from snnq.data.event_files import read_events
from snnq.data.formats.atis import N_MNIST

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared/data/n-mnist-8/train9600.npz"
COUNTS = {"Train": 3, "Validation": 1, "Test": 2}


@pytest.fixture(scope="module")
def converter():
    spec = importlib.util.spec_from_file_location("n_mnist_8", ROOT / "examples/reference/n_mnist_8.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def archive(tmp_path):
    """Write 12 recordings of two classes, mixed and in no order of index; recording i has i + 1 events."""
    draw = np.random.default_rng(0)
    n_events = np.arange(1, 13, dtype=np.int32)
    cuts = [np.sort(draw.integers(0, 300, count)) for count in n_events]
    total = int(n_events.sum())
    columns = {
        "t": np.concatenate(cuts).astype(np.uint16),
        "x": draw.integers(0, 34, total).astype(np.uint8),
        "y": draw.integers(0, 34, total).astype(np.uint8),
        "p": draw.integers(0, 2, total).astype(np.uint8),
        "n_events": n_events,
        "label": (np.arange(12) % 2).astype(np.uint8),
        "mnist_index": draw.permutation(np.arange(1000, 1012)).astype(np.int32),
    }
    np.savez(tmp_path / "recordings.npz", **columns)
    return columns


def test_golden_bytes(converter):
    # x = 1, y = 2, p = 1, t = 300 ms = 300 000 us = 0x0493e0; then the same without the polarity bit.
    t, x, y = np.array([300, 300], np.uint16), np.array([1, 33], np.uint8), np.array([2, 0], np.uint8)
    assert converter.encode(t, x, y, np.array([1, 0], np.uint8)).hex(" ") == "01 02 84 93 e0 21 00 04 93 e0"


def test_every_recording_is_read_back(converter, archive, tmp_path):
    converter.convert(tmp_path / "recordings.npz", tmp_path / "out", COUNTS)
    ends = np.cumsum(archive["n_events"])
    for i, (index, label) in enumerate(zip(archive["mnist_index"], archive["label"], strict=True)):
        (file,) = (tmp_path / "out").glob(f"*/{label}/{index:05d}.bin")
        events, span = read_events(file, N_MNIST).events, slice(ends[i] - archive["n_events"][i], ends[i])
        assert events.t.tolist() == [1000 * int(t) for t in archive["t"][span]]
        for name in ("x", "y", "p"):
            assert getattr(events, name).tolist() == archive[name][span].tolist()


def test_the_highest_indices_are_the_test_split(converter, archive, tmp_path):
    converter.convert(tmp_path / "recordings.npz", tmp_path / "out", COUNTS)
    for label in (0, 1):
        ordered = sorted(archive["mnist_index"][archive["label"] == label].tolist())
        for split, due in (("Train", ordered[:3]), ("Validation", ordered[3:4]), ("Test", ordered[4:])):
            assert sorted(int(file.stem) for file in (tmp_path / f"out/{split}/{label}").iterdir()) == due
    data = open_data(f"n-mnist:{tmp_path / 'out'}", steps=2, image_size=(34, 34), cache_dir=tmp_path / "cache")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [6, 2, 4]
    assert not data.simulated
    for part in (data.train, data.validation, data.test):
        assert np.bincount(part.labels).tolist() == [len(part) // 2] * 2
    events = sum(int(part.frames.sum()) for part in (data.train, data.validation, data.test))
    assert events == archive["n_events"].sum()


@pytest.mark.skipif(not REAL.exists(), reason="needs the recordings in ../shared/data")
def test_real_recordings_are_read_back(converter, tmp_path):
    counts = {"Train": 6, "Validation": 2, "Test": 2}
    converter.convert(REAL, tmp_path / "out", counts)
    with np.load(REAL) as real:
        events = dict(zip(real["mnist_index"].tolist(), real["n_events"].tolist(), strict=True))
        labels = dict(zip(real["mnist_index"].tolist(), real["label"].tolist(), strict=True))
    for split, count in counts.items():
        files = sorted((tmp_path / "out" / split).glob("*/*.bin"))
        assert len(files) == 8 * count
        for file in files:
            assert labels[int(file.stem)] == int(file.parent.name)
            found = read_events(file, N_MNIST).events
            assert len(found.t) == events[int(file.stem)]
            assert 250_000 < found.t.max() < 320_000
