"""Whole searches on the smallest data: budgets kept, scores kept, other budgets solved from them."""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from two_processes import in_two

from snnq.base.errors import BudgetError, InterruptedRun, OutputExistsError, UsageError
from snnq.base.paired import PerSample
from snnq.base.placing import MARK
from snnq.cli.main import run, spread_budgets
from snnq.data.cache import cache_root
from snnq.finalizing.run import finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.packing.record import read_results
from snnq.plan import Plan, SearchInfo
from snnq.plan.verdict import rivals, verdict
from snnq.reporting.run import report
from snnq.schemes.scheme import scheme
from snnq.searching.constraints import Constraints
from snnq.searching.run import search
from snnq.searching.scores import OWN, front, front_columns, read_scores, solve
from snnq.searching.settings import SearchSettings, parse_settings
from snnq.training import processes
from snnq.training.devices import Compute
from snnq.training.search_runs import find_run, note_run

DATA = "random,classes=2,samples=32"
SIZES: dict[str, Any] = {"steps": 2, "heads": 2, "image_size": (8, 8), "pooling": (False, False, True, True)}
# Few formats: all of them are searched by the documents' test and tests/cli.
SPACE = ("float32", "power-of-two-2", "power-of-two-4", "uniform-2", "uniform-8")
SHORT: dict[str, Any] = {"epochs": 2, "batch_size": 8, "calibration": 16, "space": SPACE}


def search_of(plan: Plan) -> SearchInfo:
    assert plan.search is not None
    return plan.search


def mark_of(plan: Plan) -> str:
    mark = search_of(plan).fingerprint
    assert mark is not None
    return mark


def searched(checkpoint, out, **knobs):
    return search(checkpoint, data=DATA, out=out, settings=SearchSettings(**SHORT | knobs), **SIZES)


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    place = tmp_path_factory.mktemp("searches")
    searched(checkpoint, place / "plan.json", budget={"avg_bits": 2.6, "energy_fraction": 0.3})
    return place


def test_the_plan_keeps_every_budget_and_says_so(folder):
    plan = Plan.read(folder / "plan.json")
    assert plan.totals.avg_bits <= 2.6
    assert plan.totals.energy_fraction <= 0.3
    assert plan.totals.asked.budget == {"avg_bits": 2.6, "energy_fraction": 0.3}
    assert plan.totals.asked.realised == {
        "avg_bits": plan.totals.avg_bits,
        "energy_fraction": plan.totals.energy_fraction,
    }
    assert all(layer.searched == layer.scheme for layer in plan.layers)


def test_simple_plans_stand_beside_it_scored_alike(folder):
    plan = Plan.read(folder / "plan.json")
    names = {b.scheme for b in plan.baselines}
    assert names == {"float32", "uniform-4", "uniform-2", "power-of-two-4", "power-of-two-2"} | {
        *("sensitivity", "float32, searched")
    }
    assert all(b.validation_loss is not None for b in plan.baselines)
    assert all(b.difference and b.difference.samples == search_of(plan).samples for b in plan.baselines)
    given, trained = (next(b for b in plan.baselines if b.scheme == name) for name in ("float32", "float32, searched"))
    assert trained.schemes is not None
    assert set(trained.schemes.values()) == {"float32"}
    assert trained.validation_loss != given.validation_loss
    assert trained.avg_bits == given.avg_bits == 32
    assert {b.scheme for b in rivals(plan)} >= {"uniform-2", "power-of-two-2", "sensitivity"}
    assert "uniform-4" not in {b.scheme for b in rivals(plan)}
    assert verdict(plan)


def test_every_score_is_kept_by_sample(folder):
    plan, scores = Plan.read(folder / "plan.json"), read_scores(folder / "plan.json.run")
    assert scores.each.keys() == {OWN, *(b.scheme for b in plan.baselines)}
    for name, found in ((OWN, plan.search), *((b.scheme, b) for b in plan.baselines)):
        assert found is not None
        assert scores.each[name].samples == search_of(plan).samples
        assert scores.each[name].answers().mean() == found.validation_accuracy
        losses = scores.each[name].losses
        assert losses is not None
        assert float(np.mean(losses)) == pytest.approx(found.validation_loss, rel=1e-3)
    for point in scores.front:
        assert PerSample.model_validate(point["each"]).answers().mean() == point["validation_accuracy"]
    point = scores.front[0]
    spent = Plan.read(folder / "plan.json").with_schemes(point["schemes"]).totals.avg_bits
    solved = solve(folder / "plan.json", {"avg_bits": spent})  # a plan of the front was scored
    assert solved.schemes() == point["schemes"]
    assert search_of(solved).validation_loss == point["validation_loss"]
    assert all(b.difference for b in solved.baselines)


