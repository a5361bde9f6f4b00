from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from snnq.base.errors import DataError
from snnq.base.progress import silent
from snnq.data import fingerprint
from snnq.data.fingerprint import hash_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_bytes(b"one")
    (root / "sub" / "b").write_bytes(b"two!")
    return root


def hashed(root: Path, cache: Path) -> str:
    return hash_files(root, [root / "a", root / "sub" / "b"], cache, silent).total


def test_golden(root: Path, tmp_path: Path) -> None:
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"one", b"two!"))
    text = f"a\0003\0{one}\nsub/b\0004\0{two}\n"
    assert hashed(root, tmp_path / "cache") == hashlib.sha256(text.encode()).hexdigest()


def test_content_and_names_count_and_the_place_does_not(root: Path, tmp_path: Path) -> None:
    before = hashed(root, tmp_path / "cache")
    moved = root.rename(tmp_path / "elsewhere")
    assert hashed(moved, tmp_path / "cache") == before
    (moved / "a").write_bytes(b"on3")
    os.utime(moved / "a", ns=(0, 0))
    changed = hashed(moved, tmp_path / "cache")
    (moved / "a").write_bytes(b"one")
    os.utime(moved / "a", ns=(1, 1))
    assert changed != before == hashed(moved, tmp_path / "cache")


def test_what_has_not_changed_is_not_read_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hashed(root, tmp_path / "cache")
    opened: list[Path] = []

    def spy(path: Path) -> bytes:
        opened.append(path)
        return path.read_bytes()

    monkeypatch.setattr(fingerprint, "read_regular", spy)
    assert hashed(root, tmp_path / "cache") == before
    assert opened == []
    os.utime(root / "a", ns=(5, 5))
    assert hashed(root, tmp_path / "cache") == before
    assert [path.name for path in opened] == ["a"]


@pytest.mark.parametrize("notes", ["", "[1]", '{"a": 3}', '{"a": [3, 1, 2]}', "\0"])
def test_damaged_notes_are_ignored(root: Path, tmp_path: Path, notes: str) -> None:
    before = hashed(root, tmp_path / "cache")
    (file,) = (tmp_path / "cache" / "hashes").iterdir()
    file.write_text(notes)
    assert hashed(root, tmp_path / "cache") == before


def test_a_cache_that_cannot_be_written_is_no_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert hashed(root, tmp_path / "file") == hashed(root, tmp_path / "cache")


def test_a_file_that_is_gone(root: Path, tmp_path: Path) -> None:
    (root / "a").unlink()
    with pytest.raises(DataError, match="a: cannot be read"):
        hashed(root, tmp_path / "cache")


def test_quick_hashes_tell_large_files_apart(tmp_path: Path) -> None:
    """A change anywhere is told but between the sampled parts; with the full hash it is told there, too."""
    (tmp_path / "set").mkdir()
    file = tmp_path / "set" / "a"
    content = np.random.default_rng(0).bytes(3 * 2**20 + 5)

    def both(data: bytes, number: int) -> list[str]:
        file.write_bytes(data)
        os.utime(file, ns=(number, number))
        return [
            hash_files(file.parent, [file], tmp_path / "cache", silent, quick=quick).total for quick in (False, True)
        ]  # fmt: skip

    first = both(content, 1)
    assert first[0] != first[1]
    for number, at in enumerate([0, 2**14 - 1, 2**18 * 9 + 100, len(content) - 1], 2):
        changed = both(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], number)
        assert (changed[0] != first[0], changed[1] != first[1]) == (True, True)
    between = both(content[: 2**16] + bytes([content[2**16] ^ 1]) + content[2**16 + 1 :], 9)
    assert (between[0] != first[0], between[1] != first[1]) == (True, False)
    small = both(content[:1000], 10)
    assert small[0] == small[1]


def test_the_folder_one_stands_in_has_the_same_names(tmp_path, monkeypatch):
    for name in ("0", "1"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "a").write_bytes(name.encode() * 8)
    monkeypatch.chdir(tmp_path / "set")
    found = [
        hash_files(root, [root / "0" / "a", root / "1" / "a"], tmp_path / "cache", silent)
        for root in (Path(), tmp_path / "set")
    ]
    assert found[0] == found[1]
    assert len(set(found[0].files)) == 2
