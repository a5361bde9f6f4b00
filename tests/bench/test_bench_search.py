"""The bench measures what it says; that its numbers are good is for the bench itself to show."""

from __future__ import annotations

import json

import pytest

from snnq.bench.search import _mean_step
from snnq.bench.timing import median_ratio, time_in_turns
from snnq.cli.main import run
from snnq.searching.settings import SearchSettings


def test_contestants_take_turns():
    order = []
    seconds = time_in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3, warmup=1)
    assert "".join(order) == "abababab"
    assert [len(times) for times in seconds.values()] == [3, 3]


def test_median_of_paired_ratios_typed_by_hand():
    assert median_ratio([2.0, 9.0, 8.0], [1.0, 3.0, 2.0]) == pytest.approx(3.0)


def test_mean_step_typed_by_hand():
    """50 weight steps of 1 s, 25 architecture steps of 2 s and one refresh of 5 s: 105 s over 75 steps."""
    settings = SearchSettings(refresh_every=50, architecture_every=2)
    assert _mean_step(settings, 1.0, 2.0, 5.0) == pytest.approx(105 / 75)


def test_bench_search_prints_its_ratios(capsys):
    assert run(["bench", "search", "--repeats", "3", "--batch-size", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    times = found["median_ms"]
    assert times.keys() == {"float", "weights", "architecture", "refresh", "branches"}
    assert all(value > 0 for value in times.values())
    assert found["branches_over_composite"] > 0
    assert found["composite_over_float"] > 0
    assert found["machine"]["torch"]
