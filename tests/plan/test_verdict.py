"""Which simple plans count as rivals, and what is said of them."""

from __future__ import annotations

import pytest

from snnq.plan import SearchInfo
from snnq.plan.records import Baseline
from snnq.plan.verdict import rivals, verdict
from snnq.schemes.names import PAPER_SPACE


def info(loss, budget=None):
    return SearchInfo(method="differentiable", seed=0, epochs=1, space=PAPER_SPACE, budget=budget, validation_loss=loss)


def beside(plan, **losses):
    return plan.with_baselines(
        [Baseline(scheme=name.replace("_", "-"), validation_loss=loss) for name, loss in losses.items()]
    )


def test_only_plans_of_no_greater_cost_count(make):
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.5))
    plan = beside(plan, float32=0.1, uniform_4=0.2, uniform_2=0.6, power_of_two_2=0.7, power_of_two_4=None)
    assert [b.scheme for b in rivals(plan)] == ["uniform-2", "power-of-two-2"]
    assert verdict(plan).startswith("Better than every simple plan of no greater cost")
    assert "0.5000, uniform-2 0.6000" in verdict(plan)


def test_within_a_budget_counts_even_if_it_costs_more(make):
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.5, {"avg_bits": 4.0}))
    plan = beside(plan, uniform_4=0.2, uniform_2=0.6)
    assert verdict(plan).startswith("The uniform-4 plan wins: it costs no more")


@pytest.mark.parametrize(("loss", "begins"), [(0.4, "The sensitivity plan wins"), (0.6, "Better than every")])
def test_a_mixed_plan_can_win(make, reference_layers, loss, begins):
    plan = make("uniform-2", {"head": "uniform-4"}, search=info(0.5))
    schemes = dict.fromkeys((layer.name for layer in reference_layers), "power-of-two-2")
    plan = plan.with_baselines([Baseline(scheme="sensitivity", schemes=schemes, validation_loss=loss)])
    assert verdict(plan).startswith(begins)


def test_what_was_not_measured_is_not_judged(make):
    assert verdict(make("uniform-2")) is None
    assert verdict(make("uniform-2", search=info(None))) is None
    assert verdict(make("uniform-2", search=info(0.5))) == "No simple plan that was scored costs as little as this one."
    plan = make("uniform-2", search=info(0.5))
    same = plan.with_baselines([Baseline(scheme="sensitivity", schemes=plan.schemes(), validation_loss=0.5)])
    assert verdict(same) == "The sensitivity plan is this very plan."
