"""What is printed where, and how."""

from __future__ import annotations

import json

import pytest

from snnq import console
from snnq.errors import DataError


def test_data_goes_to_stdout_and_the_rest_to_stderr(capsys):
    console.out("data")
    console.table("Title", ("name", "number"), [("a", "1.5"), ("b", None)])
    console.emit_json({"value": 1})
    data = capsys.readouterr()
    assert data.out.startswith("data\n")
    assert data.err == ""
    assert "Title" in data.out
    console.note("remark")
    console.next_step("snnq report")
    console.error(DataError("broken", "mend it"))
    rest = capsys.readouterr()
    assert rest.out == ""
    assert rest.err == "remark\nNext: snnq report\nError: broken\nHint: mend it\n"


def test_json_is_one_object_and_never_nan(capsys):
    console.emit_json({"a": [1, 2.5, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError, match="JSON"):
        console.emit_json({"a": float("nan")})


def test_control_characters_do_no_harm(capsys):
    console.note("red \x1b[31m bell \a")
    console.table("", ("name",), [("\x1b[2Jgone",)])
    shown = capsys.readouterr()
    assert "\x1b" not in shown.err + shown.out
    assert "\\x1b[31m" in shown.err


def test_a_wide_table_in_a_pipe_loses_nothing(capsys):
    cells = [f"column-{i}-with-a-long-value" for i in range(4)]
    console.table("", [f"c{i}" for i in range(4)], [cells])
    shown = capsys.readouterr().out
    assert all(cell in shown for cell in cells)


def test_sparse_progress_says_when_a_stage_begins_and_ends(capsys, monkeypatch):
    now = iter([0.0, 1.0, 2.0, 20.0, 21.0])
    monkeypatch.setattr("snnq.console.progress.time.monotonic", lambda: next(now))
    with console.progress_view() as progress:
        for done in (40, 41, 42, 60, 100):  # resumed at 40 of 100
            progress("training", done, 100, loss=0.25)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "training: 40/100  loss 0.25",
        "training: 60/100  0:40 left  loss 0.25",
        "training: 100/100  loss 0.25",
    ]
