"""Reading only what ends, and putting things in their place so that nobody loses anything."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from snnq.base.files import open_regular, read_regular, read_text, regular_size, write_atomic
from snnq.base.placing import MARK, install, is_temporary, replacing, sweep, workplace


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left_by_a_kill(work) -> None:
    """Run ``work`` in a forked process that ends as kill -9 ends one."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("read", [open_regular, read_regular, read_text, regular_size])
def test_only_what_ends_is_opened(read, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for strange in (tmp_path / "pipe", tmp_path / "link", "/dev/zero", "/dev/null", "/dev/tty", tmp_path):
        with pytest.raises(OSError, match=r"regular file|directory"):
            read(strange)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nowhere")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 2**40)  # takes no room on the disk
    with pytest.raises(OSError, match=r"1,099,511,627,776 bytes; more than 100 are not read"):
        read(tmp_path / "large", 100)


def test_what_is_regular_is_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("é".encode())
    (tmp_path / "link").symlink_to("text")
    assert read_text(tmp_path / "link") == "é"
    assert read_regular(tmp_path / "text", 2) == "é".encode()
    assert regular_size(tmp_path / "text") == 2
    assert read_regular("/proc/self/status") == b""  # regular, and without a length


def test_a_file_takes_its_place_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_atomic(out, "one")
    write_atomic(out, "two")
    assert out.read_text() == "two"
    with pytest.raises(FileExistsError):
        write_atomic(out, "three", overwrite=False)
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        write_atomic(tmp_path / "dangling", "", overwrite=False)
    with pytest.raises(ZeroDivisionError), replacing(out) as temporary:
        temporary.write_text(str(1 / 0))
    with pytest.raises(FileExistsError), replacing(tmp_path / "late", overwrite=False) as temporary:
        (tmp_path / "late").write_text("another process was first")
    assert (tmp_path / "late").read_text() == "another process was first"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for strange in ("pipe", "null"):
        with pytest.raises(OSError, match="no regular file"):
            write_atomic(tmp_path / strange, "")
    assert names(tmp_path) == ["dangling", "late", "null", "out", "pipe"]
    assert out.stat().st_nlink == 1
    write_atomic(tmp_path / "new", "", overwrite=False)
    assert ((tmp_path / "new").stat().st_mode, (tmp_path / "new").stat().st_nlink) == (out.stat().st_mode, 1)


def fill(new: Path, text: str) -> None:
    new.mkdir()
    (new / "file").write_text(text)


def put(out: Path, text: str, *, overwrite: bool = False) -> None:
    with workplace(out) as new:
        fill(new, text)
        install(new, out, overwrite=overwrite)


def test_a_folder_takes_its_place_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text, overwrite in (("one", False), ("two", True)):
        put(out, text, overwrite=overwrite)
        assert (out / "file").read_text() == text
    for strange in ("file", "link"):
        (tmp_path / "file").write_text("")
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(out)
        with pytest.raises(FileExistsError):
            put(tmp_path / strange, "")
    with pytest.raises(FileExistsError):
        put(out, "three")
    (tmp_path / "empty").mkdir()
    put(tmp_path / "empty", "four")
    assert (tmp_path / "empty" / "file").read_text() == "four"
    assert names(tmp_path) == ["empty", "file", "link", "out"]
    assert (out / "file").read_text() == "two"


def test_an_old_folder_is_put_back_where_the_new_one_cannot_be_placed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "old")

    def fail_between() -> None:
        with workplace(out) as new:
            fill(new, "new")
            os.rename(out, new.parent / "old")
            raise OSError

    with pytest.raises(OSError, match=r"^$"):
        fail_between()
    assert (out / "file").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_what_a_kill_left_is_swept_and_what_is_being_made_is_not(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with replacing(out) as own, workplace(out) as new:
        for context in (replacing, workplace):

            def cut_off(context=context) -> None:
                with context(out):
                    os.kill(os.getpid(), signal.SIGKILL)

            left_by_a_kill(cut_off)
        assert len(names(tmp_path)) == 3  # the second swept what the first left
        assert all(is_temporary(name) for name in names(tmp_path))
        sweep(out)
        assert names(tmp_path) == sorted((own.name, new.parent.name))
    assert names(tmp_path) == ["out"]


def test_what_was_cut_off_between_two_renames_is_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "old")

    def cut_off() -> None:
        with workplace(out) as new:
            fill(new, "new")
            os.rename(out, new.parent / "old")
            os.kill(os.getpid(), signal.SIGKILL)

    left_by_a_kill(cut_off)
    assert len(names(tmp_path)) == 1
    sweep(out)
    assert (out / "file").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_nothing_of_another_name_is_touched(tmp_path: Path) -> None:
    out, digits = tmp_path / "out", "0123456789abcdef"
    others = [
        ".out.new",
        ".out.old",
        ".out.1.tmp",
        f".outer{MARK}{digits}",
        f".out{MARK}{digits}0",
        f"out{MARK}{digits}",
    ]
    for name in others:
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / f".out{MARK}{digits}")
    (tmp_path / f".out{MARK}{digits[::-1]}").symlink_to(tmp_path / ".out.old")
    before = names(tmp_path)
    write_atomic(out, "")
    assert names(tmp_path) == sorted([*before, "out"])
