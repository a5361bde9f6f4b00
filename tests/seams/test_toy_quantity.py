"""A quantity that no line of snnq names: look-up tables, weights · bits / 6, in every place where costs stand.

To add a quantity, or a machine model that prices several:

1. Write ``price(layer, scheme, table)``: what one layer costs under one scheme, a number by the key of each quantity.
2. Describe each as a ``Quantity``: key and name, unit, title, what it means, scales to show it in, and the
   units of ``--budget``. Amounts add over layers, and less is better.
3. ``declare(price, quantity, …)`` beside the others in ``snnq/cost/quantities.py``, or from a module of your own.
4. Constants of a new machine go into a cost table, each with its source and its node (``snnq cost show NAME --toml``).
5. Type golden amounts by hand in ``tests/cost``; this test shows the rest.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import pytest
from tiny_checkpoints import save_tiny

from snnq.cli.main import run
from snnq.cost.quantities import DisplayUnit, Quantity, declare, declared, withdraw
from snnq.plan import Plan
from snnq.plan.plan import plan_schema
from snnq.plan.verdict import rivals, verdict
from snnq.reporting.glossary import every_key
from snnq.schemes.scheme import scheme as scheme_of
from snnq.searching.budget import units

LUT = Quantity(
    key="lut",
    name="tables",
    unit="LUT",
    title="Look-up tables",
    meaning="Σ weights · bits / 6: a table of 6 inputs holds six bits",
    scales=(DisplayUnit("LUT", 1),),
    limits={"lut": 1},
    decimals=0,
)
SEARCH = ["search", "tiny.safetensors", "--data", "random,classes=2,samples=32", "--method", "sensitivity"]
SPACE = ["--space", "uniform-2,uniform-4,power-of-two-4"]


def price(layer, scheme, table):
    return {"lut": layer.weights * scheme_of(scheme).bits / 6}


def lut_of(plan):
    """Return what the plan's layers cost, computed beside snnq."""
    layers = zip(plan.layer_table(), plan.schemes().values(), strict=True)
    return sum(layer.weights * scheme_of(scheme).bits / 6 for layer, scheme in layers)


