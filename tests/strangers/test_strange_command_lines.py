"""Strange words on the command line."""

from __future__ import annotations

from strange_inputs import Row, check, rows

TABLE = (
    Row("a checkpoint that is not there", lambda folder: ["inspect", "nowhere.pth"], 2, "nowhere.pth: no such file"),
    Row("that in little memory", lambda folder: ["inspect", "nowhere.pth"], 2, "no such file", memory_mib=500),
)


@rows(*TABLE)
def test_it_is_refused_in_words(row, tmp_path, monkeypatch, capfd):
    check(row, tmp_path, monkeypatch, capfd)