def test_a_copied_plan_finds_its_run(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "made")
    note_run(tmp_path / "made/plan.json.run", mark_of(Plan.read(folder / "plan.json")))
    own = front(tmp_path / "made/plan.json.run")
    (tmp_path / "far/away").mkdir(parents=True)
    for place in ("made/best.json", "far/away/copy.json"):  # by the way in the plan; by what this user's cache notes
        shutil.copy(tmp_path / "made/plan.json", tmp_path / place)
        assert front(tmp_path / place) == own
    solve_to = tmp_path / "far/solved.json"
    solved = solve(tmp_path / "far/away/copy.json", {"avg_bits": 2.4}, out=solve_to)
    made = search_of(solved)
    assert made.run is not None
    assert (made.fingerprint, made.run.path) == (None, "../made/plan.json.run")
    solved.write(solve_to)
    monkeypatch.setenv("SNNQ_CACHE", str(tmp_path / "other"))
    assert front(solve_to) == own  # by the way in it, without the cache
    with pytest.raises(UsageError, match=r"copy.json: the run folder of its search is not beside it, not at plan.json"):
        front(tmp_path / "far/away/copy.json")
    assert find_run(Plan.read(tmp_path / "made/best.json"), tmp_path / "made/best.json")


def test_packing_keeps_samples_and_the_way_to_the_search_and_other_data_keep_no_scores(folder, tmp_path):
    place, settings = tmp_path / "copy.json", FinalizeSettings(epochs=1, batch_size=8)
    shutil.copy(folder / "plan.json", place)
    plan = Plan.read(place)
    note_run(folder / "plan.json.run", mark_of(plan))
    packed = finalize(place, out=tmp_path / "packed", settings=settings, measure=2).folder
    results, found = read_results(packed), report(packed)
    assert results.search is not None
    assert len(results.search) == SHORT["epochs"]
    assert results.front
    for scores in (results.accuracy.plan, results.accuracy.float_model):
        assert scores.test_each is not None
        assert scores.validation_each is not None
        assert scores.test_each.samples == results.accuracy.test_samples
        assert scores.validation_each.answers().mean() == scores.validation
    inside = Plan.read(packed / "plan.json")
    run = find_run(inside, packed / "plan.json")
    assert run is not None
    assert run.samefile(folder / "plan.json.run")
    assert search_of(inside).validation_loss == search_of(plan).validation_loss
    assert {row.name for row in found.paired} >= {"float, test", "float, validation", "uniform-2", "float32, searched"}
    assert found.firing
    for row in found.firing:
        assert row.distance is not None
        assert row.dead is not None
        assert 0 <= row.distance <= 1
        assert 0 <= row.dead <= row.neurons
    # Packed on other data, it has none of the scores that were measured on the search's.
    spec = DATA.replace("samples=32", "samples=40")
    other = finalize(place, data=spec, out=tmp_path / "other", settings=settings, measure=0).folder
    text = json.loads((other / "plan.json").read_text())
    assert text["search"]["validation_loss"] is None
    assert all(baseline["validation_loss"] is None for baseline in text["baselines"])
    assert read_results(other).front is None
    assert report(other).comparison == "No search scored the simple plans beside this one."


