"""Leaks in fixed point: the rule, its bounds, and what compiled neurons make of it, against Python's whole numbers."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.arithmetic import integers
from snnq.arithmetic.whole_modules import CurrentSteps, IntegerLIF
from snnq.base.errors import UsageError
from snnq.network import leaks
from snnq.network.operations import Neuron
from snnq.runtime.layer_kernels import fire_numbers, fire_pixel
from snnq.runtime.reference import lif
from snnq.schemes.whole import Whole

FACTORS = st.integers(0, leaks.FIXED - 1)


@given(u=st.integers(-(2**62), 2**62), kept=FACTORS)
def test_what_is_left_is_the_nearest_whole_number(u: int, kept: int) -> None:
    due = (u * kept + 2**15) >> 16
    assert int(leaks.left(np.array([u]), leaks.FIXED + kept)[0]) == due
    assert int(leaks.left(torch.tensor([u]), leaks.FIXED + kept)[0]) == due


@given(w=st.floats(-6, 40))
def test_a_learned_rate_is_rounded_once(w: float) -> None:
    found = leaks.learned(w)
    assert leaks.is_fixed(found)
    assert abs(leaks.rate(found) - 1 / (1 + math.exp(-w))) <= 2**-17 + 1e-12
    assert leaks.worth(found) * leaks.rate(found) == pytest.approx(1)


@given(kept=FACTORS)
def test_a_rounded_rate_stays_what_it_is_in_float32(kept: int) -> None:
    w = leaks.w_of(leaks.FIXED + kept)
    assert (w is None) == (kept == 0)
    if w is not None:
        assert leaks.learned(float(np.float32(w))) == leaks.FIXED + kept


def test_every_leak_that_an_operation_says() -> None:
    def said(**facts: Any) -> int | None:
        return leaks.leak(Neuron("n", ("x",), "y", **facts))

    assert [said(), said(tau=1.5), said(tau=None), said(integrates=True)] == [2, 3, None, 1]
    assert said(tau=4.0) == leaks.FIXED + 3 * 2**14
    assert [leaks.lead(one) for one in (1, 2, 3, leaks.FIXED)] == [1, 1, 2, 1]
    assert [leaks.worth(one) for one in (1, 2, 3, leaks.FIXED + 2**15)] == [1, 2, 3, 2]


def test_a_leak_too_slow_for_so_many_steps_is_refused() -> None:
    slow = leaks.rounded(1 / 1000)
    assert leaks.growth(slow, 16) == 3
    assert leaks.growth(leaks.rounded(0.6), 10**6) == 0
    with pytest.raises(UsageError, match=r"neurons a\.lif: their time constant is 993 steps"):
        leaks.growth(slow, 600, "a.lif")
    with pytest.raises(UsageError, match="too large for neurons"):
        integers.compared(2.0**30, 1.0, slow)


def python_lif(currents: list[int], threshold: int, kept: int) -> list[int]:
    v, spikes = 0, []
    for one in currents:
        u = v + one
        spikes.append(int(u >= threshold))
        v = 0 if u >= threshold else (u * kept + 2**15) >> 16
    return spikes


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kept=FACTORS, wide=st.booleans())
def test_all_neurons_agree_with_whole_numbers_of_python(seed: int, kept: int, wide: bool) -> None:
    """Currents as large as there is room for, of 64 channels and 6 steps."""
    draw, kind, leak = np.random.default_rng(seed), np.int64 if wide else np.int32, leaks.FIXED + kept
    limit = (integers.WIDE_NEURON_LIMIT if wide else integers.NEURON_LIMIT) >> leaks.growth(leak, 6)
    low = draw.integers(0, 2, 64) * 2 - 1  # some only go down
    currents = np.where(low > 0, draw.integers(-limit, limit, (6, 64)), -limit).astype(kind)
    threshold = draw.integers(1, limit, 64).astype(kind)
    due = np.array([python_lif(currents[:, c].tolist(), int(threshold[c]), kept) for c in range(64)]).T
    assert np.array_equal(lif(currents.astype(np.int64)[None, :, :, None, None], threshold, leak)[0, :, :, 0, 0], due)
    node = IntegerLIF(torch.from_numpy(threshold), 1, leak=leak)
    assert np.array_equal(node(torch.from_numpy(currents)[:, None])[:, 0].numpy(), due)
    nothing, words = np.zeros(64, kind), np.empty((1, 6, 1), np.uint64)
    state = np.zeros((1, 1, 64), kind)
    fire_pixel(currents, nothing, nothing, threshold, leak, state, False, words, 0, 0)
    assert np.array_equal(_bits(words), due)
    fire_numbers(currents[None], 0, threshold, leak, state, False, words, 0, 1)
    assert np.array_equal(_bits(words), due)


def _bits(words: np.ndarray) -> np.ndarray:
    return np.unpackbits(words.view(np.uint8)[0], axis=-1, bitorder="little")


@pytest.mark.parametrize("tau", [1.01, 1.3, 2.7, 9.0, 80.0])
@pytest.mark.parametrize("wide", [False, True])
def test_whole_neurons_are_those_of_fractions_nearly_always(tau: float, wide: bool) -> None:
    draw, leak = np.random.default_rng(1), leaks.rounded(1 / tau)
    values, steps = draw.integers(-8, 8, (64, 32)), 40
    whole = Whole(values << 30 if wide else values, np.full(64, 2.0**-34 if wide else 2.0**-4), wide=wide)
    multiplier, offset = draw.uniform(0.3, 1, 64).astype(np.float32), draw.uniform(-0.1, 0.3, 64).astype(np.float32)
    threshold = min(1.0, 1.5 / tau)
    found = integers.neurons(whole, multiplier, offset, threshold, 1, leak, leaks.growth(leak, steps))
    assert found.wide == wide
    sums = (draw.random((steps, 32)) < 0.2).astype(np.int64) @ whole.values.T
    currents = CurrentSteps(found)(torch.from_numpy(sums))
    spikes = IntegerLIF(torch.from_numpy(found.threshold).to(currents.dtype), 1, leak=leak)(currents[:, None])[:, 0]
    due, rate = np.zeros((steps, 64)), Fraction(leaks.rate(leak))
    for c in range(64):
        h, gain = Fraction(0), Fraction(float(multiplier[c])) * Fraction(float(whole.unit[c]))
        for step in range(steps):
            h += (gain * int(sums[step, c]) + Fraction(float(offset[c])) - h) * rate
            due[step, c], h = (1, Fraction(0)) if h >= Fraction(threshold) else (0, h.limit_denominator(2**60))
    assert due.mean() > 0.005
    assert float(np.abs(spikes.numpy() - due).mean()) < 0.002
