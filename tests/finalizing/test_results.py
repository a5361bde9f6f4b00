"""Histograms of weights before and after, of any finite numbers."""

from __future__ import annotations

import pytest
import torch

from snnq.packing.results import BINS, weight_record

WEIGHTS = ([3.4e38, -3.4e38, 1.0], [1.8e38] * 5, [0.0, 0.0], [1e-45, -1e-45, 0.0], [7.0], [-0.25, 0.5])


@pytest.mark.parametrize("values", WEIGHTS, ids=str)
def test_every_weight_is_in_a_bin(values: list[float]) -> None:
    weight = torch.tensor([values])
    found = weight_record(weight, weight / 2)
    assert sum(found.before) == sum(found.after) == len(values)
    assert len(found.before) == BINS
    assert found.low == -found.high
    assert found.high == max(float(weight.abs().max()), 1e-12)
    assert found.zeros_before == pytest.approx(values.count(0.0) / len(values))


def test_a_histogram_by_hand() -> None:
    # Bins of width 2/61 from −1: 0 is in the middle one, the ends in the first and last.
    found = weight_record(torch.tensor([[-1.0, 0.0, 0.0, 1.0]]), torch.tensor([[1.0, 1.0, 1.0, 0.5]]))
    assert {i: count for i, count in enumerate(found.before) if count} == {0: 1, 30: 2, 60: 1}
    # 0.5 is 1.5 · 61/2 = 45.75 bins from the left end.
    assert {i: count for i, count in enumerate(found.after) if count} == {45: 1, 60: 3}