def test_a_run_of_another_search_beside_a_plan_is_not_taken(folder, tmp_path, monkeypatch):
    shutil.copy(folder / "plan.json", tmp_path / "plan.json")
    shutil.copytree(folder / "plan.json.run", tmp_path / "plan.json.run")
    config = json.loads((folder / "plan.json.run/config.json").read_text())
    (tmp_path / "plan.json.run/config.json").write_text(json.dumps(config | {"seed": 1}))
    note_run(folder / "plan.json.run", mark_of(Plan.read(folder / "plan.json")))
    assert find_run(Plan.read(tmp_path / "plan.json"), tmp_path / "plan.json") == folder / "plan.json.run"
    monkeypatch.setenv("SNNQ_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="the run folder of its search is not beside it"):
        solve(tmp_path / "plan.json", {"avg_bits": 2.4})


def test_the_same_search_again_gives_the_same_plan_and_is_not_repeated(folder, checkpoint, tmp_path):
    before = (folder / "plan.json").read_bytes()
    budget = {"avg_bits": 2.6, "energy_fraction": 0.3}
    # A process that was killed just after writing left its file beside the plan, and no note of its run.
    left = folder / f".plan.json{MARK}{'0' * 16}"
    left.touch()
    note = cache_root() / "runs" / f"{mark_of(Plan.read(folder / 'plan.json'))}.txt"
    note.unlink()
    searched(checkpoint, folder / "plan.json", budget=budget)
    assert not left.exists()
    assert note.read_text().strip() == str(folder / "plan.json.run")
    searched(checkpoint, tmp_path / "again.json", budget=budget)
    assert before == (folder / "plan.json").read_bytes()
    again = (tmp_path / "again.json").read_bytes()
    assert before == again.replace(b'"path": "again.json.run"', b'"path": "plan.json.run"')
    with pytest.raises(OutputExistsError):
        searched(checkpoint, folder / "plan.json", budget={"avg_bits": 3.0})


def test_other_budgets_are_solved_without_training(folder):
    own = Plan.read(folder / "plan.json")
    budget = search_of(own).budget
    assert budget is not None
    same = solve(folder / "plan.json.run", budget)
    assert same.schemes() == own.schemes()
    for bits in (2.0, 2.4, 3.1, 8.0):
        plan = solve(folder / "plan.json", {"avg_bits": bits})  # the plan stands for the run beside it
        assert plan.totals.avg_bits <= bits
        assert search_of(plan).budget == {"avg_bits": bits}
        assert search_of(plan).fingerprint is None
    with pytest.raises(BudgetError, match=r"the smallest possible is avg-bits=2$"):
        solve(folder / "plan.json.run", {"avg_bits": 1.5})
    with pytest.raises(UsageError, match="holds no finished search"):
        solve(folder, {"avg_bits": 2.5})


def test_the_front_trades_bits_for_score(folder):
    rows = front(folder / "plan.json.run")
    bits, losses = ([row[key] for row in rows] for key in ("avg_bits", "predicted_loss"))
    assert bits == sorted(bits)
    assert losses == sorted(losses, reverse=True)
    assert bits[0] == 2.0
    assert any(row["validation_loss"] is not None for row in rows)


def test_solve_and_front_are_typed(folder, tmp_path, capsys):
    words = ["plan", "solve", str(folder / "plan.json.run")]
    assert run([*words, "--budget", "avg-bits=2.5", "energy=40%", "--out", str(tmp_path / "p.json"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == Plan.read(tmp_path / "p.json").to_dict()
    assert run([*words, "--front", str(tmp_path / "front.csv")]) == 0
    rows = list(csv.reader((tmp_path / "front.csv").read_text().splitlines()))
    assert rows[0] == [*front_columns([dict(zip(*rows[:2], strict=True))]), *Plan.read(folder / "plan.json").schemes()]
    assert len(rows) > 3
    assert run([*words, "--front", str(tmp_path / "front.csv")]) == 2
    assert run(words) == 2
    assert run([*words, "--budget", "avg-bits=1"]) == 3


def test_several_budgets_after_one_option():
    words = ["search", "ckpt.pth", "--budget", "energy=8%", "storage=7%", "--out", "x=1.json"]
    assert spread_budgets(words) == [
        *("search", "ckpt.pth", "--budget", "energy=8%", "--budget", "storage=7%", "--out", "x=1.json")
    ]
    assert spread_budgets(["search", "--budget", "avg-bits=2", "mine.pth"])[-1] == "mine.pth"


def test_an_impossible_budget_is_said_before_anything_is_made(checkpoint, tmp_path):
    with pytest.raises(BudgetError, match=r"smallest possible is avg-bits=2$"):
        searched(checkpoint, tmp_path / "plan.json", budget={"avg_bits": 1.9})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("few_plans")
def test_sensitivity_trains_nothing(checkpoint, tmp_path):
    plan = searched(checkpoint, tmp_path / "plan.json", method="sensitivity", budget={"avg_bits": 2.3})
    assert plan.totals.avg_bits <= 2.3
    assert search_of(plan).method == "sensitivity"
    assert search_of(plan).epochs == 0
    assert not (tmp_path / "plan.json.run/state.pt").exists()
    assert solve(tmp_path / "plan.json.run", {"avg_bits": 2.3}).schemes() == plan.schemes()


@pytest.mark.usefixtures("few_plans")
def test_sensitivity_with_reconstruction(checkpoint, tmp_path):
    given = {"method": "sensitivity", "budget": {"avg_bits": 2.3}}
    plain = searched(checkpoint, tmp_path / "plain.json", **given)
    plan = searched(checkpoint, tmp_path / "plan.json", reconstruct=2, **given)
    assert plan.totals.avg_bits <= 2.3
    assert "--reconstruct 2" in " ".join(search_of(plan).options)
    # What is scored are other weights.
    scores, rest = (
        json.loads((tmp_path / f"{name}.json.run/scores.json").read_text())["scores"] for name in ("plan", "plain")
    )
    assert scores != rest
    assert scores.keys() == rest.keys()
    assert search_of(plain).options != search_of(plan).options
    with pytest.raises(UsageError, match="--method sensitivity"):
        SearchSettings(reconstruct=2)


@pytest.mark.usefixtures("few_plans")
def test_the_papers_form_takes_the_most_probable_schemes(checkpoint, tmp_path):
    plan = searched(checkpoint, tmp_path / "plan.json", method="paper", trade_off=1.0)
    for layer in plan.layers:
        assert layer.probabilities is not None
        assert layer.probabilities[layer.scheme] == max(layer.probabilities.values())
    with pytest.raises(UsageError, match="--method paper takes a trade-off"):
        SearchSettings(method="paper", budget={"avg_bits": 2.2})


@pytest.mark.usefixtures("few_plans")
def test_constraints_hold_in_the_plan(checkpoint, tmp_path):
    constraints = Constraints(
        locks=(("head", "uniform-8"),), excludes=("patch_embed.proj_conv",), ties=(("q", "k", "v"),)
    )
    plan = searched(checkpoint, tmp_path / "plan.json", constraints=constraints, trade_off=3.0, epochs=1)
    schemes = plan.schemes()
    assert schemes["head"] == "uniform-8"
    assert schemes["patch_embed.proj_conv"] == "float32"
    assert len({schemes[f"block.0.attn.{name}"] for name in "qkv"}) == 1
    rows = [layer.probabilities for layer in plan.layers if layer.name.endswith((".q", ".k", ".v"))]
    assert rows[0] == rows[1] == rows[2]


@pytest.mark.usefixtures("few_plans")
def test_a_dearer_group_takes_fewer_bits(checkpoint, tmp_path):
    """With a trade-off of 0 every layer keeps its best scheme; a group with a huge one its cheapest."""
    knobs = {"trade_off": 0.0, "trade_offs": (("mlp", 1e6),), "epochs": 1}
    plan = searched(checkpoint, tmp_path / "plan.json", **knobs)
    bits = {layer.name: layer.scheme for layer in plan.layers if layer.group == "mlp"}
    assert set(bits.values()) == {"power-of-two-2"}
    assert any(not layer.scheme.endswith("-2") for layer in plan.layers)


def test_words_of_a_search():
    settings = parse_settings(
        budget=["avg-bits=2.2"], space=["uniform-2,uniform-4", "head=uniform-8,uniform-4"], tie=["q,k"], epochs=None
    )
    assert settings.budget == {"avg_bits": 2.2}
    assert settings.space == ("uniform-2", "uniform-4")
    assert settings.constraints.ties == (("q", "k"),)
    assert parse_settings(trade_off=["0.7", "tokenizer=2"]).trade_offs == (("tokenizer", 2.0),)
    for words, message in (
        ({"budget": ["avg-bits=2"], "trade_off": ["1"]}, "exclude each other"),
        ({"trade_off": ["much"]}, "give a number"),
        ({"method": "sensitive"}, "did you mean 'sensitivity'"),
    ):
        with pytest.raises(UsageError, match=message):
            parse_settings(**words)


def typed(words):
    """Return the settings of words as the command line gathers them."""
    options: dict[str, Any] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        options.setdefault(name.removeprefix("--").replace("-", "_"), []).append(value)
    ones = ("method", "epochs", "batch_size", "reconstruct", "seed")
    single = {name: options.pop(name)[0] for name in ones if name in options}
    numbers: dict[str, Any] = {name: value if name == "method" else int(value) for name, value in single.items()}
    return parse_settings(**options, **numbers)


@pytest.mark.parametrize(
    "settings",
    [
        SearchSettings(),
        SearchSettings(method="paper", trade_off=0.3, trade_offs=(("tokenizer", 2.0),), epochs=3, seed=7),
        SearchSettings(method="sensitivity", reconstruct=3),
        SearchSettings(method="sensitivity", budget={"avg_bits": 2.2, "storage_bits": 12345.0, "energy_pj": 1e6 / 3}),
        SearchSettings(budget=parse_settings(budget=["energy=8%", "storage=6.9%"]).budget, batch_size=8),
        SearchSettings(
            space=("uniform-2", "uniform-3"),
            constraints=Constraints((("head", ("uniform-8",)),), (("q", "uniform-2"),), ("mlp",), (("k", "v"),)),
        ),
    ],
)
def test_a_search_knows_the_words_that_make_it_again(settings):
    assert typed(settings.words()) == settings


@pytest.mark.usefixtures("few_plans")
def test_progress_tells_the_bits_of_every_group_and_what_is_decided(checkpoint, tmp_path):
    seen = []

    def progress(stage, done, total, /, **facts):
        if stage == "searching":
            seen.append(facts)

    settings = SearchSettings(**SHORT, trade_off=0.5, decided_at=0.2)
    search(Path(checkpoint), data=DATA, out=tmp_path / "p.json", settings=settings, progress=progress, **SIZES)
    lines = (tmp_path / "p.json.run" / "metrics.jsonl").read_text().splitlines()
    last, facts = json.loads(lines[-1]), seen[-1]
    assert not [key for key in last if "." in key]  # the run's record holds the probabilities themselves
    sums = {}
    for layer in Plan.read(tmp_path / "p.json").layers:
        size = math.prod(layer.shape)
        shares = dict(zip(last["space"], last["probabilities"][layer.name], strict=True))
        bits, weights = sums.get(layer.group, (0.0, 0))
        expected = sum(share * scheme(name).bits for name, share in shares.items())
        sums[layer.group] = bits + size * expected, weights + size
        top = max(shares, key=shares.__getitem__)
        assert (f"{layer.name} {top}" in facts["decided.decided"]) == (shares[top] >= 0.2)
    for group, (bits, weights) in sums.items():
        assert facts[f"bits.{group}"] == pytest.approx(bits / weights, rel=1e-5)
    whole = sum(bits for bits, _ in sums.values()) / sum(weights for _, weights in sums.values())
    assert facts["bits"] == pytest.approx(whole, rel=1e-5)


def two_or_one(checkpoint, out, stop_at=None):
    """Search on the processes that are there; with ``stop_at``, the last of them gets Ctrl-C at that step."""

    def progress(stage, done, total, /, **facts):
        if stage == "searching" and done == stop_at and processes.rank() == processes.count() - 1:
            signal.raise_signal(signal.SIGINT)

    settings = SearchSettings(**SHORT, budget={"avg_bits": 2.6})
    compute = Compute("cpu", devices=processes.count())
    return search(
        Path(checkpoint), data=DATA, out=out, settings=settings, compute=compute, progress=progress, **SIZES
    ).to_dict()


def on_two(checkpoint, folder):
    """Return the plan of a whole run, and leave one that was cut off."""
    plan = two_or_one(checkpoint, Path(folder) / "two.json")
    with pytest.raises(InterruptedRun):
        two_or_one(checkpoint, Path(folder) / "cut.json", stop_at=5)
    return plan


def same_plan(alone, found):
    assert alone["search"]["fingerprint"] == found["search"]["fingerprint"]
    assert alone["search"]["validation_loss"] == pytest.approx(found["search"]["validation_loss"], rel=1e-3)
    for mine, other in zip(alone["layers"], found["layers"], strict=True):
        assert mine["scheme"] == other["scheme"]
        assert mine["probabilities"] == pytest.approx(other["probabilities"], abs=1e-4)


@pytest.mark.slow
def test_two_processes_find_the_plan_of_one_and_one_goes_on_where_two_were_stopped(checkpoint, tmp_path):
    ours, theirs = in_two(on_two, str(checkpoint), str(tmp_path))
    assert ours == theirs == Plan.read(tmp_path / "two.json").to_dict()
    alone = two_or_one(checkpoint, tmp_path / "one.json")
    same_plan(alone, ours)
    assert torch.load(tmp_path / "cut.json.run/state.pt", weights_only=True)["loop"]["epoch"] == 1
    assert not (tmp_path / "cut.json").exists()
    same_plan(alone, two_or_one(checkpoint, tmp_path / "cut.json"))
