import csv
import io
import json

import pytest

from snnq.cli.main import run
from snnq.reporting.page import html_page


def test_tables_and_page(packed, capsys):
    assert run(["report", str(packed)]) == 0
    shown = capsys.readouterr()
    for words in ("Accuracy", "Totals", "Storage by group", "block.0.attn  q[u2]  k[u2]  v[u4]  proj[f32]"):
        assert words in shown.out
    assert f"Page: {packed / 'report.html'}" in shown.err
    assert f"Next: snnq verify {packed}" in shown.err
    assert shown.out.startswith("96.67 % test accuracy (float: 97.22 %)")
    assert "<!DOCTYPE html>" in (packed / "report.html").read_text()


def test_the_page_is_made_anew_without_asking(packed, capsys):
    (packed / "report.html").write_text("old")
    assert run(["report", str(packed)]) == 0
    assert (packed / "report.html").read_text() != "old"


def test_json_is_one_object_and_the_reports(packed, found, capsys):
    assert run(["report", str(packed), "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    ours = json.loads(json.dumps(found.to_dict()))
    for key in ours.keys() - {"folder", "commands"}:
        assert data[key] == ours[key]


@pytest.mark.parametrize(("name", "start"), [("csv", "section,row,key,value"), ("markdown", "## "), ("html", "<!DOC")])
def test_other_formats(packed, capsys, name, start):
    assert run(["report", str(packed), "--format", name]) == 0
    out = capsys.readouterr().out
    assert out.startswith(start)
    if name == "csv":
        assert {len(row) for row in csv.reader(io.StringIO(out))} == {4}


def test_html_on_stdout_is_the_page(packed, capsys):
    assert run(["report", str(packed), "--format", "html"]) == 0
    assert capsys.readouterr().out.strip() == (packed / "report.html").read_text().strip()


def test_page_elsewhere_and_another_cost_table(packed, tmp_path, capsys):
    page = tmp_path / "elsewhere" / "page.html"
    assert run(["report", str(packed), "--out", str(page), "--cost-table", "paper-fit"]) == 0
    assert "paper-fit" in page.read_text()
    assert not (packed / "report.html").exists()
    assert "paper-fit" in capsys.readouterr().out


def test_in_the_folder_as_typed(packed, monkeypatch, capsys):
    monkeypatch.chdir(packed.parent)
    assert run(["report"]) == 0
    assert "Next: snnq verify packed\n" in capsys.readouterr().err


def test_a_missing_folder_is_exit_code_2(tmp_path, capsys):
    assert run(["report", str(tmp_path / "nowhere")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "no such packed folder" in shown.err
    assert "Hint: " in shown.err


def test_a_folder_that_breaks_its_plan_is_exit_code_4(packed, capsys):
    (packed / "plan.json").write_text((packed / "plan.json").read_text().replace('"uniform-4"', '"uniform-2"', 1))
    assert run(["report", str(packed)]) == 4
    assert not (packed / "report.html").exists()
    assert capsys.readouterr().out == ""


def test_html_page_is_pure(found):
    assert html_page(found) == html_page(found)
