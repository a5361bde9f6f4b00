"""Every method as a whole search of rated schemes: plans that keep the budget, that are solved again, and go on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch

from snnq.base.errors import InterruptedRun
from snnq.cli.main import run
from snnq.finalizing.run import finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.packing.record import read_results
from snnq.plan import Plan
from snnq.plan.verdict import verdict
from snnq.reporting.run import report
from snnq.reporting.tables import rates_table
from snnq.schemes.scheme import scheme
from snnq.searching.constraints import Constraints
from snnq.searching.halving import Rungs
from snnq.searching.run import search
from snnq.searching.scores import front, read_scores, solve
from snnq.searching.settings import SearchSettings

DATA = "random,classes=2,samples=32"
SIZES = {"steps": 2, "heads": 2, "image_size": (8, 8), "pooling": (False, False, True, True)}
SHORT = {"epochs": 2, "batch_size": 8, "calibration": 16, "budget": {"avg_bits": 1.0}}
RATED = ("uniform-4@0.5", "uniform-4@1", "uniform-4@2", "power-of-two-4@1")
LOCKED = Constraints(locks=(("head", "uniform-2"),), excludes=(), ties=(("q", "k"),))


def searched(checkpoint, out, method, progress=lambda *given, **facts: None, **knobs):
    space = () if method == "rate" else RATED
    settings = SearchSettings(method=method, **SHORT | {"space": space, "constraints": LOCKED} | knobs)
    return search(checkpoint, data=DATA, out=out, settings=settings, progress=progress, **SIZES)


def stopping(at):
    """Return a progress that is interrupted at training step ``at``."""

    def progress(stage, done, total, /, **facts):
        if stage in ("searching", "halving") and done == at:
            signal.raise_signal(signal.SIGINT)

    return progress


SLOW = ("halving", "drift", "random", "sensitivity", "differentiable")


@pytest.mark.parametrize("method", ["hessian", "rate", *(pytest.param(one, marks=pytest.mark.slow) for one in SLOW)])
def test_every_method_finds_a_plan_of_rates_that_keeps_budget_and_constraints(method, checkpoint, tmp_path):
    plan = searched(checkpoint, tmp_path / "plan.json", method)
    schemes = plan.schemes()
    assert plan.totals.avg_bits <= 1.0
    assert plan.totals.avg_bits > 0.6  # and spends it
    assert schemes["head"] == "uniform-2"
    assert schemes["block.0.attn.q"] == schemes["block.0.attn.k"]
    assert all(scheme(one).rate for name, one in schemes.items() if name != "head")
    assert plan.search
    assert (plan.search.method, plan.search.seed) == (method, 0)
    assert plan.search.epochs == (2 if method in ("differentiable", "rate", "halving") else 0)
    assert verdict(plan)
    names = {b.scheme for b in plan.baselines}
    assert f"uniform-4@{int(plan.totals.avg_bits * 10000) / 10000:g}" in names
    assert ("sensitivity" in names) == (method != "sensitivity")
    assert ("float32, searched" in names) == (plan.search.epochs > 0)
    other = solve(tmp_path / "plan.json.run", {"avg_bits": 1.4})
    assert 1.0 < other.totals.avg_bits <= 1.4
    assert other.schemes()["head"] == "uniform-2"
    assert front(tmp_path / "plan.json")


@pytest.mark.usefixtures("few_plans")
@pytest.mark.parametrize("method", ["rate", pytest.param("halving", marks=pytest.mark.slow)])
def test_a_run_that_was_cut_off_ends_with_the_same_plan(method, checkpoint, tmp_path):
    whole = searched(checkpoint, tmp_path / "whole.json", method).to_dict()
    for at in (3, 6):
        with pytest.raises(InterruptedRun):
            searched(checkpoint, tmp_path / "cut.json", method, stopping(at))
    found = searched(checkpoint, tmp_path / "cut.json", method).to_dict()
    for one in (whole, found):
        one["search"].pop("run")
    assert found == whole
    again, first = ((tmp_path / f"{name}.json.run/metrics.jsonl").read_text() for name in ("cut", "whole"))
    assert again == first


@pytest.mark.usefixtures("few_plans")
def test_the_plan_of_rates_is_what_was_trained_and_reported(checkpoint, tmp_path):
    plan = searched(checkpoint, tmp_path / "plan.json", "rate", epochs=3, constraints=Constraints())
    lines = [json.loads(line) for line in (tmp_path / "plan.json.run/metrics.jsonl").read_text().splitlines()]
    assert plan.search
    saved = torch.load(tmp_path / "plan.json.run/state.pt", weights_only=True)["parts"]
    best = lines[saved["best"]["epoch"] - 1]
    rates = {layer.name: scheme(layer.scheme).rate for layer in plan.layers}
    steps = [rates[name] - rate for name, rate in best["rates"].items()]
    assert max(steps) - min(steps) < 2e-4  # those of the best epoch, or all of them moved alike to the budget
    assert best["bits"] == pytest.approx(
        sum(rate * layer.layer().weights for layer, rate in zip(plan.layers, best["rates"].values(), strict=True))
        / plan.totals.weights
    )
    if max(steps) < 2e-4:  # scored is the model that was trained
        assert plan.search.validation_loss == pytest.approx(best["validation_loss"], rel=0.05)
    assert plan.search.space == ("uniform-4",)
    assert all(0 < line["price"] < 100 for line in lines)
    scores = read_scores(tmp_path / "plan.json.run")
    assert scores.choices.schemes([scores.choices.names.index(one) for one in plan.schemes().values()])
    settings = FinalizeSettings(epochs=1, batch_size=8)
    packed = finalize(tmp_path / "plan.json", out=tmp_path / "packed", settings=settings, measure=2).folder
    assert [one.rates for one in read_results(packed).search or ()] == [line["rates"] for line in lines]
    shown = report(packed)
    assert "Coded bits of every layer" in shown.search.sentence
    table = rates_table(shown)
    assert len(table.rows) == len(plan.layers)
    assert table.rows[-1][-1] == f"{lines[-1]['rates']['head']:.3f}"
    assert shown.front


def test_rungs_halve_plans_and_double_their_steps():
    rungs = Rungs(8)
    assert (rungs.widths, rungs.parts) == ([8, 4, 2], [1, 2, 4])
    slots = list(rungs.slots())
    assert len(slots) == 24
    assert [slots.count((rung, 0, 0)) for rung in range(3)] == [1, 1, 1]
    rungs.losses[0] = torch.tensor([5, 1, 4, 2, 8, 7, 3, 6.0])
    assert rungs.left(1) == [1, 3, 6, 2]
    rungs.losses[1, [1, 3, 6, 2]] = torch.tensor([0.5, 0.1, torch.nan, 0.2], dtype=torch.float64)
    assert rungs.left(2) == [3, 2]
    rungs.losses[2, [3, 2]] = torch.tensor([0.3, 0.2], dtype=torch.float64)
    assert rungs.left(3) == [2, 3]
    assert Rungs(1).left(0) == [0]
    assert (Rungs(5).widths, Rungs(5).parts) == ([5, 2], [1, 2])


def test_solving_says_nothing_of_its_own(checkpoint, tmp_path, capfd):
    words = ["--data", DATA, "--steps", "2", "--heads", "2", "--image-size", "8", "--pooling", "0011"]
    words += ["--method", "random", "--space", ",".join(RATED), "--budget", "avg-bits=1", "--batch-size", "8"]
    out = str(tmp_path / "plan.json")
    assert run(["search", str(checkpoint), *words, "--out", out, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["search"]["method"] == "random"  # and no word of a library's
    rows = front(out + ".run")
    assert {row["predicted_loss"] for row in rows} == {None}  # its scores are no losses
    assert [row["avg_bits"] for row in rows] == sorted(row["avg_bits"] for row in rows)
    assert run(["plan", "solve", out, "--budget", "avg-bits=0.8"]) == 0
    assert "nats" not in capfd.readouterr().out
    assert run(["search", str(checkpoint), "--method", "drift"]) == 2
    assert "takes a budget, not a trade-off" in capfd.readouterr().err
    assert run(["search", str(checkpoint), "--method", "rates"]) == 2
    assert "did you mean 'rate'" in capfd.readouterr().err.replace("\n", " ")
    assert Plan.read(Path(out)).totals.avg_bits <= 1
