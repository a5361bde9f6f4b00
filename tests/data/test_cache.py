from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnq.base.errors import DataError
from snnq.data import cache, open_data, preparing
from snnq.data.dataset import Part, Recordings, Samples


def recordings(largest: int = 3, calls: list[str] | None = None, train: int = 5) -> Recordings:
    def part(start: int, stop: int) -> Part:
        return partial(full, stop - start, largest)

    def read() -> dict[str, Samples]:
        if calls is not None:
            calls.append("read")
        sizes = {"train": train, "validation": 2, "test": 3}
        return {name: Samples(np.arange(n, dtype=np.int64), 2, part) for name, n in sizes.items()}

    return Recordings(("a",), {}, "as it came", read)


def full(count: int, value: int) -> Iterator[np.ndarray]:
    for _ in range(count):
        yield np.full((1, 2, 3, 3), value)


def quiet(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
    assert 0 <= done <= total


def test_store_and_load(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "x-1"
    assert cache.load(folder) is None
    stored = preparing.store(folder, recordings(), "preparing x", quiet)
    loaded = cache.load(folder)
    assert loaded is not None
    for split, count in (("train", 5), ("validation", 2), ("test", 3)):
        for entry in (stored[split], loaded[split]):
            assert isinstance(entry.frames, np.memmap)
            assert entry.frames.shape == (count, 1, 2, 3, 3)
            assert (entry.frames == 3).all()
            assert entry.labels.tolist() == list(range(count))
    assert [path.name for path in folder.parent.iterdir()] == ["x-1"]  # nothing temporary is left


@pytest.mark.parametrize(("largest", "kind"), [(0, "uint8"), (255, "uint8"), (256, "uint16"), (65_535, "uint16")])
def test_counts_choose_the_type(tmp_path: Path, largest: int, kind: str) -> None:
    frames = preparing.store(tmp_path / "x", recordings(largest), "s", quiet)["train"].frames
    assert frames.dtype == np.dtype(kind)
    assert frames.max() == largest


@pytest.mark.parametrize("value", [-1, -(2**63), 0.5])
def test_what_is_no_count_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(DataError, match="no counts"):
        preparing.store(tmp_path / "x", recordings(value), "s", quiet)


def test_a_count_too_large_and_an_empty_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="above 65535"):
        preparing.store(tmp_path / "x", recordings(65_536), "s", quiet)
    with pytest.raises(DataError, match="no sample for train"):
        preparing.store(tmp_path / "x", recordings(train=0), "s", quiet)
    assert list(tmp_path.iterdir()) == []


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


DAMAGES = {
    "frames cut off": lambda folder: cut(folder / "train-frames.npy"),
    "frames empty": lambda folder: (folder / "train-frames.npy").write_bytes(b""),
    "frames of another shape": lambda folder: np.save(folder / "test-frames.npy", np.zeros((3, 1, 2, 3), np.uint8)),
    "labels gone": lambda folder: (folder / "validation-labels.npy").unlink(),
    "labels changed": lambda folder: np.save(folder / "test-labels.npy", np.array([0, 0, 0])),
    "labels pickled": lambda folder: np.save(folder / "test-labels.npy", np.array([{}, 1, 2], dtype=object)),
    "facts gone": lambda folder: (folder / "meta.json").unlink(),
    "facts garbled": lambda folder: (folder / "meta.json").write_bytes(b"\xff{"),
    "facts of another form": lambda folder: (folder / "meta.json").write_text(json.dumps(["train"])),
    "a file in its place": lambda folder: folder.rename(folder.with_name("gone")) and folder.write_text("x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_rebuilt(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "x"
    preparing.store(folder, recordings(), "s", quiet)
    DAMAGES[damage](folder)
    assert cache.load(folder) is None
    preparing.store(folder, recordings(), "s", quiet)
    entries = cache.load(folder)
    assert entries is not None
    assert entries["test"].labels.tolist() == [0, 1, 2]


def change(folder: Path, keep_times: bool = False) -> None:
    """Change one count of one sample in place, as an editor of arrays would."""
    file = folder / "train-frames.npy"
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    frames = np.load(file, mmap_mode="r+")
    frames[2, 0, 1, 2, 2] += 1
    frames.flush()
    if keep_times:
        os.utime(file, ns=times)


def as_of_an_earlier_version(folder: Path) -> None:
    """Take away what entries did not have: stamps, and hashes of their frames."""
    (folder / "stamps.json").unlink()
    meta = json.loads((folder / "meta.json").read_text())
    times = (folder / "meta.json").stat()
    for split in meta.values():
        del split["frames"]
    (folder / "meta.json").write_text(json.dumps(meta))
    os.utime(folder / "meta.json", ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("keep_times", [False, True])
def test_frames_changed_in_place_are_made_again(tmp_path: Path, keep_times: bool) -> None:
    folder = tmp_path / "x"
    preparing.store(folder, recordings(), "s", quiet)
    change(folder, keep_times)
    assert cache.load(folder) is None
    assert (preparing.store(folder, recordings(), "s", quiet)["train"].frames == 3).all()
    assert cache.load(folder) is not None


def test_frames_that_were_copied_are_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    own = cache.frames_hash
    preparing.store(tmp_path / "x", recordings(), "s", quiet)
    monkeypatch.setattr(cache, "frames_hash", lambda *given: hashed.append(given) or own(*given))
    assert cache.load(tmp_path / "x") is not None
    assert hashed == []
    shutil.copytree(tmp_path / "x", tmp_path / "y", copy_function=shutil.copyfile)
    for _ in range(2):
        assert cache.load(tmp_path / "y") is not None
    assert len(hashed) == 3
    (tmp_path / "y" / "stamps.json").unlink()
    change(tmp_path / "y")
    assert cache.load(tmp_path / "y") is None


def test_entries_of_earlier_versions_open_unless_they_were_changed(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    preparing.store(folder, recordings(), "s", quiet)
    as_of_an_earlier_version(folder)
    assert cache.load(folder) is not None
    (folder / "stamps.json").unlink()
    change(folder)
    assert cache.load(folder) is None


def test_two_writers_at_once_do_no_harm(tmp_path: Path) -> None:
    folder, failures = tmp_path / "x", []
    gate = threading.Barrier(4)

    def write() -> None:
        gate.wait()
        try:
            entries = preparing.store(folder, recordings(), "s", quiet)
            assert (entries["train"].frames == 3).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_failing_source_leaves_nothing(tmp_path: Path) -> None:
    def read() -> dict[str, Samples]:
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        preparing.store(tmp_path / "x", Recordings((), {}, "", read), "s", quiet)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_after_a_week(tmp_path: Path) -> None:
    entry, foreign = f".x-{'0' * 24}", (".git.old", ".thesis.partial", ".config.d")
    left, young, damaged = f"{entry}.partial", f"{entry}.{'1' * 32}", f"{entry}.partial.{'2' * 32}.old"
    for name in (left, young, damaged, *foreign):
        (tmp_path / name).mkdir()
    for name in (left, *foreign):
        os.utime(tmp_path / name, (0, 0))
    preparing.store(tmp_path / "x", recordings(), "s", quiet)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([young, *foreign, "x"])


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written") as caught:
        open_data("random", steps=1, image_size=(4, 4), cache_dir=tmp_path / "file")
    assert "SNNQ_CACHE" in caught.value.hint


def test_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SNNQ_CACHE", "/one")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert cache.cache_root(tmp_path) == tmp_path
    assert cache.cache_root() == Path("/one")
    monkeypatch.delenv("SNNQ_CACHE")
    assert cache.cache_root() == Path("/two/snnq")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_root() == Path.home() / ".cache" / "snnq"


def test_progress_runs_from_nothing_to_all(tmp_path: Path) -> None:
    seen = []
    open_data(
        "random,samples=300",
        steps=1,
        image_size=(4, 4),
        cache_dir=tmp_path,
        progress=lambda stage, done, total, /, **facts: seen.append((stage, done, total)),
    )
    assert seen[0] == ("preparing random", 0, 900)
    assert seen[-1] == ("preparing random", 900, 900)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    seen.clear()
    open_data("random,samples=300", steps=1, image_size=(4, 4), cache_dir=tmp_path)
    assert seen == []


def test_everything_that_matters_changes_the_key() -> None:
    base = {"spec": "random", "steps": 2, "image_size": (4, 4), "seed": 0}
    others = [{"spec": "random,samples=8"}, {"steps": 3}, {"image_size": (4, 6)}, {"image_size": (6, 4)}, {"seed": 1}]
    opened = [open_data(**{**base, **change}) for change in [{}, *others]]
    assert len({data.sha256 for data in opened}) == len(opened)


def test_summary_lists_what_is_prepared(tmp_path: Path) -> None:
    assert cache.summary(tmp_path) == []
    open_data("random", steps=1, image_size=(4, 4), cache_dir=tmp_path)
    (entry,) = cache.summary(tmp_path)
    assert entry.name.startswith("random-")
    assert entry.bytes > 3 * 64 * 2 * 16
    assert entry.mib == entry.bytes / 2**20
