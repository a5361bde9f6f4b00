"""Commands in Python: words refused by name, settings read again, the command line made of the same words."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
from tiny_checkpoints import DATA, TINY, save_tiny

import snnq
from snnq.base.errors import UsageError
from snnq.cli.app import app
from snnq.cli.main import run
from snnq.commands import compressing, editing, looking, planning, simulating
from snnq.commands.calling import one_list, read_settings, texts

FUNCTIONS = {
    name: one
    for room in (compressing, editing, looking, planning, simulating)
    for name, one in vars(room).items()
    if inspect.isfunction(one) and getattr(one, "__module__", "") == room.__name__ and not name.startswith("_")
}
# Words of the command line alone: how it prints, and what takes the place of a word.
TYPED_ONLY = {"context", "json", "format", "plan_option", "settings"}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: snnq.search("digits", epoch=1), r"search\(\) takes no 'epoch' \(did you mean 'epochs'"),
        (lambda: snnq.finalize(batchsize=1), r"takes no 'batchsize' \(did you mean 'batch_size'"),
        (lambda: snnq.search("digits", image_sise=16), r"takes no 'image_sise' \(did you mean 'image_size'"),
        (lambda: snnq.report(path="packed"), r"takes no 'path'.*; it takes folder"),
        (lambda: snnq.eval("digits", path_="x"), r"takes no 'path_' \(did you mean 'path'"),
    ],
)
def test_an_unknown_word_is_refused_by_name(call, said):
    with pytest.raises(TypeError, match=said):
        call()


def test_every_public_function_is_there_and_says_what_it_does():
    assert {*FUNCTIONS} - {"bench_search"} <= {*snnq.__all__}
    assert {*snnq.__all__} <= {*dir(snnq)}
    for name in snnq.__all__:
        assert getattr(snnq, name).__doc__
    with pytest.raises(AttributeError, match="serch"):
        snnq.serch  # noqa: B018


COMMANDS = [one.callback for one in app.registered_commands if one.callback]


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.__name__ in FUNCTIONS])
def test_a_command_line_takes_the_words_of_its_function(command):
    name = command.__name__
    typed = {*inspect.signature(command).parameters} - TYPED_ONLY
    due = {*inspect.signature(FUNCTIONS[name]).parameters} - {"progress", "settings"}
    alone = {"accel": {"toml", "out"}, "inspect": {"cost_table", "out"}, "eval": {"input"}, "report": {"paths", "out"}}
    assert typed - due == alone.get(name, set())
    assert due - typed <= {"folder"}  # of report: the first of its paths


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        (None, ()),
        ("head=uniform-4", ("head=uniform-4",)),
        (
            {"head": "uniform-4", "block.0": ("uniform-2", "uniform-4")},
            ("head=uniform-4", "block.0=uniform-2,uniform-4"),
        ),
        (0.25, ("0.25",)),
        ([["q", "k"], "fc1,fc2"], ("q,k", "fc1,fc2")),
    ],
)
def test_values_are_what_is_typed(value, typed):
    assert texts(value) == typed


def test_names_of_limits_have_dashes_and_a_list_of_schemes_is_one():
    assert texts({"avg_bits": 2.2, "energy": "10%"}, dashes=True) == ("avg-bits=2.2", "energy=10%")
    assert one_list(["uniform-2", "uniform-4"]) == ("uniform-2,uniform-4",)
    assert one_list(["uniform-2", "head=uniform-4,uniform-8"]) == ("uniform-2", "head=uniform-4,uniform-8")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_tiny(tmp_path)
    return tmp_path


def plan_of(path):
    plan = json.loads(Path(path).read_text())
    del plan["search"]["run"]
    return plan


def test_a_run_is_made_again_from_its_settings(tiny, capsys):
    few = "random,classes=3,samples=8"
    words = {"method": "sensitivity", "data": few, "batch_size": 8, "lock": {"head": "uniform-4"}, "seed": 3}
    made = snnq.search(TINY, budget={"avg_bits": 6}, **words)
    file = "plan.json.run/settings.json"
    said = json.loads(Path(file).read_text())
    assert said["command"] == "search"
    assert said["words"] | {"checkpoint": TINY, "budget": {"avg_bits": 6}, **words} == said["words"]
    assert said["words"]["epochs"] == 12  # what was left out, resolved

    assert run(["search", "--settings", file, "--out", "typed.json"]) == 0
    snnq.search(settings=file, out="called.json")
    assert plan_of("plan.json") == plan_of("typed.json") == plan_of("called.json")
    assert made.schemes()["head"] == "uniform-4"

    assert run(["search", "--settings", file, "--seed", "4", "--out", "other.json"]) == 0
    assert plan_of("other.json")["search"]["seed"] == 4
    assert run(["finalize", "--settings", file]) == 2
    assert "not of 'finalize'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"command": "search"}', '{"command": "search", "words": 3}'])
def test_what_is_no_file_of_settings_is_refused(tmp_path, text):
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(UsageError, match="not the settings of a run"):
        read_settings(tmp_path / "settings.json", "search", ())


def test_words_of_a_file_that_no_function_takes_are_refused(tiny):
    Path("settings.json").write_text('{"command": "search", "words": {"epoch": 1}}')
    with pytest.raises(UsageError, match=r"takes no 'epoch' \(did you mean 'epochs'"):
        snnq.search(settings="settings.json")
    assert run(["search", "--settings", "settings.json"]) == 2


def test_a_word_of_a_command_s_own_is_none_of_the_sizes(tiny):
    assert run(["graft", TINY, "--chunk", "2", "--out", "typed.safetensors"]) == 0
    assert snnq.graft(TINY, chunk=2, out="called.safetensors").chunk == 2
    assert Path("typed.safetensors").read_bytes() == Path("called.safetensors").read_bytes()


def test_compress_is_the_one_line(tiny):
    assert run(["compress", TINY, "--data", DATA, "--bits", "5", "--epochs", "1"]) == 0
    assert {"packed", "packed.plan.json"} <= {one.name for one in tiny.iterdir()}
    assert snnq.Plan.read("packed/plan.json").totals.avg_bits <= 5
