import csv
import hashlib
import io
import json
import re
import shutil
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from snnq.base.errors import PlanError, UsageError, VerificationError
from snnq.cli.main import run
from snnq.plan import Plan
from snnq.reporting.compare import compare
from snnq.reporting.comparing import comparison_document, difference_document
from snnq.reporting.figures.bars import amounts, scheme_matrix
from snnq.reporting.formats import document_html, document_markdown
from snnq.reporting.run import report

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def three(packed, tmp_path):
    """Return the packed folder, its plan with another head, and the plan in two bits everywhere."""
    plan = Plan.read(packed / "plan.json")
    plan.with_schemes({"head": "uniform-8"}).write(tmp_path / "head.json")
    plan.with_schemes(dict.fromkeys(plan.schemes(), "uniform-2")).write(tmp_path / "two.json")
    return [packed, tmp_path / "head.json", tmp_path / "two.json"]


def test_costs_are_the_plans_and_accuracies_the_folders(three, packed):
    found = compare(three)
    plan = Plan.read(packed / "plan.json")
    a, b, c = found.candidates.values()
    assert list(found.candidates) == ["A", "B", "C"]
    assert (a.kind, b.kind, c.kind) == ("packed folder", "plan", "plan")
    assert (a.storage_bits, a.energy_pj) == (22752, plan.totals.energy_pj)
    # The head's 160 weights take 8 bits instead of 4; 7084 weights take 2 bits.
    assert b.storage_bits == 22752 + 160 * 4
    assert (c.storage_bits, c.avg_bits) == (2 * 7084, 2)
    assert (a.test, a.validation, b.test) == (0.9667, 0.97, None)
    assert a.searched_accuracy == 0.4
    changed = {layer.name: layer.differs for layer in found.layers}
    assert [name for name, differs in changed.items() if differs] == [
        "patch_embed.proj_conv", "block.0.attn.v", "block.0.attn.proj", "head",
    ]  # fmt: skip
    head = next(group for group in found.groups if group.name == "head")
    assert head.storage_bits == {"A": 640, "B": 1280, "C": 320}
    assert found.verdict == "4 of 12 layers differ; C is smallest; C is lowest in energy."


def test_equal_ones_are_not_ranked_on_the_test_split(three):
    found = compare([three[0], three[0]])
    assert found.verdict.startswith("0 of 12 layers differ; A and B are smallest;")
    # The folder kept no results by sample, and equal accuracies are no difference.
    assert "between A and B (A 96.67 %; A minus B +0.00 points, not paired" in found.verdict


