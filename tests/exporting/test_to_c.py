"""What ``--to c`` writes: a program that reads frames, names that stay in comments, and sizes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_programs import compile_c
from lively import write_lively

from snnq.cli.main import run
from snnq.exporting.c_names import c_name, c_note
from snnq.exporting.run import export
from snnq.packed.arrays import open_arrays
from snnq.runtime import Engine


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc on this machine")
def test_the_program_beside_it_reads_frames(tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", ["uniform-2", "float32"])
    place = tmp_path / "packed-c"
    export(tmp_path / "packed", "c")
    assert sorted(path.name for path in place.iterdir()) == ["CMakeLists.txt", "main.c", "packed.c", "packed.h"]
    compile_c(place, "-O1", "packed.c", "main.c", "-o", "main")
    due = Engine(tmp_path / "packed")(frames)
    for words in ([], ["step"]):
        given = frames.astype("=u2").tobytes()
        said = subprocess.run([place / "main", *words], input=given, capture_output=True, check=True)
        found = np.array([line.split() for line in said.stdout.decode().splitlines()], np.int64)
        assert found[:, 0].tolist() == due.argmax(1).tolist()
        assert np.array_equal((found[:, 1:] * open_arrays(tmp_path / "packed").head().scale).astype(np.float32), due)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake on this machine")
def test_it_is_built_by_cmake(tmp_path: Path) -> None:
    write_lively(tmp_path / "packed", ["uniform-2"])
    export(tmp_path / "packed", "c")
    for words in (["-S", "packed-c", "-B", "build"], ["--build", "build"]):
        subprocess.run(["cmake", *words], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "build/packed_main").exists()


def test_names_of_strangers_stay_in_their_comments(tmp_path: Path) -> None:
    assert c_name("../My Mödel*/ v2") == "my_m_del_v2"
    assert c_name("2-bit") == "net_2_bit"
    assert c_name("***") == "network"
    for text in ("a */ int main() {", "x \\", "// y", "??/", "line\nbreak", "café"):
        found = c_note(text)
        assert "*/" not in found
        assert "\n" not in found
        assert "??" not in found
        assert not found.endswith("\\")
        assert found.isascii()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lively(tmp_path / "my model", ["uniform-2"])
    assert run(["export", str(tmp_path / "my model"), "--to", "c"]) == 0
    names = sorted(path.name for path in (tmp_path / "my model-c").iterdir())
    assert names == ["CMakeLists.txt", "main.c", "my_model.c", "my_model.h"]
    assert "working memory" in "".join(capsys.readouterr())
    assert run(["export", str(tmp_path / "my model"), "--to", "c"]) == 2
