"""Special files, sizes beyond all memory, foreign files in the way, and surroundings that fail."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import limited
import pytest
from strange_inputs import Row, check, rows
from tiny_checkpoints import TINY, save_tiny

UNIFORM = ["plan", "uniform", TINY, "--scheme", "uniform-2"]
LIMITS = {"memory_mib": 700, "seconds": 20.0}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a plan, a packed folder and the run that made it; what a row breaks is copied from here."""
    folder = tmp_path_factory.mktemp("made")
    save_tiny(folder)
    for words in (
        [*UNIFORM, "--out", "plan.json"],
        ["ptq", TINY, "--scheme", "uniform-4", "--method", "rtn", "--samples", "16", "--measure", "2"],
    ):
        code, said = limited.run(words, folder, seconds=100)
        assert code == 0, said
    return folder


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def instead(name: str, put: Callable[[Path], object], *words: str) -> Callable[[Path], list[str]]:
    """Put something in the place of a file of ``made``, and type the words."""

    def make(folder: Path) -> list[str]:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        put(path)
        return list(words)

    return make


def edited(name: str, change: Callable[[dict], object], *words: str) -> Callable[[Path], list[str]]:
    """Change the JSON of a file of ``made``, and type the words."""

    def make(folder: Path) -> list[str]:
        data = json.loads((folder / name).read_text())
        change(data)
        (folder / name).write_text(json.dumps(data))
        return list(words)

    return make


def sizes(*words: str, **found: object) -> Callable[[Path], list[str]]:
    """Write other sizes into both files of the packed folder that tell them, with hashes made right."""

    def make(folder: Path) -> list[str]:
        plan, config = folder / "packed/plan.json", folder / "packed/config.json"
        data = json.loads(plan.read_text())
        data["model"]["config"].update(found)
        plan.write_text(json.dumps(data))
        data = json.loads(config.read_text())
        data["config"].update(found)
        data["sha256"] = {
            name: hashlib.sha256((folder / "packed" / name).read_bytes()).hexdigest()
            for name in ("model.safetensors", "plan.json")
        }
        config.write_text(json.dumps(data))
        return list(words)

    return make


