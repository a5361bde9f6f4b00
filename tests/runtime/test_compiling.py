"""Where the engine's machine code is kept: never where another user could have put it, and nowhere if need be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lively import write_lively

from snnq.runtime import Engine
from snnq.runtime.compiling import private_problem

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
# A small loop of its own, compiled as the engine's are, by a user without a home who cannot write beside the source.
LOOP = """
import os, sys
import numba, snnq.runtime.compiling as compiling
compiling._writable_source = lambda: False
def double(x):
    return 2 * x
print(compiling.compiled(double)(21), compiling.compiled(double)(4), repr(numba.config.CACHE_DIR))
"""
ENGINE = """
import sys
import numpy as np
from snnq.runtime import Engine
np.save(sys.argv[2], Engine(sys.argv[1])(np.load(sys.argv[1] + ".npy")))
"""
# A loop whose machine code has a number and a record of another file in it.
USING = """
from snnq.runtime.compiling import compiled
from snnq.others import FACTOR, one
@compiled
def loop(x, pair):
    return FACTOR * x + pair.b
print(loop(21, one))
"""
USED = """
from typing import NamedTuple
class {name}(NamedTuple):
    a: int
    b: int
FACTOR, one = {factor}, {name}(5, 1)
"""

posix = pytest.mark.skipif(os.name != "posix", reason="folders have no owners here")


def python(code, *words, **environment):
    """Run Python without a home; return what it printed to stdout and stderr."""
    bare = {key: value for key, value in os.environ.items() if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=bare | {"PYTHONPATH": str(ROOT), "HOME": "/proc/nowhere"} | environment,
        capture_output=True,
        text=True,
        timeout=280,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def loop(tmp_path, code=LOOP, **environment):
    file = tmp_path / "loop.py"  # numba keeps nothing of code without a file
    file.write_text(code)
    return python(f"import runpy; runpy.run_path({str(file)!r})", **environment)


@posix
def test_a_folder_of_the_cache_that_is_the_users_alone(tmp_path):
    out, errors = loop(tmp_path, SNNQ_CACHE=str(tmp_path / "cache"))
    assert out.split() == ["42", "8", "''"]
    assert not errors
    folder = tmp_path / "cache" / f"numba-{os.geteuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("*.nbc"))


@posix
@pytest.mark.parametrize("what", ["nowhere", "shared", "link", "another's"])
def test_elsewhere_nothing_is_kept_which_is_said_once(tmp_path, what):
    root = tmp_path / "cache"
    folder = root / f"numba-{os.geteuid()}"
    if what == "nowhere":
        root = Path("/proc/nowhere")
    elif what == "link":
        root.mkdir()
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "real")
    else:
        folder.mkdir(parents=True)
        folder.chmod(0o777 if what == "shared" else 0o700)
        if what == "another's":
            if os.geteuid() != 0:
                pytest.skip("only root gives folders away")
            os.chown(folder, NOBODY, NOBODY)
    out, errors = loop(tmp_path, SNNQ_CACHE=str(root))
    assert out.split()[:2] == ["42", "8"]
    assert errors.count("is compiled anew in every process") == 1
    assert not list(tmp_path.rglob("*.nbc"))


def test_after_an_upgrade_nothing_of_the_old_version_is_run(tmp_path):
    package = tmp_path / "snnq"
    (package / "runtime").mkdir(parents=True)
    shutil.copy(ROOT / "snnq/runtime/compiling.py", package / "runtime")
    (package / "loop.py").write_text(USING)
    for factor, name in ((2, "Pair"), (3, "Couple")):  # the file of the loop stays what it is
        (package / "others.py").write_text(USED.format(factor=factor, name=name))
        for _ in range(2):
            assert python("import snnq.loop", PYTHONPATH=str(tmp_path)) == (f"{factor * 21 + 1}\n", "")
    assert len(list(tmp_path.rglob("*.nbc"))) == 2  # each was kept


@posix
def test_what_another_user_can_write_is_not_private(tmp_path):
    user, folder = os.geteuid(), tmp_path / "folder"
    folder.mkdir(mode=0o700)
    assert private_problem(folder, user) is None
    assert "belongs to user" in str(private_problem(folder, user + 1))
    folder.chmod(0o720)
    assert "other users can write" in str(private_problem(folder, user))
    (tmp_path / "file").touch()
    assert "not a folder" in str(private_problem(tmp_path / "file", user))


@pytest.mark.slow  # everything is compiled again
@pytest.mark.timeout(600)
@pytest.mark.parametrize("processor", ["generic", None])
def test_without_vector_units_the_logits_are_the_same(tmp_path, processor):
    frames = write_lively(tmp_path / "packed", ["uniform-2", "power-of-two-4", "uniform-5", "float32"])
    np.save(tmp_path / "packed.npy", frames)
    named = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""} if processor else {}
    python(
        "import snnq.runtime.compiling as compiling; compiling._writable_source = lambda: False" + ENGINE,
        tmp_path / "packed",
        tmp_path / "logits.npy",
        SNNQ_CACHE=str(tmp_path / "cache"),
        **named,
    )
    assert np.array_equal(np.load(tmp_path / "logits.npy"), Engine(tmp_path / "packed")(frames))