def test_accuracies_on_other_data_are_not_ranked(three, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(three[0], other)
    plan, config = (json.loads((other / name).read_text()) for name in ("plan.json", "config.json"))
    plan["data"]["sha256"] = config["data"]["sha256"] = "1" * 64
    text = json.dumps(plan)
    (other / "plan.json").write_text(text)
    own = hashlib.sha256(text.encode()).hexdigest()
    config["sha256"] = {"model.safetensors": config["sha256"]["model.safetensors"], "plan.json": own}
    (other / "config.json").write_text(json.dumps(config))
    found = compare([three[0], other])
    assert found.verdict == "0 of 12 layers differ; A and B are smallest; A and B are lowest in energy."
    assert "The accuracies are on different data and cannot be compared." in found.notes


def test_tables_say_the_numbers_and_mark_differences(three):
    tables = {one.title.partition(":")[0].partition(" (")[0]: one for one in comparison_document(compare(three)).tables}
    assert tables["What the letters are"].rows[1][:2] == ("B", "plan")
    assert tables["Costs"].rows[2][1:5] == ("2.000", "-", "1.73", "6.25")
    layers = {row[0]: row[1:] for row in tables["Layers"].rows}
    assert layers["head"] == ("p4", "u8", "u2", "yes")
    assert layers["block.0.attn.q"] == ("u2", "u2", "u2", "")
    groups = {row[0]: row[1:] for row in tables["Groups"].rows}
    assert groups["mlp bits"] == ("2.000", "2.000", "2.000", "")
    assert groups["head KiB"] == ("0.08", "0.16", "0.04", "yes")


def test_other_models_and_cost_tables_are_told(three, tmp_path):
    uniform = ["plan", "uniform", "--architecture", "spikformer-cifar10", "--scheme", "uniform-2"]
    other = tmp_path / "other.json"
    assert run([*uniform, "--image-size", "16", "--steps", "1", "--out", str(other), "--cost-table", "paper-fit"]) == 0
    found = compare([three[1], other])
    notes = " ".join(found.notes)
    assert "different cost tables (horowitz-45nm, paper-fit)" in notes
    assert "different architectures" in notes
    assert "lowest in energy" not in found.verdict
    first = found.layers[-1]
    assert first.differs
    alike = compare([three[1], other], cost_table="paper-fit")
    assert "different cost tables" not in " ".join(alike.notes)
    # A layer that only one has shows a dash.
    text = document_markdown(comparison_document(found))
    assert re.search(r"\| block.3.mlp.fc1 \| - \| u2 \| yes \|", text)


def test_difference_of_two(three):
    document = difference_document(compare(three[:2]))
    _, totals, layers = document.tables
    assert layers.rows[0][:4] == ("head", "power-of-two-4", "uniform-8", "+0.08")
    assert len(layers.rows) == 1
    rows = {row[0]: row[1:] for row in totals.rows}
    assert rows["storage KiB"] == ("2.78", "2.86", "+2.81 %", "yes")
    assert rows["weights"] == ("7,084", "7,084", "+0.00 %", "")
    data: Any = document.data
    assert [layer["name"] for layer in data["layers"]] == ["head"]


@pytest.mark.parametrize("command", [["report"], ["plan", "diff"]])
@pytest.mark.parametrize("format", ["table", "json", "csv", "markdown", "html"])
def test_every_format_of_the_commands(three, capsys, command, format):
    assert run([*command, *map(str, three[:2]), "--format", format]) == 0
    out = capsys.readouterr().out
    if format == "json":
        data = json.loads(out)
        assert data["candidates"]["B"]["storage_bits"] == 22752 + 640
    elif format == "csv":
        rows = list(csv.reader(io.StringIO(out)))
        assert rows[0] == ["section", "row", "key", "value"]
        assert ["layers", "head", "scheme.B", "uniform-8"] in rows
        assert ["candidates", "B", "storage_bits", "23392"] in rows
    elif format == "markdown":
        assert out.startswith("## ")
        assert "differs" in out
    elif format == "html":
        assert out.startswith("<!DOCTYPE html>")
        assert "<script" not in out
        assert 'class="differs"' in out
    else:
        assert "head" in out
        assert "differs" in out


def test_a_page_is_written_where_it_is_asked_for(three, tmp_path, capsys):
    page = tmp_path / "deep" / "c.html"
    assert run(["report", *map(str, three), "--out", str(page)]) == 0
    assert f"Page: {page}" in capsys.readouterr().err
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert not (three[0] / "report.html").exists()


def test_refusals(three, packed, tmp_path, capsys):
    with pytest.raises(PlanError, match="no such plan or packed folder"):
        compare([three[0], tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="from 2 to 26"):
        compare(three[:1])
    with pytest.raises(UsageError, match="27 plans"):
        compare([three[1]] * 27)
    assert run(["report", str(three[1])]) == 2
    assert "is a file" in capsys.readouterr().err
    data = bytearray((packed / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (packed / "model.safetensors").write_bytes(data)
    with pytest.raises(VerificationError):
        compare(three)


def test_hostile_paths_are_text(three, tmp_path):
    bad = tmp_path / "<script>x\x1b[31m.json"
    bad.write_text(three[1].read_text())
    document = comparison_document(compare([three[0], bad]))
    for text in (document_html(document), document_markdown(document)):
        assert "<script>" not in text
        assert "\x1b" not in text


def test_golden_matrix():
    rows = [("a", ["uniform-2", "power-of-two-4"], True), ("b", ["float32", None], False)]
    root = ET.fromstring(scheme_matrix("T", ["A", "B"], rows))
    words = [one.text for one in root.iter(f"{SVG}text")]
    assert words == ["A", "B", "a", "u2", "p4", "◀", "b", "f32", "-"]
    framed = [one for one in root.iter(f"{SVG}rect") if one.get("fill") == "none"]
    assert [one.get("y") for one in framed] == ["19"]


def test_golden_amounts():
    root = ET.fromstring(amounts("T", ["one", "two"], {"A: 4": [1.0, 3.0], "B: 2": [1.0, 1.0]}))
    bars = [(one.get("x"), one.get("width")) for one in root.iter(f"{SVG}rect") if one.get("height") == "18"]
    # 332 units are the longest, of 4.
    assert bars == [("4", "83"), ("87", "249"), ("4", "83"), ("87", "83")]
    assert amounts("T", ["none"], {"A": [0.0]}).startswith("<svg")


def test_energy_by_events_where_it_was_measured(recorded, three):
    found = compare([recorded, three[1]])
    measured, plan = found.candidates.values()
    events = report(recorded).event_energy.plan
    assert events is not None
    assert measured.event_energy_pj == events.total.energy_pj
    assert plan.event_energy_pj is None
    rows = next(one.rows for one in comparison_document(found).tables if one.title.startswith("Energy by events"))
    assert rows == (("A", f"{events.total.energy_pj / 1000:,.1f}"),)
    rates = next(one for one in comparison_document(found).tables if one.title.startswith("Firing rates"))
    due = [(one.name, f"{100 * one.firing_rate:.2f}") for one in events.layers]
    assert (rates.columns, list(rates.rows)) == (("layer", "A"), due)
    assert {layer.firing_rate["B"] for layer in found.layers} == {None}
    twice = difference_document(compare([recorded, recorded]))
    assert next(row for row in twice.tables[1].rows if row[0] == "energy by events nJ")[3] == "+0.00 %"
