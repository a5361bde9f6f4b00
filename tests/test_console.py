"""What is printed where, and how."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from snnq import console
from snnq.base.errors import DataError
from snnq.console.live import Parts


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
    assert shown.startswith("x" * 40 + "end\n")


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


LAYERS = [
    (f"block.{i}.attn.proj_conv", "power-of-two-2", "61,200", "12,345.678", "integers", "999.99", f"{i}.00", "17.44")
    for i in range(3)
]
HEADS = ("layer", "scheme", "weights", "MACs M", "input", "KiB", "energy nJ", "energy %")


@pytest.mark.parametrize("width", [200, 80, 60, 40, 20])
def test_names_and_numbers_are_never_cut_and_lines_never_longer_than_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    console.table("What each layer takes, by the paper's model", HEADS, LAYERS)
    lines = capsys.readouterr().out.splitlines()
    words = [line.split() for line in lines]
    for row in LAYERS:
        own = [one for one in words if row[0] in one]
        assert own, f"{row[0]} is cut"
        assert {cell for one in own for cell in one} == set(row)
    if width >= 40:
        assert max(map(len, lines)) <= width
    parts = sum("layer" in one for one in words if LAYERS[-1][0] not in one and "What" not in one)
    assert parts >= 1 + (width < 100)  # what there is no room for goes on below, with its names


def test_sentences_fold_between_words_and_numbers_beside_them_stay_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    said = "a sentence that is far longer than what is left of the sixty columns of this terminal, and goes on"
    console.table("", ("what", "value", "count"), [("energy", said, "61,200"), ("rates", "12.5 " * 30, "1 of 16")])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 60
    assert all(word in shown.split() for word in (*said.split(), "61,200", "12.5"))
    assert "1 of 16" in shown


def test_not_measured_does_not_turn_numbers_into_words(capsys):
    console.table("", ("plan", "val. %"), [("this plan", "not measured"), ("uniform-4", "99.26")])
    assert "uniform-4          99.26" in capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 60, 30])
def test_blocks_fit_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    name = "a.module.path.that.is.long"
    console.blocks("Layers", [(name, [(f"layer{i}", "p4", "#246799") for i in range(9)])])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= max(width, 2 + len(name))
    assert name in "".join(lines)
    assert all(f"layer{i}[p4]" in "".join(lines) for i in range(9))
