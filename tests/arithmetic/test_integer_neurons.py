"""Integer neurons compare sums with thresholds, exactly as numbers that are rounded and clamped; norms in a row."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.arithmetic.fixed_point import joined
from snnq.arithmetic.integers import counting
from snnq.arithmetic.whole_modules import IntegerCounts
from snnq.models.neurons import IntegerSpikes
from snnq.network.operations import Rounding
from snnq.schemes.whole import Whole

EVEN, UP = Rounding(4), Rounding(4, 4.0, half_up=True)


def spikes_of(sums: list[int], rounds: Rounding, multiplier: float, offset: float, unit: float = 0.25) -> list[int]:
    """How many spikes the neurons of a layer of one weight of 1 put out for whole sums."""
    bound = max(1, *(abs(one) for one in sums))
    whole = Whole(np.ones((1, 1), np.int64), np.array([unit]))
    found = counting(whole, np.array([multiplier], np.float32), np.array([offset], np.float32), rounds, bound)
    assert not found.shift.any()
    assert not found.offset.any()
    turned = torch.tensor(sums)[:, None, None] * int(found.sign[0])
    neurons = IntegerCounts(torch.from_numpy(found.threshold), 1)
    return neurons(turned).int().flatten().tolist()


def test_by_hand() -> None:
    """x = a/4: halves at a = 2, 6, 10 and 14 are rounded to the even number, or upwards of 4·x = a."""
    assert spikes_of([-1, 2, 3, 6, 7, 10, 11, 14, 15, 99], EVEN, 1.0, 0.0) == [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]
    assert spikes_of([-1, 0, 1, 2, 3, 4, 5], UP, 0.5, 0.0) == [0, 0, 1, 1, 2, 2, 3]  # of a/2
    assert spikes_of([-8, -4, 0, 4], EVEN, -1.0, 0.0) == [2, 1, 0, 0]
    assert spikes_of([-3, 0, 3], EVEN, 0.0, 2.5) == [2, 2, 2]  # no sum counts
    assert spikes_of([-3, 0, 3], UP, 0.0, 0.625) == [3, 3, 3]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([EVEN, UP, Rounding(1), Rounding(8, 2.0), Rounding(3, 3.0, half_up=True)]),
    st.integers(-64, 64),
    st.integers(-256, 256),
    st.integers(-400, 400),
)
def test_against_fractions(rounds: Rounding, multiplier: int, offset: int, a: int) -> None:
    """Multipliers and offsets in 32nds, so that halves come up and nothing else is rounded."""
    (found,) = spikes_of([a], rounds, multiplier / 32, offset / 32)
    x = Fraction(multiplier, 32) * Fraction(a, 4) + Fraction(offset, 32)
    y = min(max(x * int(rounds.gain), Fraction(0)), Fraction(rounds.most))
    due = int(y + Fraction(1, 2)) if rounds.half_up else round(y)
    assert found == due
    assert float(IntegerSpikes(rounds.most, rounds.gain, rounds.half_up)(torch.tensor(float(x)))) == due


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_against_float64_where_nothing_is_halfway(seed: int) -> None:
    draw = np.random.default_rng(seed)
    multiplier, offset, unit = draw.normal(0, 2), draw.normal(0, 2), draw.uniform(0.001, 1)
    sums = draw.integers(-5000, 5000, 50).tolist()
    multiplier, offset = float(np.float32(multiplier)), float(np.float32(offset))
    x = multiplier * unit * np.array(sums) + offset
    clear = np.abs(x - np.floor(x) - 0.5) > 1e-9
    found = np.array(spikes_of(sums, EVEN, multiplier, offset, unit))
    assert np.array_equal(found[clear], np.rint(np.clip(x, 0, 4))[clear])


def test_two_norms_in_a_row_by_hand() -> None:
    """3·(2·x + 1) + 5 = 6·x + 8; of none x."""
    inner, outer = ((np.array([a], np.float32), np.array([b], np.float32)) for a, b in ((2, 1), (3, 5)))
    assert [part.tolist() for part in joined([inner, outer], 1)] == [[6], [8]]
    assert [part.tolist() for part in joined([], 2)] == [[1, 1], [0, 0]]
    assert joined([inner], 1) is inner
