"""A budget of event energy, from the search to the report of the packed model; and what is solved for one later."""

from __future__ import annotations

import json

import pytest

from snnq.base.errors import BudgetError
from snnq.checkpoints.opening import open_checkpoint
from snnq.cli.main import run
from snnq.cost.quantities import EVENT_ENERGY
from snnq.data.cache import cache_root
from snnq.plan import Plan
from snnq.schemes.scheme import scheme
from snnq.searching.run import search
from snnq.searching.scores import read_scores, solve
from snnq.searching.settings import SearchSettings

DATA = "random,classes=2,samples=32"
SIZES = {"steps": 2, "heads": 2, "image_size": (8, 8), "pooling": (False, False, True, True)}


def searched(checkpoint, out, budget, **more):
    space = ("float32", "uniform-2", "uniform-4", "power-of-two-2", "power-of-two-4")
    settings = SearchSettings(method="sensitivity", batch_size=8, calibration=16, budget=budget, space=space)
    return search(checkpoint, data=DATA, out=out, settings=settings, **SIZES, **more)


@pytest.fixture(scope="module")
def place(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("events")
    searched(checkpoint, folder / "plan.json", {EVENT_ENERGY.fraction: 0.3})
    return folder


def test_the_plan_keeps_it_by_training_samples_measured_once(place, checkpoint):
    plan = Plan.read(place / "plan.json")
    totals = plan.to_dict()["totals"]
    assert totals[EVENT_ENERGY.fraction] <= 0.3
    assert totals["asked"]["realised"] == {EVENT_ENERGY.fraction: totals[EVENT_ENERGY.fraction]}
    assert plan.activity is not None
    assert (plan.activity.activity.split, plan.activity.arithmetic) == ("train", "integer")
    assert plan.activity.activity.arithmetic == "float"
    kept = list((cache_root() / "activity").glob("*.json"))
    before = [one.stat().st_mtime_ns for one in kept]
    stages = []
    again = searched(
        checkpoint, place / "again.json", {EVENT_ENERGY.fraction: 0.3}, progress=lambda *a, **_: stages.append(a[0])
    )
    assert again.schemes() == plan.schemes()
    assert "measuring events" not in stages
    assert [one.stat().st_mtime_ns for one in kept] == before


def test_a_search_that_is_asked_for_nothing_of_the_kind_measures_nothing(place, checkpoint):
    plan = searched(checkpoint, place / "bits.json", {"avg_bits": 3.0})
    assert plan.activity is None
    assert "activity" not in json.loads((place / "bits.json").read_text())
    front = json.loads((place / "bits.json.run" / "front.json").read_text())
    assert EVENT_ENERGY.fraction not in front[0]
    # Solved for it later, it is measured then.
    other = solve(place / "bits.json", {EVENT_ENERGY.fraction: 0.3}, out=place / "other.json")
    assert other.activity is not None
    assert other.to_dict()["totals"][EVENT_ENERGY.fraction] <= 0.3
    assert read_scores(place / "plan.json.run").plan.activity == other.activity


def test_zeros_are_looked_for_where_the_machine_skips_them(place, checkpoint):
    table = "horowitz-45nm-sparse"
    plan = searched(checkpoint, place / "sparse.json", {EVENT_ENERGY.fraction: 0.3}, cost_table=table)
    assert plan.activity is not None
    state = open_checkpoint(checkpoint, **SIZES).state_dict
    weight = state["block.0.mlp.fc1.weight"]
    one = scheme("power-of-two-2")
    share = float((one.quantize(weight, one.fit(weight)) == 0).float().mean())
    assert plan.activity.zeros["block.0.mlp.fc1"]["power-of-two-2"] == pytest.approx(share)
    assert share > 0.2


def test_what_no_plan_keeps_is_said_before_the_hours(place, checkpoint):
    with pytest.raises(BudgetError, match=r"no plan keeps event-energy=1%; the smallest possible is event-energy=\d"):
        searched(checkpoint, place / "none.json", {EVENT_ENERGY.fraction: 0.01})


def test_the_report_says_what_was_expected_and_what_was_measured(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert run(["finalize", "plan.json", "--epochs", "1", "--batch-size", "8", "--measure", "8"]) == 0
    capsys.readouterr()
    assert run(["report", "packed", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    events, totals = data["event_energy"], data["totals"]
    measured = events["plan"]["total"]["energy_pj"]
    assert events["expected_pj"] == pytest.approx(totals[EVENT_ENERGY.key])
    assert events["difference"] == pytest.approx(measured / totals[EVENT_ENERGY.key] - 1)
    assert abs(events["difference"]) < 0.03
    limit = 0.3 * totals[f"{EVENT_ENERGY.key}_float"]
    kept = "kept" if measured <= limit else "exceeded"
    assert f"is {kept} by what is measured, {100 * (measured / limit - 1):+.2f} % of it" in events["sentence"]
    assert [row["counts"] for row in data["energies"][1:]] == ["one inference, measured", "one inference, expected"]
    assert run(["report", "packed"]) == 0
    tables = [line for line in capsys.readouterr().out.splitlines() if line.startswith(" ")]
    assert max(map(len, tables)) <= 80
    page = (place / "packed" / "report.html").read_text()
    assert "event-energy %" in page
    # Under another reuse, what was expected is priced alike, and nothing is said of the budget.
    assert run(["report", "packed", "--json", "--weight-reuse", "step"]) == 0
    other = json.loads(capsys.readouterr().out)["event_energy"]
    assert other["expected_pj"] > events["expected_pj"]
    assert "by what is measured" not in other["sentence"]
