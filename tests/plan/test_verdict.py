"""Which simple plans count as rivals, and what is said of them: no more than the samples tell."""

from __future__ import annotations

import numpy as np
import pytest

from snnq.base.paired import PerSample, difference
from snnq.plan import Plan, SearchInfo
from snnq.plan.records import Baseline
from snnq.plan.verdict import rivals, verdict, winning_plan
from snnq.schemes.names import PAPER_SPACE
from snnq.searching.run import better_plan, write_winner

SAMPLES = 207


def info(loss, budget=None):
    return SearchInfo(method="differentiable", seed=0, epochs=1, space=PAPER_SPACE, budget=budget, validation_loss=loss)


def each(mean, spread=0.0, seed=0):
    """Return losses about a mean; equal seeds vary together, so that their difference is certain."""
    losses = np.abs(mean + spread * np.random.default_rng(seed).standard_normal(SAMPLES))
    return PerSample.of(losses < 0.5, losses)


def mean_loss(one: PerSample) -> float:
    assert one.losses is not None
    return float(np.mean(one.losses))


def again(plan: Plan, seed: int) -> Plan:
    """Return the same schemes as a search of another seed found them."""
    assert plan.search is not None
    return plan.model_copy(update={"search": plan.search.model_copy(update={"seed": seed})})


def judged(plan: Plan) -> str:
    said = verdict(plan)
    assert said is not None
    return said


def beside(plan, own=None, **others):
    """Return the plan with baselines of these losses: numbers, or what was kept of each sample."""
    rows = []
    for name, one in others.items():
        loss = mean_loss(one) if isinstance(one, PerSample) else one
        kept = difference(own, one) if isinstance(one, PerSample) else None
        rows.append(Baseline(scheme=name.replace("_", "-"), validation_loss=loss, difference=kept))
    return plan.with_baselines(rows)


def test_only_plans_of_no_greater_cost_count(make):
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.5))
    plan = beside(plan, float32=0.1, uniform_4=0.2, uniform_2=0.6, power_of_two_2=0.7, power_of_two_4=None)
    everywhere = Baseline(scheme="float32, searched", schemes=dict.fromkeys(plan.schemes(), "float32"))
    plan = plan.with_baselines([everywhere.model_copy(update={"validation_loss": 0.1})])
    assert [b.scheme for b in rivals(plan)] == ["uniform-2", "power-of-two-2"]


def test_old_plans_kept_no_samples_so_nobody_is_better(make):
    plan = beside(make("uniform-2", {"head": "uniform-4"}, search=info(0.5)), uniform_2=0.6)
    said = judged(plan)
    assert "0.5000, uniform-2 0.6000" in said
    assert "cannot be told: results by sample were not kept" in said
    assert "etter" not in said


def test_better_is_said_of_what_every_resampling_shows(make):
    own = each(0.3, 0.05, 1)
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.3))
    said = judged(beside(plan, own, uniform_2=each(0.5, 0.05, 1), power_of_two_2=each(0.7, 0.05, 2)))
    assert said.startswith("Better than every simple plan that takes no more storage and no more energy than this one")
    assert "0.3000, uniform-2 0.4967" in said
    assert "difference -0.200" in said
    assert "207 samples" in said


def test_0_0864_against_0_0867_on_207_samples_is_no_difference(make):
    own = each(0.0864, 0.1, 1)
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(mean_loss(own)))
    plan = beside(plan, own, uniform_2=each(0.0867, 0.1, 2), power_of_two_2=each(0.9, 0.1, 3))
    said = judged(plan)
    assert said.startswith(
        "No difference that 207 samples can show between this plan and uniform-2, which takes no more"
    )
    assert said.endswith("It is better than the other one.")
    low, high = plan.baselines[2].difference.loss_low, plan.baselines[2].difference.loss_high
    assert low < 0 < high
    assert f"95 % interval {low:+.4f} to {high:+.4f}" in said


def test_within_a_budget_counts_even_if_it_costs_more_and_the_words_say_so(make):
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.5, {"avg_bits": 4.0, "energy_pj": 1e12}))
    said = judged(beside(plan, each(0.5, 0.1, 1), uniform_4=each(0.2, 0.1, 1), uniform_2=each(0.6, 0.1, 1)))
    assert said.startswith("The uniform-4 plan wins: it keeps the budget of storage and energy, and its loss is lower")
    assert "no more" not in said


