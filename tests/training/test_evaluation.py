"""Scores and BN statistics against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from snnq.training.batches import training_batches
from snnq.training.evaluation import evaluate, predict, reestimate_batchnorm, score


class Numbers:
    """A split of plain numbers."""

    def __init__(self, count=20, width=3):
        self.x = torch.randn(count, width, generator=torch.Generator().manual_seed(0)) * 3 + 1
        self.y = (self.x[:, 0] > 1).long()

    def __len__(self):
        return len(self.x)

    def __getitems__(self, indices):
        return self.x[indices], self.y[indices]


def test_score_typed_by_hand():
    found = score(torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]]), torch.tensor([1, 1]))
    assert found.accuracy == pytest.approx(0.5)  # a tie goes to the first class
    assert found.loss == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    assert found.samples == 2


def test_predict_keeps_the_order_and_the_mode():
    torch.manual_seed(0)
    samples, model = Numbers(), nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.9)).train()
    logits, labels = predict(model, samples, batch_size=7)
    assert torch.allclose(logits, model[0](samples.x))
    assert torch.equal(labels, samples.y)
    assert model.training
    assert evaluate(model, samples, 7).samples == 20


def test_batchnorm_is_the_plain_average_over_a_pass():
    samples, model = Numbers(), nn.Sequential(nn.BatchNorm1d(3))
    model.get_buffer("0.running_mean").fill_(100)
    reestimate_batchnorm(model.eval(), samples, 5, seed=4)
    mean, variance = (model.get_buffer(f"0.running_{name}").numpy() for name in ("mean", "var"))
    batches = [samples.x[b].numpy() for b in training_batches(20, 5, 4, "batchnorm")]
    np.testing.assert_allclose(mean, np.mean([b.mean(0) for b in batches], 0), rtol=1e-5)
    np.testing.assert_allclose(variance, np.mean([b.var(0, ddof=1) for b in batches], 0), rtol=1e-5)
    assert not model.training
    assert model[0].momentum == 0.1
