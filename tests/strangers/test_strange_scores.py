"""Strange plans and run folders: scores of something else, runs that are elsewhere, are not one, or never end."""

from __future__ import annotations

import json
import os
from typing import Any

from strange_inputs import Row, check, rows

MARK = "a" * 64


def plan(folder, name="plan.json", run=None, **changes):
    """Write a searched plan of one layer beside uniform-2, and return its name."""
    layer = {"name": "head", "group": "head", "kind": "linear", "shape": [10, 16], "macs": 160, "multiplications": 160}
    layer |= {"input": "spikes", "scheme": "uniform-4", "searched": "uniform-4"}
    search = {"method": "paper", "seed": 0, "epochs": 1, "space": ["uniform-2", "uniform-4"], "fingerprint": MARK}
    search |= {"validation_accuracy": 0.9876, "validation_loss": 0.4321, "data_sha256": "d", "run": run}
    data = {
        "schema_version": 1,
        "tool": "snnq 0.1.0",
        "model": {"architecture": "spikformer-cifar10dvs", "layout": "cifar10dvs", "config": {}},
        "data": {"spec": "digits", "sha256": "d", "classes": ["0", "1"]},
        "search": search,
        "cost_table": {"name": "horowitz-45nm", "sha256": "0"},
        "layers": [layer],
        "baselines": [{"scheme": "uniform-2", "validation_loss": 0.1234, "validation_accuracy": 0.75}],
    }
    for path, value in changes.items():
        place: Any = data
        *way, last = path.split("__")
        for key in way:
            place = place[int(key)] if isinstance(place, list) else place[key]
        place[last] = value
    (folder / name).write_text(json.dumps(data))
    return name


def show(folder, **changes):
    return ["plan", "show", plan(folder, **changes)]


def solve(folder, **changes):
    return ["plan", "solve", plan(folder, **changes), "--budget", "avg-bits=2.5"]


def run_at(path):
    return {"path": path, "fingerprint": MARK}


def piped(folder, name):
    (folder / "plan.json.run").mkdir()
    os.mkfifo(folder / "plan.json.run" / name)
    return folder


def scores(folder, text):
    (folder / "own.run").mkdir()
    (folder / "own.run/scores.json").write_text(text)
    return ["plan", "solve", "own.run", "--budget", "avg-bits=2.5"]


def has(*words):
    def look(folder, output):
        assert all(word in output for word in words)

    return look


def lacks(*words):
    def look(folder, output):
        assert not any(word in output for word in words)

    return look


NOT_FOUND = "the run folder of its search is not beside it"
UNMEASURED = lacks("98.76", "0.4321")
TABLE = (
    Row("a plan as it was searched", show, 0, "this plan 4.000 .* 98.76 0.4321"),
    Row(
        "a scheme changed by hand",
        lambda folder: show(folder, layers__0__scheme="uniform-8"),
        0,
        "this plan 8.000 .* not measured",
        UNMEASURED,
    ),
    Row(
        "a record of what was searched taken away",
        lambda folder: show(folder, layers__0__searched=None),
        0,
        "not measured",
        UNMEASURED,
    ),
    Row(
        "other data written into the plan",
        lambda folder: show(folder, data__sha256="e"),
        0,
        "",
        lacks("98.76", "0.4321", "0.1234", "75.00"),
    ),
    Row(
        "no data at all",
        lambda folder: show(folder, data=None),
        0,
        "",
        lacks("98.76", "0.1234"),
    ),
    Row(
        "a diff with the edited plan",
        lambda folder: ["plan", "diff", plan(folder), plan(folder, "b.json", layers__0__scheme="uniform-2")],
        0,
        "searched accuracy % 98.76 not measured -",
    ),
    Row(
        "a baseline for other layers",
        lambda folder: show(folder, baselines=[{"scheme": "sensitivity", "schemes": {"tail": "uniform-2"}}]),
        2,
        "baselines: the schemes of 'sensitivity' are not for these layers: head is missing there",
    ),
    Row(
        "a difference of no samples",
        lambda folder: show(
            folder, baselines=[{"scheme": "uniform-2", "difference": {"samples": 0, "only_this": 0, "only_other": 0}}]
        ),
        2,
        "baselines.0.difference.samples",
    ),
    Row("a plan without its run", solve, 2, NOT_FOUND),
    Row("a run that is elsewhere", lambda folder: solve(folder, search__run=run_at("far.run")), 2, "not at far.run"),
    Row(
        "a run that is a device",
        lambda folder: solve(folder, search__run=run_at("/dev/zero")),
        2,
        NOT_FOUND,
        None,
        500,
        10,
    ),
    Row("a run of no path", lambda folder: solve(folder, search__run=run_at("\0")), 2, NOT_FOUND),
    Row("a run of an endless path", lambda folder: solve(folder, search__run=run_at("x" * 10**5)), 2, NOT_FOUND),
    Row(
        "a fingerprint that is a path",
        lambda folder: solve(folder, search__fingerprint="../../../etc/passwd"),
        2,
        NOT_FOUND,
    ),
    Row("a pipe as a run's settings", lambda folder: solve(piped(folder, "config.json")), 2, NOT_FOUND, None, 500, 10),
    Row(
        "a pipe as scores",
        lambda folder: ["plan", "solve", str(piped(folder, "scores.json") / "plan.json.run"), "--front", "f.csv"],
        2,
        "scores.json",
        None,
        500,
        10,
    ),
    Row(
        "scores that are nested without end",
        lambda folder: scores(folder, "[" * 10**5),
        2,
        "scores.json cannot be read",
    ),
    Row("scores that are a list", lambda folder: scores(folder, "[]"), 2, "scores.json cannot be read"),
    Row("a plan without a search", lambda folder: solve(folder, search=None), 2, "was not made by a search"),
)


@rows(*TABLE)
def test_scores_are_of_what_they_say_or_not_there(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)
