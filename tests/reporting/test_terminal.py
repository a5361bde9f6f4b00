"""What `snnq report` looks like on a terminal of 80 columns, in a pipe, without colours and in the C locale."""

from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import sys
import termios
import threading

import pytest

from snnq.cli.main import run

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that types a command on a terminal of 80 columns and returns all that it shows."""

    def typed(*words, encoding="utf-8"):
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        shown = []

        def read():
            while True:
                try:
                    data = os.read(master, 65536)
                except OSError:
                    return
                if not data:
                    return
                shown.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        with open(slave, "w", encoding=encoding) as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            patch.delenv("COLUMNS", raising=False)
            code = run(list(words))
        reader.join()
        os.close(master)
        assert code == 0
        return b"".join(shown).decode(encoding).replace("\r\n", "\n")

    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "LC_ALL", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    return typed


def lines_of(text):
    return ESCAPE.sub("", text).splitlines()


def test_80_columns_with_colours(terminal, packed, monkeypatch):
    monkeypatch.chdir(packed.parent)
    text = terminal("report")
    lines = lines_of(text)
    assert max(map(len, lines)) <= 80
    # A block has a colour of 256 behind it, and its letters.
    assert re.search(r"q\x1b\[[\d;]*48;5;\d+m u2 \x1b\[0m", text)
    assert "block.0.attn  q u2   k u2   v u4   proj f32" in [line.rstrip() for line in lines]
    assert "96.67 % test accuracy (float: 97.22 %) at 3.21 bits per weight by the plan" in lines
    assert lines[-1] == "Next: snnq verify packed"


def test_no_color_has_the_letters_in_brackets(terminal, packed, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = terminal("report", str(packed))
    assert not re.search(r"\x1b\[[\d;]*[34]\d", text)  # bold is no colour
    assert "block.0.attn  q[u2]  k[u2]  v[u4]  proj[f32]" in text


def test_an_ascii_terminal_gets_ascii(terminal, packed):
    lines = lines_of(terminal("report", str(packed), encoding="ascii"))
    assert not any("?" in line for line in lines)
    assert any(line.strip().startswith("-----") for line in lines)


@pytest.mark.parametrize("format", ["table", "markdown", "csv"])
def test_a_pipe_in_the_c_locale(packed, monkeypatch, format):
    monkeypatch.setenv("LC_ALL", "C")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert run(["report", str(packed), "--format", format]) == 0
    sys.stdout.flush()
    data = raw.getvalue()
    assert b"\x1b" not in data
    if format == "table":
        text = data.decode("ascii")
        assert "?" not in text
        assert not [line for line in text.splitlines() if line != line.rstrip()]
    else:  # a document is UTF-8 whatever the locale: nothing in it is lost
        assert "·" in data.decode("utf-8")


def test_comparison_and_inspection_fit_80_columns(terminal, packed):
    plan = str(packed / "plan.json")
    for words in (["report", str(packed), plan, plan], ["plan", "diff", str(packed), plan], ["inspect", "digits"]):
        lines = [line for line in lines_of(terminal(*words)) if not line.startswith("Next: ")]
        assert max(map(len, lines)) <= 80, words
