from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import DataError
from snnq.data import open_data
from snnq.data.event_files import read_events
from snnq.data.formats.atis import N_MNIST
from snnq.data.integrator import integrate

REAL = Path(__file__).resolve().parents[2] / "../shared/data/n-mnist"
real_recordings = pytest.mark.skipif(not REAL.is_dir(), reason="needs the N-MNIST recordings in ../shared/data")


def pack(x: int, y: int, p: int, t: int) -> bytes:
    return bytes([x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255])


def write_set(root: Path, samples: int = 4, classes: int = 2) -> Path:
    """A tiny folder of N-MNIST's form; every recording differs."""
    rng = np.random.default_rng(0)
    for split in ("Train", "Test"):
        for label in range(classes):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for number in range(samples):
                t = np.sort(rng.integers(0, 300_000, 50)).tolist()
                xyp = rng.integers(0, [34, 34, 2], (50, 3)).tolist()
                events = b"".join(pack(x, y, p, at) for (x, y, p), at in zip(xyp, t, strict=True))
                (folder / f"{number:05d}.bin").write_bytes(events)
    return root


def test_golden_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(bytes([3, 5, 0x80, 0x01, 0x02, 33, 0, 0x01, 0x00, 0x00]))
    recording = read_events(file, N_MNIST).events
    assert recording.x.tolist() == [3, 33]
    assert recording.y.tolist() == [5, 0]
    assert recording.p.tolist() == [1, 0]
    assert recording.t.tolist() == [258, 65_536]


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 33), st.integers(0, 33), st.integers(0, 1), st.integers(0, 1000)),
        min_size=1,
        max_size=30,
    )
)
def test_what_is_written_is_read_and_a_little_disorder_is_sorted(
    tmp_path_factory: pytest.TempPathFactory, events: list
) -> None:
    file = tmp_path_factory.mktemp("bin") / "a.bin"
    file.write_bytes(b"".join(pack(*event) for event in events))
    recording = read_events(file, N_MNIST).events
    expected = sorted(events, key=lambda event: event[3])
    columns = (recording.x, recording.y, recording.p, recording.t)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty: 0 bytes"]),
        (pack(1, 1, 1, 1) + b"\0\0", ["cut off: 7 bytes", "multiple of 5"]),
        (pack(34, 1, 1, 1), ["x=34", "0 to 33"]),
        (pack(1, 99, 1, 1), ["y=99", "0 to 33"]),
        (pack(1, 1, 1, 9) + pack(1, 1, 1, 5000) + pack(1, 1, 1, 3000), ["event 2 goes back in time by 2000 µs"]),
    ],
)
def test_a_damaged_recording_is_named(tmp_path: Path, content: bytes, words: list[str]) -> None:
    root = write_set(tmp_path / "set")
    file = root / "Train" / "1" / "00002.bin"
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_data(f"n-mnist:{root}", steps=2, image_size=(34, 34), cache_dir=tmp_path / "cache")
    for word in [str(file), *words]:
        assert word in caught.value.message
    with pytest.raises(DataError, match="cannot be read"):
        read_events(tmp_path / "gone.bin", N_MNIST)


def test_open_splits_by_the_official_folders(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", samples=10)
    data = open_data(f"n-mnist:{root}", steps=3, image_size=(34, 34), cache_dir=tmp_path / "cache")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [16, 4, 20]
    assert not data.simulated
    assert data.classes == ("0", "1")
    files = sorted((root / "Test").rglob("*.bin"))
    expected = np.stack([integrate(read_events(file, N_MNIST).events, 3, 34, 34, "count") for file in files])
    assert np.array_equal(data.test.frames, expected)
    assert data.test.labels.tolist() == [0] * 10 + [1] * 10
    samples = {frame.tobytes() for part in (data.train, data.validation, data.test) for frame in part.frames}
    assert len(samples) == 40


def test_a_changed_recording_changes_the_hash_and_another_place_does_not(tmp_path: Path) -> None:
    root, cache = write_set(tmp_path / "set"), tmp_path / "cache"

    def sha(folder: Path) -> str:
        return open_data(f"n-mnist:{folder}", steps=2, image_size=(34, 34), cache_dir=cache).sha256

    before = sha(root)
    root = root.rename(tmp_path / "a, new place")
    assert sha(root) == before
    (root / "Test" / "0" / "00000.bin").write_bytes(pack(1, 1, 1, 1))
    assert sha(root) != before


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda root: (root / "Test").rename(root / "other"), "no folder 'test'"),
        (lambda root: root.rename(root.with_name("gone")), "folder not found"),
        (lambda root: (root / "Test" / "1").rename(root / "Test" / "7"), "class '7' is not among"),
        (lambda root: [file.unlink() for file in (root / "Test").rglob("*.bin")], "no <class>/.*bin"),
    ],
)
def test_a_folder_of_another_form(tmp_path: Path, broken, message: str) -> None:
    root = write_set(tmp_path / "set")
    broken(root)
    with pytest.raises(DataError, match=message):
        open_data(f"n-mnist:{root}", steps=2, image_size=(34, 34), cache_dir=tmp_path / "cache")


@real_recordings
def test_real_recordings_as_tonic_reads_them() -> None:
    from tonic.io import events_struct, read_mnist_file

    file = sorted((REAL / "Train" / "0").glob("*.bin"))[0]
    recording, raw = read_events(file, N_MNIST).events, read_mnist_file(str(file), dtype=events_struct)
    assert len(recording) == len(raw) == file.stat().st_size // 5
    for name in ("t", "x", "y", "p"):
        assert np.array_equal(getattr(recording, name), raw[name])
    frames = integrate(recording, 8, 34, 34, "count").sum(axis=(1, 2, 3))
    assert frames[:7].tolist() == [len(raw) // 8] * 7
    assert frames.sum() == len(raw)


@real_recordings
def test_the_simulation_is_of_the_same_kind(tmp_path: Path) -> None:
    """Loosely, on scikit-learn's digits: as many events within a factor of two, and both polarities alike."""
    real = open_data(f"n-mnist:{REAL},limit=50", steps=3, image_size=(34, 34), cache_dir=tmp_path).train.frames
    simulated = open_data("digits,limit=50", steps=3, image_size=(34, 34), cache_dir=tmp_path).train.frames
    ratio = simulated.sum() / real.sum()
    assert 0.5 < ratio < 2
    shares = [frames[:, :, 1].sum() / frames.sum() for frames in (real, simulated)]
    assert shares == pytest.approx([0.5, 0.5], abs=0.05)


@real_recordings
def test_real_set_opens(tmp_path: Path) -> None:
    data = open_data(f"n-mnist:{REAL},limit=20", steps=8, image_size=(34, 34), cache_dir=tmp_path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [20, 20, 20]
    assert np.bincount(data.train.labels).tolist() == [2] * 10
    events = np.concatenate([part.frames.sum(axis=(1, 2, 3, 4)) for part in (data.train, data.test)])
    assert 2500 < events.mean() < 6000
    assert not data.simulated
