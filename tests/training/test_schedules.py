"""Schedules at the places where they are known by hand."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snnq.training.schedules import learning_rate, temperature

RATES = {"peak": 1e-3, "start": 1e-4, "floor": 1e-5}


def test_learning_rate_at_known_places():
    assert learning_rate(0, 100, **RATES) == pytest.approx(1e-4)
    assert learning_rate(5, 100, **RATES) == pytest.approx(5.5e-4)
    assert learning_rate(10, 100, **RATES) == pytest.approx(1e-3)
    assert learning_rate(55, 100, **RATES) == pytest.approx((1e-3 + 1e-5) / 2)
    assert learning_rate(100, 100, **RATES) == pytest.approx(1e-5)


@given(st.integers(2, 500), st.data())
def test_learning_rate_stays_between_its_ends(total, data):
    step = data.draw(st.integers(0, total))
    assert 1e-5 - 1e-12 <= learning_rate(step, total, **RATES) <= 1e-3 + 1e-12


def test_temperature_falls_exponentially():
    heats = [temperature(i, 11, high=5.0, low=0.05) for i in range(11)]
    assert heats[0] == pytest.approx(5.0)
    assert heats[-1] == pytest.approx(0.05)
    assert heats[5] == pytest.approx(math.sqrt(5.0 * 0.05))
    ratios = [b / a for a, b in itertools.pairwise(heats)]
    assert ratios == pytest.approx([ratios[0]] * 10)
