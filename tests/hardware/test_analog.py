"""Partial sums of arrays by hand, by a loop over every cell, and noise by its equation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snnq.assessing.array_reading import Converter, Reading, multiply
from snnq.base.errors import UsageError
from snnq.hardware.crossbars.analog import Cells, sliced, write
from snnq.hardware.crossbars.settings import ImcSettings, parse_drift

IDEAL, QUIET = Converter(), Cells()


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def made(values, weights, *, bits, planes, cell_bits=2, rows=4, signed=True, adc=IDEAL, cells=QUIET, **more):
    """Return x · W as arrays make it, and how it was read."""
    how = sliced(weights.shape[-1], bits, cell_bits, signed)
    written = write(how.levels(weights), how.most, cells, draw())
    reading = Reading(rows, adc, cells, draw(1), **more)
    return multiply(values, planes, written, how, reading, False), reading


def test_a_sum_by_hand():
    # Five inputs on arrays of four rows; weights 3, -2, 1, 5, -1 in cells of one bit: three slices in pairs.
    values, weights = torch.tensor([[[1, 1, 0, 3, 2]]]), torch.tensor([[[3], [-2], [1], [5], [-1]]])
    found, reading = made(values, weights, bits=3, planes=2, cell_bits=1)
    assert found.tolist() == [[[3 - 2 + 15 - 2]]]
    assert reading.tally.conversions == 2 * 2 * 6  # bits of inputs, arrays, columns


def test_a_converter_clips_and_rounds_by_hand():
    # One column of four cells of 3: sums up to 12. Three bits in steps of one give 7; of two, 12 is 6 steps, 9 is 4.5.
    weights = torch.full((1, 4, 1), 3)
    for bits, step, due in ((3, 1, 7), (3, 2, 12), (2, 2, 6)):
        found, reading = made(torch.ones(1, 1, 4).long(), weights, bits=2, planes=1, adc=Converter(bits, step))
        assert found.item() == due
        assert reading.tally.clipped == (due < 12)
    found, _ = made(torch.tensor([[[1, 1, 1, 0]]]), weights, bits=2, planes=1, adc=Converter(3, 2))
    assert found.item() == 10  # a half is rounded up


@given(
    st.integers(1, 9),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from([None, 2.0, 3.0, 10.0, 100.0]),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
def test_whole_sums_stay_whole_whatever_conducts_at_zero(inputs, outputs, cell_bits, bits, signed, on_off, group, seed):
    """Without noise and with enough bits of converters, arrays give the product exactly."""
    random = np.random.default_rng(seed)
    values = torch.from_numpy(random.integers(0, 8, (group, 3, inputs)))
    weights = torch.from_numpy(random.integers(1 - 2**bits if signed else 0, 2**bits, (group, inputs, outputs)))
    words = {"bits": bits, "planes": 3, "cell_bits": cell_bits, "signed": signed, "cells": Cells(on_off)}
    found, _ = made(values, weights, **words, adc=Converter(16), groups=group, together=min(2, group))
    assert torch.equal(found, (values @ weights).double())


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_partial_sums_are_those_of_a_loop_over_cells(seed, adc_bits, step):
    random = np.random.default_rng(seed)
    values, weights = random.integers(0, 4, (1, 2, 7)), random.integers(-15, 16, (1, 7, 3))
    found, _ = made(
        torch.from_numpy(values), torch.from_numpy(weights), bits=4, planes=2, adc=Converter(adc_bits, step), rows=3
    )
    due = np.zeros((2, 3))
    for m in range(2):
        for n in range(3):
            for plane in range(2):
                for sign in (1, -1):
                    for place in range(2):
                        for start in (0, 3, 6):
                            column = 0
                            for k in range(start, min(start + 3, 7)):
                                level = max(0, sign * int(weights[0, k, n])) >> 2 * place & 3
                                column += (int(values[0, m, k]) >> plane & 1) * level
                            converted = min(math.floor(column / step + 0.5), 2**adc_bits - 1) * step
                            due[m, n] += sign * 2**plane * 4**place * converted
    assert np.array_equal(found[0].numpy(), due)


def test_write_noise_is_that_of_the_equation():
    # Cells of 2 bits, γσ = 0.3: a level l is off by 0.3 · √(3 l) levels; one that holds 0 by nothing.
    levels = torch.tensor([0.0, 1.0, 2.0, 3.0]).repeat(1, 20000, 1)
    found = write(levels, 3, Cells(write_noise=0.3), draw()).cells
    spread = (found - levels).std(1)[0]
    assert spread[0] == 0
    assert spread[1:].tolist() == pytest.approx([0.3 * math.sqrt(3 * level) for level in (1, 2, 3)], rel=0.03)


def test_read_noise_is_that_of_every_cell():
    """The noise of a column equals that of its cells drawn one by one: σ √(Σ x G²)."""
    values, weights = torch.ones(1, 20000, 4).long(), torch.tensor([[[3], [2], [0], [1]]])
    found, _ = made(values, weights, bits=2, planes=1, signed=False, cells=Cells(on_off=4.0, read_noise=0.1))
    cells = np.array([3, 2, 0, 1]) + 1.0  # a cell of 0 conducts 3 / (4 - 1) = 1 level
    due = 0.1 * math.sqrt((cells**2).sum() + 4)  # and the reference column has four of these
    assert found.std().item() == pytest.approx(due, rel=0.03)
    assert found.mean().item() == pytest.approx(6, abs=0.02)


def test_drift_is_that_of_the_equation():
    values, weights = torch.ones(1, 1, 3).long(), torch.tensor([[[3], [2], [-1]]])
    found, _ = made(values, weights, bits=2, planes=1, cells=Cells(on_off=4.0, drift=(0.05, 1e4, 0.0)))
    assert found.item() == pytest.approx(4 * 1e4**-0.05, rel=1e-5)  # what cells of 0 conduct drifts in both columns


def test_a_spike_that_lies_lower_has_less_signal_and_as_much_noise():
    """Why spikes are not clipped: a 1 stored at a quarter of the range loses 6 dB (ClipFormer's negative)."""
    gamma, ones = 1.0, torch.ones(1, 40000, 1)
    snr = {}
    for level in (1.0, 0.25):
        noise = write(level * ones, 1, Cells(write_noise=gamma), draw()).cells / level - 1
        snr[level] = -10 * math.log10(noise.square().mean().item())
    assert snr[1.0] - snr[0.25] == pytest.approx(10 * math.log10(4), abs=0.15)


def test_clipping_whole_numbers_helps_where_noise_is_strong_alone():
    """At β = ¼ the heaviest slice is empty: worse at little noise, better at much (docs/in-memory.md)."""
    random = np.random.default_rng(0)
    counts = torch.from_numpy(random.binomial(64, 0.12, (40, 16, 16)))
    queries = torch.from_numpy((random.random((40, 16, 16)) < 0.3).astype(np.int64))
    due = (queries @ counts).double()

    def snr(gamma, low, high, bits):
        how = sliced(16, bits, 2, False)
        written = write(how.levels((counts - low).clamp(0, high)), how.most, Cells(100.0, gamma), draw(2))
        found = multiply(queries, 1, written, how, Reading(64, Converter(), Cells(100.0, gamma), draw(3)), False)
        return 10 * math.log10(due.square().sum() / (due - found).square().sum())

    assert snr(0.05, 0, 15, 4) < snr(0.05, 0, 64, 7)
    assert snr(2.0, 0, 15, 4) >= snr(2.0, 0, 64, 7) - 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"adc_range": "granulr"}, "did you mean 'granular'"),
        ({"mitigate": "bn-stat"}, "did you mean 'bn-stats'"),
        ({"write_noise": -1}, "--write-noise -1"),
        ({"on_off": 1.0}, "--on-off 1"),
        ({"alpha": 1.0}, "add --mitigate clip|belong to clipping"),
        ({"mitigate": "clip", "beta": 0.0}, "--beta 0"),
        ({"chips": 0}, "--chips"),
    ],
)
def test_settings_that_cannot_be(words, said):
    with pytest.raises(UsageError, match=said):
        ImcSettings(**words)


def test_drift_as_it_is_typed():
    assert parse_drift("0.05,86400") == (0.05, 86400.0, 0.0)
    assert parse_drift("0.05,86400,0.01") == (0.05, 86400.0, 0.01)
    assert parse_drift(None) is None
    for text in ("0.05", "a,b", "0.05,0.5", "-1,10", "0.1,nan"):
        with pytest.raises(UsageError, match="--drift"):
            parse_drift(text)
