"""Pools while they are trained: whose slots move and how they begin; a head without gradients beside an oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from snnq.adapting.discriminant import Sums
from snnq.adapting.pools import Pools, orthogonal, rounded_head, shares
from snnq.adapting.settings import AdaptSettings
from snnq.arithmetic.prompts import prefix
from snnq.base.errors import NotFiniteError, UsageError
from snnq.network.prefixes import Site
from snnq.training.seeding import generator

SITE = Site("block.0.attn", "block.0.attn.k", "x", "mix", "products", 2, 16, 9)


@pytest.mark.parametrize("method", ["os", "coda", "l2p"])
def test_only_the_tasks_own_slots_move(method: str) -> None:
    settings = AdaptSettings(method=method, pool=7, length=4, top=2)
    pools = Pools((SITE,), settings, 3)
    pools.begin(0)
    pools.begin(1)
    before = {name: one.detach().clone() for name, one in pools.named_parameters()}
    pool = pools.by_module()[SITE.module]
    own = slice(pool.first, pool.end)
    assert (own.start, own.stop) == ((0, 7) if method == "l2p" else (2, 4))
    moving = torch.optim.Adam(pools.parameters(), lr=0.1)
    query = torch.rand(5, 16)
    keys, values = pool(query)
    loss = (keys.sum(0) * torch.randn(keys.shape[1:])).sum() + values.square().sum() + pool.pull(query)
    loss.backward()
    moving.step()
    for name, one in pools.named_parameters():
        moved = (one != before[name]).flatten(1).any(1)
        assert not moved[: own.start].any(), name
        assert not moved[own.stop :].any(), name
        assert moved[own].any(), name


def test_float_and_whole_prompts_are_the_same_rule() -> None:
    settings = AdaptSettings(method="os", pool=6, length=4)
    pools = Pools((SITE,), settings, 1)
    pools.begin(0)
    pool, sums = pools.by_module()[SITE.module], np.random.default_rng(0).integers(0, 300, (8, 16))
    keys, values = (part.detach().numpy() > 0.5 for part in pool(torch.from_numpy(sums / 27).float()))
    found = prefix(pool.whole(), sums)
    assert np.mean(keys == found[0]) > 0.97
    assert np.mean(values == found[1]) > 0.97
    assert found[0].any()


def test_new_rows_are_orthogonal_while_there_are_directions() -> None:
    before = torch.randn(3, 8, generator=generator(0, "a"))
    rows = orthogonal(before, 7, generator(1, "b"))
    assert torch.allclose(rows[:5] @ before.T, torch.zeros(5, 3), atol=1e-4)
    within = rows[:5] @ rows[:5].T
    assert torch.allclose(within, 8 * torch.eye(5), atol=1e-4)  # of deviation 1: as long as √8
    assert rows[5:].norm(dim=1).min() > 0.5  # no direction is left: as they were drawn
    assert torch.equal(rows, orthogonal(before, 7, generator(1, "b")))


def test_every_slot_has_a_task() -> None:
    assert shares(50, 3) == [0, 16, 33, 50]
    assert shares(3, 3) == [0, 1, 2, 3]
    with pytest.raises(UsageError, match="each of the 4 tasks needs a slot"):
        shares(3, 4)


def test_discriminant_beside_scikit_learn() -> None:
    draw = np.random.default_rng(3)
    labels = np.repeat(np.arange(4), 30)
    x = draw.normal(size=(120, 6)) @ draw.normal(size=(6, 6)) + 2 * draw.normal(size=(4, 6))[labels]
    found = Sums(4, 6)
    for task in (slice(0, 60), slice(60, 120)):  # two classes after the other
        found.add(x[task], labels[task])
    weight, bias = found.head(0.1)
    # scikit-learn shrinks the covariance of each class, after scaling features: without shrinkage both are plain LDA.
    plain, offset = found.head(0.0)
    due = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.25] * 4).fit(x, labels).decision_function(x)
    logits = x @ plain.T + offset
    assert np.allclose(logits - logits.mean(1, keepdims=True), due - due.mean(1, keepdims=True), atol=1e-6)
    within = np.concatenate([x[labels == c] - x[labels == c].mean(0) for c in range(4)])
    covariance = within.T @ within / 120
    shrunk = 0.9 * covariance + 0.1 * np.trace(covariance) / 6 * np.eye(6)
    means = np.stack([x[labels == c].mean(0) for c in range(4)])
    assert np.allclose(weight, means @ np.linalg.inv(shrunk), atol=1e-8)
    assert np.allclose(bias, -0.5 * (means * weight).sum(1))


def test_one_sample_a_class_is_told_by_the_nearest_mean() -> None:
    found, x = Sums(3, 4), np.random.default_rng(0).random((3, 4))
    found.add(x, np.arange(3))
    weight, bias = found.head()
    assert np.isfinite(weight).all()
    assert max(np.abs(weight).max(), np.abs(bias).max()) <= 2**15
    assert (x @ weight.T + bias).argmax(1).tolist() == [0, 1, 2]
    nothing = Sums(2, 4)
    nothing.add(np.zeros((2, 4)), np.arange(2))
    assert not np.concatenate([part.ravel() for part in nothing.head()]).any()


def test_a_head_that_float16_does_not_hold_is_no_result() -> None:
    head = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(head.weight, 1e6)
    with pytest.raises(NotFiniteError, match="float16"):
        rounded_head(head)