def table_of_a_stranger(folder: Path) -> list[str]:
    """Let a packed folder with right hashes name a pipe as its cost table."""
    os.mkfifo(folder / "table.toml")
    config = folder / "packed/config.json"
    plan = folder / "packed/plan.json"
    data = json.loads(plan.read_text())
    data["cost_table"]["source"] = "table.toml"
    plan.write_text(json.dumps(data))
    data = json.loads(config.read_text())
    data["sha256"] = {
        name: hashlib.sha256((folder / "packed" / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "plan.json")
    }
    config.write_text(json.dumps(data))
    return ["report", "packed"]


def many_layers(data: dict) -> None:
    data["layers"] = [data["layers"][0] | {"name": f"layer.{number}"} for number in range(20_000)]


NO_FILE = "it is no regular file"
SPECIAL = tuple(
    Row(f"{name} is a {kind}", instead(name, put, *words), code, said, **LIMITS)
    for kind, put in (("pipe", pipe), ("device", endless))
    for name, words, code, said in (
        ("plan.json", ("plan", "show", "plan.json"), 2, rf"plan\.json: cannot read this plan \({NO_FILE}"),
        ("plan.json", ("finalize",), 2, NO_FILE),
        ("table.toml", ("cost", "show", "table.toml"), 2, rf"table\.toml: cannot read this cost table \({NO_FILE}"),
        ("packed/config.json", ("verify",), 2, rf"config\.json: cannot be read \({NO_FILE}"),
        ("packed/plan.json", ("verify", "--files-only"), 2, rf"plan\.json: cannot be read \({NO_FILE}"),
        ("packed/report.json", ("report",), 2, rf"report\.json: cannot be read \({NO_FILE}"),
        ("packed/model.safetensors", ("verify", "--files-only"), 2, NO_FILE),
        ("packed/config.json", ("finalize", "--start", "packed", "--out", "other"), 2, NO_FILE),
        ("packed.run/scores.json", ("plan", "solve", "packed.run", "--budget", "avg-bits=3"), 2, NO_FILE),
        ("packed.run/config.json", ("ptq", "digits", "--scheme", "uniform-2", "--out", "packed", "--force"), 0, ""),
        ("page.html", ("report", "packed", "--out", "page.html"), 2, NO_FILE),
        ("new.json", (*UNIFORM, "--out", "new.json", "--force"), 2, "no regular file"),
        ("run", ("search", TINY, "--run", "run", "--out", "s.json"), 2, "run is not a folder"),
    )
    if name != "packed.run/config.json"
)

NAMED = (
    Row("a plan names a pipe as its cost table", table_of_a_stranger, 2, NO_FILE, **LIMITS),
    Row(
        "a plan names a device as its checkpoint",
        edited("plan.json", lambda plan: plan["model"].update(checkpoint="/dev/zero", sha256=None), "finalize"),
        2,
        "/dev/zero",
        **LIMITS,
    ),
    Row(
        "a cost table of a gigabyte",
        instead("table.toml", lambda path: (path.touch(), os.truncate(path, 2**30)), "cost", "show", "table.toml"),
        2,
        "bytes; more than 1,048,576 are not read",
        **LIMITS,
    ),
    Row(
        "a plan of a terabyte",
        instead("plan.json", lambda path: (path.touch(), os.truncate(path, 2**40)), "plan", "show", "plan.json"),
        2,
        "bytes; more than 67,108,864 are not read",
        **LIMITS,
    ),
)

SOLVE = ("plan", "solve", "--budget", "avg-bits=3")
DEEP = "[" * 100_000 + "]" * 100_000
NESTED = (
    Row(
        "nested scores",
        instead("run/scores.json", lambda path: path.write_text(DEEP), *SOLVE, "run"),
        2,
        "nested more than 64 deep",
        **LIMITS,
    ),
    Row(
        "a nested plan",
        instead("plan.json", lambda path: path.write_text(DEEP), "plan", "show", "plan.json"),
        2,
        "nested more than 64 deep",
        **LIMITS,
    ),
    Row(
        "a nested report",
        instead("packed/report.json", lambda path: path.write_text(DEEP), "report"),
        2,
        r"report\.json: ",
        **LIMITS,
    ),
    Row(
        "a nested cost table",
        instead("table.toml", lambda path: path.write_text(f"a = {DEEP}"), "cost", "show", "table.toml"),
        2,
        "nested too deeply",
        **LIMITS,
    ),
)

VERIFY = ("verify", "packed")
SIZES = (
    Row("a billion steps", sizes(*VERIFY, steps=10**9), 2, r"config\.json: steps 1000000000", **LIMITS),
    Row("many pixels", sizes(*VERIFY, image_size=[3000, 3000]), 2, r"config\.json: .*3000x3000", **LIMITS),
    Row("20 000 time steps", sizes(*VERIFY, steps=20_000), 0, "random samples of 64 time steps", None, 700, 60.0),
    Row(
        "a billion steps to eval",
        sizes("eval", "packed", steps=10**9),
        2,
        r"config\.json: steps 1000000000",
        **LIMITS,
    ),
    Row("giant images", sizes(*VERIFY, image_size=[10**5, 10**5]), 2, r"config\.json: .*100000x100000", **LIMITS),
    Row("a billion features", sizes(*VERIFY, dim=10**9), 2, "", **LIMITS),
    Row("a billion classes", sizes(*VERIFY, classes=10**9), 2, "", **LIMITS),
    Row("an infinite MLP", sizes(*VERIFY, mlp_ratio=1e300), 2, "", **LIMITS),
    Row("a billion blocks", sizes(*VERIFY, depth=10**9), 2, "depth", **LIMITS),
)


def layer(**found: object) -> Callable[[dict], object]:
    return lambda plan: plan["layers"][0].update(found)


SHOW = ("plan", "show", "plan.json")
PLANS = (
    Row("macs of 2^63", edited("plan.json", layer(macs=2**63), *SHOW), 2, "macs", **LIMITS),
    Row("macs of another model", edited("plan.json", layer(macs=7), "finalize"), 2, "macs is 7 in the plan", **LIMITS),
    Row("a giant shape", edited("plan.json", layer(shape=[2**40] * 4), *SHOW), 2, "weights, at most", **LIMITS),
    Row("20 000 layers", edited("plan.json", many_layers, *SHOW), 2, "20,000 layers, at most 10,000", **LIMITS),
)


def typed(*words: str) -> Callable[[Path], list[str]]:
    return lambda folder: list(words)


TYPED = tuple(
    Row(" ".join(words), typed(*words), 2, said, seconds=15.0)
    for words, said in (
        *((("search", "--trade-off", value), "--trade-off is") for value in ("nan", "inf", "1e999", "-1")),
        (("search", "--trade-off", "head=nan"), "--trade-off is nan"),
        (("search", "--trade-off", "1", "--trade-off", "2"), "given twice"),
        (("search", "--trade-off", "head=1", "--trade-off", "head=2"), "'head' is given twice"),
        (("search", "--budget", "avg-bits=2.2", "avg-bits=3"), "'avg-bits' is given twice"),
        (("search", "--budget", "avg-bits=nan"), "give a number above 0"),
        (("search", "--budget", "avg-bits=1e999"), "give a number above 0"),
        (("search", "--budget", "energy-uj=1e308"), "give a number above 0"),
        (("search", "--budget", "avg-bits=-1"), "give a number above 0"),
        (("search", "--space", "uniform-2,uniform-4", "--space", "uniform-3,uniform-4"), "given twice"),
        (("search", "--lock", "head=uniform-2", "--lock", "head=uniform-4"), "'head' is given twice"),
        (("search", "--seed", str(2**64)), "--seed"),
        (("search", "--epochs", "-1"), "--epochs -1"),
        (("finalize", "--distillation", "nan"), "--distillation is nan"),
        (("finalize", "--distillation", "inf"), "--distillation is inf"),
        (("finalize", "--seed", str(-(2**64))), "--seed"),
        (("finalize", "--augment", "mixup:alpha=nan"), "alpha"),
        (("ptq", "digits", "--scheme", "uniform-2", "--memory-mib", "-1"), "--memory-mib -1"),
        (("ptq", "digits", "--scheme", "uniform-2", "--samples", "0"), "--samples 0"),
        (("graft", "digits", "--chunk", "2", "--out", "g.safetensors", "--scale", "inf"), "attention_scale"),
        (("graft", "digits", "--chunk", "2", "--out", "g.safetensors", "--scale", "nan"), "attention_scale"),
    )
)


def foreign(*names: str, words: list[str]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("years of work")
        return words

    return make


def untouched(*names: str) -> Callable[[Path, str], None]:
    def look(folder: Path, output: str) -> None:
        for name in names:
            assert (folder / name).read_text() == "years of work"

    return look


def keeps(name: str, *files: str, words: list[str], code: int = 2, said: str = "") -> Row:
    return Row(name, foreign(*files, words=words), code, said, untouched(*files))


PTQ = ["ptq", TINY, "--scheme", "uniform-4", "--method", "rtn", "--samples", "16", "--measure", "0"]
FOREIGN = (
    keeps(
        "folders of the names that were temporary",
        *(".other.new/thesis.tex", ".other.old/thesis.tex", ".other.run.new/a", ".plan.json.1.tmp"),
        words=[*PTQ, "--out", "other"],
        code=0,
    ),
    keeps(
        "a run folder of somebody else",
        "run/state.pt",
        words=["search", "--run", "run", "--out", "s.json"],
        said="no config.json",
    ),
    keeps(
        "with force",
        "run/state.pt",
        words=["search", "--run", "run", "--out", "s.json", "--force"],
        said="no config.json",
    ),
    keeps("a page in the place of a text", "thesis.html", words=["report", "--out", "thesis.html"], said="no page of"),
    keeps("force on other folders", "other/README.md", words=[*PTQ, "--out", "other", "--force"], said="no"),
    keeps("an export over a folder", "c/thesis.tex", words=["export", "packed", "--to", "c", "--out", "c", "--force"]),
    keeps("a graft", "g", words=["graft", TINY, "--chunk", "2", "--out", "g"], said="already there"),
)


@rows(*SPECIAL, *NAMED, *NESTED, *SIZES, *PLANS, *TYPED, *FOREIGN)
def test_it_is_answered_in_words(row, made, tmp_path, monkeypatch, capfd):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    check(row, tmp_path, monkeypatch, capfd)


def test_a_device_is_never_replaced(tmp_path, monkeypatch, capfd):
    save_tiny(tmp_path)
    monkeypatch.chdir(tmp_path)
    check(
        Row("null", typed(*UNIFORM, "--out", "/dev/null", "--force"), 2, "no regular file"),
        tmp_path,
        monkeypatch,
        capfd,
    )
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-", "2>/dev/full", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("words", [["--help"], UNIFORM], ids=" ".join)
def test_streams_that_nobody_takes(words, redirect, tmp_path):
    save_tiny(tmp_path)
    words = [*words, "--out", "plan.json"] if words is UNIFORM else words
    code, said = limited.run(words, tmp_path, redirect=redirect, seconds=20)
    lost = not redirect.startswith("2")
    assert code == (1 if lost else 0)
    assert "Traceback" not in said
    assert "please report" not in said
    if lost and "2>" not in redirect:
        assert "Error: stdout: cannot be written" in said
    assert words[0] != "plan" or (tmp_path / "plan.json").exists()  # the work is done


def _heed_ctrl_c() -> None:
    """A shell starts what it puts into the background deaf to Ctrl-C, these tests perhaps."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("seconds", [0.3, 1.0])
def test_ctrl_c_is_no_traceback(seconds, tmp_path):
    words = [sys.executable, "-c", "from snnq.cli.main import main; main()", "search", "digits", "--epochs", "500"]
    process = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_heed_ctrl_c
    )
    try:
        time.sleep(seconds)  # while something is imported
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert (process.returncode, said) == (130, "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "mib", "code", "said"),
    [
        (PTQ, 0.02, 1, "the run cannot be saved"),
        ([*UNIFORM, "--out", "plan.json"], 0.001, 2, r"plan\.json: cannot write this plan"),
        (["graft", TINY, "--chunk", "2", "--out", "g.safetensors"], 0.01, 2, "cannot be written"),
    ],
    ids=["ptq", "uniform", "graft"],
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(words, mib, code, said, tmp_path):
    save_tiny(tmp_path)
    found, output = limited.run(words, tmp_path, file_mib=mib, seconds=60)
    assert found == code, output
    check_words(said, output)
    left = {path.name for path in tmp_path.rglob("*")}
    assert left <= {TINY, "packed.run", "config.json", "settings.json", "state.pt", "metrics.jsonl"}
    code, output = limited.run(words, tmp_path, seconds=60)  # there is room again
    assert code == 0, output


def check_words(said: str, output: str) -> None:
    assert re.search(said, " ".join(output.split())), output
    assert not re.search("Traceback|please report it|inline_container|weights_only", output), output


@pytest.mark.parametrize(
    "words",
    [
        ["search", TINY, "--out", "/proc/plan.json"],
        ["search", TINY, "--out", "plan.json", "--run", "/proc/run"],
        [*PTQ, "--out", "/proc/packed"],
        [*UNIFORM, "--out", "/proc/plan.json"],
        ["graft", TINY, "--chunk", "2", "--out", "/proc/g.safetensors"],
        ["demo", "/proc/demo"],
        ["search", TINY, "--out", "/dev/null/plan.json"],
    ],
    ids=" ".join,
)
def test_a_place_that_cannot_be_written_is_said_before_the_work(words, tmp_path):
    save_tiny(tmp_path)
    code, said = limited.run(words, tmp_path, seconds=20)
    assert code == 2, said
    check_words(r"/proc/|/dev/null/", said)
