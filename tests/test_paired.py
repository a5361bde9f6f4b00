"""Paired tests against scipy, against what they mean, and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import optimize, stats

from snnq.base.paired import Difference, PerSample, Z, bootstrap, difference, mcnemar, tango, wilson


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_exact_binomial_test(b, c):
    exact = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(exact, rel=1e-9)
    assert mcnemar(b, c) == mcnemar(c, b)


def test_one_recording_of_380_shows_nothing():
    assert mcnemar(1, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 / 2**5)
    assert mcnemar(6, 0) == pytest.approx(2 / 2**6)
    low, high = Difference(samples=380, only_this=1, only_other=0).accuracy_interval
    assert low < -0.005 < 0.01 < high


def _score(b, c, n, delta):
    """Return |z| of the hypothesis that the shares differ by delta, its nuisance share by numeric likelihood."""

    def unlikely(share):
        return -(b * np.log(share + delta) + c * np.log(share) + (n - b - c) * np.log(1 - 2 * share - delta))

    least = max(0.0, -delta) + 1e-12
    share = optimize.minimize_scalar(unlikely, bounds=(least, (1 - delta) / 2 - 1e-12), method="bounded")
    return abs(b - c - n * delta) / np.sqrt(n * (2 * share.x + delta - delta**2))


def test_tango_holds_what_the_score_test_does_not_refuse():
    # Without a discordant sample: z² / (N + z²) to either side.
    low, high = tango(0, 0, 100)
    assert (low, high) == (pytest.approx(-(Z**2) / (100 + Z**2)), pytest.approx(Z**2 / (100 + Z**2)))
    assert tango(12, 3, 60) == pytest.approx(tuple(-one for one in reversed(tango(3, 12, 60))))
    for b, c, n in ((0, 1, 44), (12, 3, 60), (40, 22, 359)):
        for edge in tango(b, c, n):
            assert _score(b, c, n, edge) == pytest.approx(Z, abs=1e-3)
    assert tango(5, 0, 5)[1] == 1.0


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.data())
def test_the_interval_holds_the_difference(n, data):
    b = data.draw(st.integers(0, n))
    c = data.draw(st.integers(0, n - b))
    found = Difference(samples=n, only_this=b, only_other=c)
    low, high = found.accuracy_interval
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert (found.more_accurate != 0) == (not low <= 0 <= high)


def test_intervals_cover_as_often_as_they_say():
    draw, held = np.random.default_rng(1), {"accuracy": 0, "loss": 0, "alone": 0}
    for _ in range(400):
        b, c, _ = draw.multinomial(120, [0.1, 0.04, 0.86])
        low, high = tango(b, c, 120)
        held["accuracy"] += low <= 0.06 <= high
        low, high = bootstrap(draw.normal(0.3, 1.0, 120))
        held["loss"] += low <= 0.3 <= high
        low, high = wilson(draw.binomial(120, 0.9) / 120, 120)
        held["alone"] += low <= 0.9 <= high
    assert all(0.92 <= count / 400 <= 0.98 for count in held.values())


def test_the_bootstrap_agrees_with_scipys():
    each = np.random.default_rng(2).exponential(0.2, 200) - 0.15
    theirs = stats.bootstrap((each,), np.mean, method="percentile", rng=np.random.default_rng(3)).confidence_interval
    assert bootstrap(each) == pytest.approx(tuple(theirs), abs=0.003)
    assert bootstrap(each) == bootstrap(each.copy())


def test_wilson_is_scipys():
    theirs = stats.binomtest(355, 380).proportion_ci(method="wilson")
    assert wilson(355 / 380, 380) == pytest.approx((theirs.low, theirs.high))
    assert wilson(1.0, 10)[1] == pytest.approx(1.0)


def test_samples_are_kept_in_their_order_and_compared_one_by_one():
    right = np.array([True, False, True, True, False, False, True, True, True, False])
    kept = PerSample.of(right, np.linspace(0.123456, 1, 10))
    assert kept.right == "b380"
    assert kept.losses is not None
    assert kept.losses[:2] == (0.1235, 0.2208)
    assert (kept.answers() == right).all()
    assert PerSample.model_validate(kept.model_dump(mode="json")) == kept
    other = PerSample.of(~right, np.linspace(0.123456, 1, 10) + 0.5)
    found, turned = difference(kept, other), difference(other, kept)
    assert found is not None
    assert turned is not None
    assert (found.samples, found.only_this, found.only_other) == (10, 6, 4)
    assert found.loss == pytest.approx(-0.5, abs=1e-3)
    assert (found.lower_loss, found.more_accurate) == (1, 0)
    assert turned.lower_loss == -1


def test_what_cannot_be_paired_is_not():
    one = PerSample.of(np.ones(8, bool), np.full(8, np.nan))
    assert one.losses is None
    same = difference(one, one)
    assert same is not None
    assert same == Difference(samples=8, only_this=0, only_other=0)
    assert same.lower_loss == 0
    assert difference(one, None) is None
    assert difference(one, PerSample.of(np.ones(7, bool), np.zeros(7))) is None
    for wrong in ({"right": "zz"}, {"right": "ff00"}, {"losses": (0.1,)}):
        with pytest.raises(ValidationError):
            PerSample.model_validate({"samples": 8, "right": "ff"} | wrong)
