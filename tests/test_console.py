"""What is printed where, and how."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from snnq import console
from snnq.console.live import Parts
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


def test_what_the_rooms_log_is_a_note_while_a_command_runs(capsys):
    log = logging.getLogger("snnq.data.open")
    with console.remarks_shown():
        log.info("12 files of %s", "train")
        log.warning("3 of them are in test, too")
        log.debug("nobody asked")
    log.info("from Python")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "12 files of train\nWarning: 3 of them are in test, too\n"


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


def test_blocks_fold_and_never_say_it_by_colour_alone(capsys):
    rows = [
        ("block.0.attn", [(f"layer{i}", "u2", "#246799") for i in range(8)]),
        ("(top)", [("head", "p4", "#f09030")]),
    ]
    console.blocks("Layers", rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Layers"
    assert lines[1].startswith("block.0.attn  layer0[u2]  layer1[u2]")
    assert lines[2].startswith(" " * 14 + "layer5[u2]")
    assert lines[3] == "(top)         head[p4]"
    assert max(map(len, lines)) <= 80
    console.blocks("", [("x" * 40 + "end", [("\x1b[2J", "u2", "#246799")])])
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.startswith("~" + "x" * 20 + "end")


def test_parts_of_facts_are_drawn_live_and_left_out_of_lines(capsys):
    with console.progress_view() as progress:
        progress("searching", 1, 9, bits=4.0, decided=1, **{"bits.mlp": 4.0, "decided.decided": "head uniform-4"})
    assert capsys.readouterr().err == "searching: 1/9  bits 4  decided 1\n"
    parts = Parts()
    parts.take("searching", {"bits": 4.0, "bits.mlp": 4.0, "bits.head": 8.0, "decided.decided": "head uniform-4"})
    assert parts.lines() == [
        "  bits 4",
        "  mlp      " + "█" * 15 + "░" * 15 + "   4.00 bits",
        "  head     " + "█" * 30 + "   8.00 bits",
        "  decided  head uniform-4",
    ]
    parts.take("searching", {"bits.mlp": 2.0})  # falling: to the scale of the largest seen
    assert parts.lines() == ["  mlp  " + "█" * 8 + "░" * 22 + "   2.00 bits"]
    parts.take("other", {})
    assert parts.lines() != []
    parts.take("other", {"loss": 1.0})
    assert parts.lines() == ["  loss 1"]
    parts.take("searching", {"bits.mlp": 2.0}, ended=True)
    assert parts.lines() == []
    parts.take("searching", {"bits.mlp": 0.0})
    assert parts.lines()[0].count("█") == 0


def test_documents_are_utf8_and_own_words_become_ascii(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    console.document("a → ü")
    console.out("a → ü")
    sys.stdout.flush()
    assert raw.getvalue() == "a → ü\na -> ?\n".encode()