@pytest.mark.parametrize(("loss", "begins"), [(0.4, "The sensitivity plan wins"), (0.6, "Better than every")])
def test_a_mixed_plan_can_win(make, reference_layers, loss, begins):
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.5))
    schemes = dict.fromkeys((layer.name for layer in reference_layers), "power-of-two-2")
    kept = difference(each(0.5, 0.1), each(loss, 0.1))
    mixed = Baseline(scheme="sensitivity", schemes=schemes, validation_loss=loss, difference=kept)
    assert judged(plan.with_baselines([mixed])).startswith(begins)


def test_what_was_not_measured_is_not_judged(make):
    assert verdict(make("uniform-2")) is None
    assert verdict(make("uniform-2", search=info(None))) is None
    assert verdict(make("uniform-2", search=info(0.5))) is None
    dear = beside(make("uniform-2", search=info(0.5)), uniform_4=0.1)
    assert verdict(dear) == "No simple plan that was scored takes no more storage and no more energy than this one."
    plan = make("uniform-2", search=info(0.5))
    same = plan.with_baselines([Baseline(scheme="sensitivity", schemes=plan.schemes(), validation_loss=0.5)])
    assert verdict(same) == "The sensitivity plan is this very plan."


def test_a_plan_edited_by_hand_has_no_score_and_nothing_wins_over_it(make, tmp_path):
    own = each(0.5, 0.1, 1)
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.5))
    plan = beside(plan, own, uniform_4=each(0.1, 0.1, 1), uniform_2=each(0.2, 0.1, 1))
    assert "uniform-2 plan wins" in judged(plan)
    plan.write(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    edited = text.replace(
        '"scheme": "uniform-4",\n      "searched": "uniform-4"', '"scheme": "float32",\n      "searched": "uniform-4"'
    )
    assert edited != text
    (tmp_path / "edited.json").write_text(edited)
    found = Plan.read(tmp_path / "edited.json")
    assert found.search is not None
    assert (found.search.validation_loss, found.search.validation_accuracy) == (None, None)
    assert {b.scheme: b.validation_loss for b in found.baselines if b.validation_loss}.keys() == {
        "uniform-4",
        "uniform-2",
    }
    assert all(baseline.difference is None for baseline in found.baselines)
    assert verdict(found) == (
        "This plan was not measured before finetuning: 1 of its layers were given another scheme after the search, "
        "so it is not compared with the simple plans."
    )
    # Edited back, it is the plan that was measured.
    (tmp_path / "edited.json").write_text(
        edited.replace('"scheme": "float32",\n      "searched"', '"scheme": "uniform-4",\n      "searched"')
    )
    assert Plan.read(tmp_path / "edited.json") == plan


def test_the_simple_plan_that_wins_is_written_beside(make, tmp_path):
    own = each(0.6, 0.05, 1)
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.6))
    plan = beside(plan, own, uniform_2=each(0.4, 0.05, 1), power_of_two_2=each(0.7, 0.05, 2))
    winner = winning_plan(plan)
    assert winner is not None
    name, won = winner
    assert name == "uniform-2"
    assert set(won.schemes().values()) == {"uniform-2"}
    write_winner(plan, tmp_path / "plan.json", force=False)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.uniform-2.json"]
    assert Plan.read(tmp_path / "plan.uniform-2.json") == won
    assert better_plan(plan, tmp_path / "plan.json") == tmp_path / "plan.uniform-2.json"
    write_winner(plan, tmp_path / "plan.json", force=False)  # what is there stays, and costs no error
    won.with_schemes({"head": "uniform-8"}).write(tmp_path / "plan.uniform-2.json")  # of an earlier search
    assert better_plan(plan, tmp_path / "plan.json") == tmp_path / "plan.json"
    (tmp_path / "plan.uniform-2.json").unlink()
    write_winner(again(plan, seed=1), tmp_path / "plan.json", force=False)  # its numbers are another search's
    assert better_plan(plan, tmp_path / "plan.json") == tmp_path / "plan.json"
    assert better_plan(again(plan, seed=1), tmp_path / "plan.json") == tmp_path / "plan.uniform-2.json"
    level = beside(make("uniform-2", {"head": "uniform-4"}, search=info(0.6)), own, uniform_2=each(0.6, 0.05, 1))
    assert winning_plan(level) is None
