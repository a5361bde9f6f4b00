"""Where an export goes, and that nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from snnq.base.errors import OutputExistsError, UsageError
from snnq.exporting.run import check_free, default_place, file_sizes, put


def a_file(text: str):
    return lambda new: new.write_text(text)


def a_folder(*names: str):
    def write(new: Path) -> None:
        new.mkdir()
        for name in names:
            (new / name).write_text("new")

    return write


def test_the_default_place_is_beside_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_place(Path("a/packed"), ".onnx") == Path("a/packed.onnx")
    assert default_place(Path("packed"), "-c") == Path("packed-c")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert default_place(Path("."), ".nir") == tmp_path / "here.nir"


def test_what_is_there_stays_without_force(tmp_path: Path) -> None:
    out = tmp_path / "a.onnx"
    check_free(out, tmp_path / "packed", force=False)
    out.write_text("old")
    with pytest.raises(OutputExistsError, match="already there") as caught:
        check_free(out, tmp_path / "packed", force=False)
    assert "--force" in caught.value.hint
    check_free(out, tmp_path / "packed", force=True)
    (tmp_path / "empty").mkdir()
    check_free(tmp_path / "empty", tmp_path / "packed", force=False)


def test_never_over_the_packed_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "packed").mkdir()
    with pytest.raises(UsageError, match="packed folder itself"):
        check_free(tmp_path / "x" / ".." / "packed", tmp_path / "packed", force=True)


def test_files_and_folders_are_put_and_replaced(tmp_path: Path) -> None:
    put(tmp_path / "new" / "a.onnx", a_file("1"), force=True)
    put(tmp_path / "new" / "a.onnx", a_file("22"), force=True)
    assert file_sizes(tmp_path / "new" / "a.onnx") == {"a.onnx": 2}
    out = tmp_path / "folder"
    out.mkdir()
    put(out, a_folder("a"), force=True)
    put(out, a_folder("a", "b"), force=True)
    assert file_sizes(out) == {"a": 3, "b": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "new"]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "folder"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    with pytest.raises(OutputExistsError, match=r"thesis\.tex"):
        put(out, a_folder("a"), force=True)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "thesis.tex"]


@pytest.mark.parametrize(("there", "write"), [("file", a_folder("a")), ("folder", a_file("x"))])
def test_a_file_is_no_folder(tmp_path: Path, there: str, write) -> None:
    out = tmp_path / "out"
    out.mkdir() if there == "folder" else out.write_text("old")
    with pytest.raises(OutputExistsError, match=f"is a {there}"):
        put(out, write, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_target_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(new: Path) -> None:
        a_folder("a")(new)
        raise ValueError("no")

    out = tmp_path / "out"
    put(out, a_folder("a"), force=True)
    with pytest.raises(ValueError, match="no"):
        put(out, fail, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert file_sizes(out) == {"a": 3}


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        put(tmp_path / "file" / "out", a_file("x"), force=True)


@pytest.mark.parametrize("write", [a_file("x"), a_folder("a")], ids=["file", "folder"])
def test_of_two_at_once_one_is_told(tmp_path: Path, write) -> None:
    out = tmp_path / "out"

    def late(new: Path) -> None:
        write(new)
        put(out, write, force=False)  # another process is done first

    with pytest.raises(OutputExistsError, match="already there"):
        put(out, late, force=False)
    put(out, write, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