def succeeds(capsys, *words):
    """Run a command line; return what it printed."""
    code = run([str(word) for word in words])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return shown.out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder in which a search for look-up tables was run and finalized; the quantity is gone after it."""
    place = tmp_path_factory.mktemp("toy")
    save_tiny(place, data=None, seed=0, classes=2)
    declare(price, LUT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert run([*SEARCH, *SPACE, "--budget", "lut=3500", "--out", "plan.json"]) == 0
        assert run(["finalize", "--plan", "plan.json", "--epochs", "1", "--out", "packed"]) == 0
    yield place
    if LUT in declared():
        withdraw(LUT)


def test_a_budget_of_it_is_kept_and_every_plan_says_what_it_costs(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    plan, data = Plan.read("plan.json"), json.loads((folder / "plan.json").read_text())
    totals = data["totals"]
    assert totals["lut"] == pytest.approx(lut_of(plan))
    assert totals["lut"] <= 3500 < 1.2 * totals["lut"]
    assert totals["tables_fraction"] == pytest.approx(totals["avg_bits"] / 32)
    assert totals["asked"] == {"trade_off": None, "budget": {"lut": 3500.0}, "realised": {"lut": totals["lut"]}}
    assert sum(layer["lut"] for layer in data["layers"]) == pytest.approx(totals["lut"])
    assert sum(group["lut"] for group in data["groups"].values()) == pytest.approx(totals["lut"])
    assert sum(group["tables_share"] for group in data["groups"].values()) == pytest.approx(1)
    baselines = {one["scheme"]: one for one in data["baselines"]}
    assert baselines["uniform-2"]["tables_fraction"] == pytest.approx(2 / 32)
    assert {one.scheme for one in rivals(plan)} <= {"uniform-2", "power-of-two-2"}
    assert "the budget of tables" in str(verdict(plan))
    assert "--budget" in data["search"]["options"]
    parts = plan_schema()["$defs"]
    assert parts["GroupCost"]["properties"]["tables_share"]["readOnly"]
    measured = {key for one in declared() if one.measured or one.part for key in one.keys}
    assert set(parts["PlanLayer"]["properties"]) - measured - {"input_bits"} == set(data["layers"][0])
    assert set(parts["Totals"]["properties"]) - measured == set(totals)
    del data["totals"]  # what is computed may be left out
    (folder / "bare.json").write_text(json.dumps(data))
    assert Plan.read("bare.json") == plan
    assert {unit.key for unit in units().values()} <= every_key().keys()
    shown = succeeds(capsys, "plan", "show", "plan.json")
    assert f"tables % of float32  {100 * totals['tables_fraction']:.4f}" in re.sub(r" {2,}", "  ", shown)
    assert re.search(r"asked lut +3500, realised", shown)


def test_what_no_plan_can_keep_is_said_in_its_unit(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert run([*SEARCH, *SPACE, "--budget", "lut=10", "--out", "no.json"]) == 3
    assert re.search(r"no plan keeps lut=10; the smallest possible is lut=\d+", capsys.readouterr().err)
    assert run([*SEARCH, "--budget", "luts=10", "--out", "no.json"]) == 2
    assert "did you mean 'lut'?" in capsys.readouterr().err


def test_a_finished_search_is_solved_for_it_and_its_front_has_it(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    succeeds(capsys, "plan", "solve", "plan.json", "--budget", "tables=8%,avg-bits=4", "--out", "other.json")
    other = Plan.read("other.json")
    assert lut_of(other) <= 0.08 * sum(layer.weights * 32 / 6 for layer in other.layer_table())
    succeeds(capsys, "plan", "solve", "plan.json", "--front", "front.csv")
    rows = list(csv.DictReader((folder / "front.csv").read_text().splitlines()))
    assert all(float(row["tables_fraction"]) == pytest.approx(float(row["avg_bits"]) / 32, rel=1e-4) for row in rows)
    difference = succeeds(capsys, "plan", "diff", "plan.json", "other.json")
    assert "tables LUT" in difference
    assert "LUT more" in difference


def test_the_report_its_csv_and_its_page_show_it(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    data = json.loads(succeeds(capsys, "report", "packed", "--json"))
    totals, plan = data["totals"], Plan.read("packed/plan.json")
    assert totals["lut"] == pytest.approx(lut_of(plan))
    assert totals["lut_float"] == pytest.approx(sum(layer.weights * 32 / 6 for layer in plan.layer_table()))
    for part in ("plans", "groups", "layers"):
        assert all("lut" in row for row in data[part])
    assert all(row["tables_fraction"] for row in data["front"])
    cells = list(csv.reader(io.StringIO(succeeds(capsys, "report", "packed", "--format", "csv"))))
    assert ["totals", "", "lut", repr(totals["lut"])] in cells
    page = (folder / "packed" / "report.html").read_text()
    for words in ("Look-up tables", f"{totals['lut']:,.0f} LUT", "Tables by group", "tables %", LUT.meaning):
        assert words in page
    assert "tables LUT" in succeeds(capsys, "report", "packed", "--format", "markdown")
    assert "LUT" in succeeds(capsys, "report", "plan.json", "packed")
    assert "tables_share" in succeeds(capsys, "inspect", "tiny.safetensors", "--json")


def test_files_that_name_it_open_when_nothing_declares_it(folder, tmp_path, monkeypatch, capsys):
    shutil.copytree(folder, tmp_path / "later")
    monkeypatch.chdir(tmp_path / "later")
    withdraw(LUT)
    try:
        plan = Plan.read("plan.json")
        assert "lut" not in json.dumps(plan.to_dict()["totals"] | {"asked": None})
        assert plan.totals.asked.realised == {}
        assert "take no more storage and no more energy" in str(verdict(plan))
        succeeds(capsys, "plan", "show", "plan.json")
        succeeds(capsys, "verify", "packed")
        report = json.loads(succeeds(capsys, "report", "packed", "--json"))
        assert "lut" not in report["totals"]
        assert "Tables by group" not in (tmp_path / "later" / "packed" / "report.html").read_text()
        succeeds(capsys, "plan", "solve", "plan.json", "--budget", "avg-bits=3", "--out", "solved.json")
        assert run([*SEARCH, "--budget", "lut=10", "--out", "no.json"]) == 2
        data = json.loads((tmp_path / "later" / "plan.json").read_text())
        data["baselines"][0]["validation_acuracy"] = 0.5  # a slip is still one
        (tmp_path / "later" / "plan.json").write_text(json.dumps(data))
        assert run(["plan", "show", "plan.json"]) == 2
        assert "did you mean 'validation_accuracy'?" in capsys.readouterr().err
    finally:
        declare(price, LUT)


def test_a_name_is_given_once():
    with pytest.raises(ValueError, match="there is a quantity energy_pj"):
        declare(price, next(one for one in declared() if one.key == "energy_pj"))
