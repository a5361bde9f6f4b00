"""Preparing in chunks: by several processes, cut off anywhere, with the bytes of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from event_writers import draw, write_bin

from snnq.base.errors import DataError, SnnqError
from snnq.data import chunks, preparing
from snnq.data.chunks import shared
from snnq.data.dataset import Part, Recordings, Samples
from snnq.data.open import prepare


def quiet(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
    assert 0 <= done <= total


class Source:
    """Three splits in chunks of 4; counts which parts are made; ``large`` has counts above 255."""

    def __init__(self, sizes: tuple[int, int, int] = (21, 6, 9), large: int = -1, stop_at: int = 10**9) -> None:
        self.sizes, self.large, self.stop_at, self.made = sizes, large, stop_at, 0

    def recordings(self) -> Recordings:
        def read() -> dict[str, Samples]:
            names = ("train", "validation", "test")
            return {
                name: Samples(np.arange(size, dtype=np.int64) % 3, 4, self.parts(100 * number))
                for number, (name, size) in enumerate(zip(names, self.sizes, strict=True))
            }

        return Recordings(("a", "b", "c"), {}, "", read)

    def parts(self, offset: int):
        def part(start: int, stop: int) -> Part:
            def samples():
                self.made += 1
                if self.made > self.stop_at:
                    raise KeyboardInterrupt
                for index in range(start, stop):
                    value = 300 if offset + index == self.large else (offset + index) % 250
                    yield np.full((2, 2, 3, 3), value)

            return samples

        return part


def content(folder: Path) -> dict[str, str]:
    """Return the hash of every file of an entry but for its times."""
    files = [file for file in sorted(folder.iterdir()) if file.name != "stamps.json"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("large", [-1, 13, 205])
def test_cut_off_after_any_chunk_it_goes_on_there_with_the_same_bytes(tmp_path: Path, large: int) -> None:
    whole = Source(large=large)
    preparing.store(tmp_path / "whole", whole.recordings(), "s", quiet)
    expected = content(tmp_path / "whole")
    for stop_at in range(whole.made):
        source = Source(large=large, stop_at=stop_at)
        with pytest.raises(KeyboardInterrupt):
            preparing.store(tmp_path / "cut", source.recordings(), "s", quiet)
        rest = Source(large=large)
        preparing.store(tmp_path / "cut", rest.recordings(), "s", quiet)
        assert rest.made == whole.made - stop_at
        assert content(tmp_path / "cut") == expected
        for file in (tmp_path / "cut").iterdir():
            file.unlink()
        (tmp_path / "cut").rmdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole"]


@pytest.mark.parametrize("cut_at", range(8))
def test_cut_off_while_the_chunks_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int
) -> None:
    preparing.store(tmp_path / "whole", Source().recordings(), "s", quiet)
    original, calls = Path.unlink, []

    def cut(self: Path, *arguments: bool) -> None:
        calls.append(self)
        if len(calls) == cut_at + 1:
            raise KeyboardInterrupt
        original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", cut)
        with pytest.raises(KeyboardInterrupt):
            preparing.store(tmp_path / "cut", Source().recordings(), "s", quiet)
    rest = Source()
    preparing.store(tmp_path / "cut", rest.recordings(), "s", quiet)
    assert rest.made == 0
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_a_damaged_chunk_is_made_again(tmp_path: Path) -> None:
    source = Source(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        preparing.store(tmp_path / "x", source.recordings(), "s", quiet)
    folder = tmp_path / ".x.partial" / chunks.FOLDER
    files = sorted(folder.glob("*.npy"))
    files[0].write_bytes(files[0].read_bytes()[:-1])
    files[1].with_suffix(".json").write_text("{")
    rest = Source()
    preparing.store(tmp_path / "x", rest.recordings(), "s", quiet)
    preparing.store(tmp_path / "whole", Source().recordings(), "s", quiet)
    assert rest.made == 11 - 5 + 2
    assert content(tmp_path / "x") == content(tmp_path / "whole")


def test_samples_of_different_shapes_are_refused(tmp_path: Path) -> None:
    def part(start: int, stop: int) -> Part:
        return lambda: iter([np.zeros((1, 2, 3, 3 + start), int)] * (stop - start))

    read = {name: Samples(np.zeros(4, np.int64), 2, part) for name in ("train", "validation", "test")}
    with pytest.raises(DataError, match="of different shapes"):
        preparing.store(tmp_path / "x", Recordings(("a",), {}, "", lambda: read), "s", quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_waiting_process_takes_what_the_other_made(tmp_path: Path) -> None:
    import threading

    slow, quick = Source(), Source()
    begun = threading.Event()

    def wait(stage: str, done: int, total: int, /, **facts: float | int | str) -> None:
        begun.set()
        time.sleep(0.01)

    thread = threading.Thread(target=lambda: preparing.store(tmp_path / "x", slow.recordings(), "s", wait))
    thread.start()
    begun.wait()
    preparing.store(tmp_path / "x", quick.recordings(), "s", quiet)
    thread.join()
    assert (slow.made, quick.made) == (11, 0)


def write_set(root: Path, samples: int) -> Path:
    for split in ("Train", "Test"):
        for label in range(2):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for number in range(samples):
                write_bin(folder / f"{number:05d}.bin", draw(60, 34, 34, seed=1000 * label + number))
    return root


def test_several_processes_make_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "_WORTH_SECONDS", -1.0)
    root = write_set(tmp_path / "set", 300)
    (root / "Train/1/00299.bin").write_bytes(b"cut")
    made = [
        prepare(f"n-mnist:{root}", steps=2, cache_dir=tmp_path / f"cache{n}", workers=n, skip_corrupt=True)
        for n in (1, 3)
    ]
    assert content(Path(made[0].stored.path)) == content(Path(made[1].stored.path))
    assert len(made[0].data.skipped) == len(made[1].data.skipped) == 1
    assert made[0].recordings_per_second > 0


def test_killed_it_goes_on(tmp_path: Path) -> None:
    """SIGKILL in the midst of four processes' work: the next run finishes, and nobody works on."""
    root = write_set(tmp_path / "set", 700)
    code = (
        "import sys, time; from snnq.data import preparing, chunks, prepare\n"
        "preparing._WORTH_SECONDS = -1.0; original = chunks.make\n"
        "def slow(chunk, part): time.sleep(0.2); return original(chunk, part)\n"
        "chunks.make = slow\n"
        f"prepare('n-mnist:{root}', steps=2, cache_dir={str(tmp_path / 'cache')!r}, workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    data = tmp_path / "cache" / "data"
    deadline = time.monotonic() + 60
    while len(list(data.glob(".*.partial/chunks/*.json"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    seen: list[int] = []
    done = prepare(
        f"n-mnist:{root}", steps=2, cache_dir=tmp_path / "cache",
        progress=lambda stage, count, total, /, **facts: seen.append(count) if "preparing" in stage else None,
    )  # fmt: skip
    assert seen[0] >= 4 * 64
    undisturbed = prepare(f"n-mnist:{root}", steps=2, cache_dir=tmp_path / "other")
    assert content(Path(done.stored.path)) == content(Path(undisturbed.stored.path))
    assert gone(process.pid)


def gone(group: int) -> bool:
    """Wait until no process of a group is left: children see that their parent is gone, and go, too."""
    for _ in range(200):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_shared_work_raises_what_a_worker_raises() -> None:
    def work(job: int, given: int) -> int:
        if given == 3:
            raise DataError("three")
        if given == 4:
            os._exit(7)
        return job + given

    assert sorted(shared(work, [(n, 10) for n in range(7)], 3)) == [(n, n + 10) for n in range(7)]
    with pytest.raises(DataError, match="three"):
        list(shared(work, [(0, 3), (1, 1)], 2))
    with pytest.raises(SnnqError, match=r"died \(exit code 7"):
        list(shared(work, [(0, 4), (1, 1)], 2))
    assert list(shared(work, [], 2)) == []
