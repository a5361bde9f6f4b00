"""Rounding learned for one layer's outputs: against a search through all roundings, and what it must never do."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from snnq.schemes.fitting.clips import choose, grams, row_errors
from snnq.schemes.fitting.descent import reconstructed
from snnq.schemes.scheme import scheme

NAMES = ("uniform-2", "uniform-3", "power-of-two-3", "power-of-two-4")


def correlated(n, seed=0):
    """The Gram matrix of inputs that go together, as spikes of one image do."""
    torch.manual_seed(seed)
    x = (torch.randn(400, 4) @ torch.randn(4, n) + 0.3 * torch.randn(400, n) > 1).float()
    return x.T @ x / len(x)


@pytest.mark.parametrize("name", NAMES)
def test_no_pass_makes_the_error_larger(name):
    torch.manual_seed(1)
    weight, gram, one = torch.randn(16, 48), correlated(48), scheme(name)
    params = choose("awq", weight, one, gram)
    found = [reconstructed(weight, one, gram, passes) for passes in range(4)]
    assert torch.equal(found[0], one.project(weight, params)[0])
    errors = [row_errors(weight, value, gram) for value in found]
    for before, after in itertools.pairwise(errors):
        assert (after <= before + 1e-5).all()
    assert errors[1].sum() < 0.9 * errors[0].sum()
    # Every weight is a level of its grid.
    assert torch.allclose(one.project(found[3], params)[0], found[3], atol=1e-6)


def test_no_single_weight_could_do_better():
    torch.manual_seed(2)
    weight, gram, one = torch.randn(6, 10), correlated(10), scheme("uniform-2")
    params = choose("awq", weight, one, gram)
    found = reconstructed(weight, one, gram, 50)
    reached = row_errors(weight, found, gram)
    for column, level in itertools.product(range(10), range(4)):
        other = found.clone()
        other[:, column] = one.grid(params)[:, level]
        assert (row_errors(weight, other, gram) >= reached - 1e-5).all()


def test_float_stays_and_without_inputs_it_is_the_nearest_level():
    weight, one = torch.randn(4, 3, 2), scheme("uniform-3")
    assert torch.equal(reconstructed(weight, scheme("float32"), None, 10), weight)
    nearest = one.project(weight, choose("clip", weight, one))[0]
    assert torch.equal(reconstructed(weight, one, None, 10), nearest)
    silent = torch.zeros(6, 6)  # no input was ever seen
    assert torch.equal(
        reconstructed(weight, one, silent, 3), one.project(weight, choose("awq", weight, one, silent))[0]
    )


def test_the_inputs_are_those_the_layers_really_get():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    layers = {"0": model[0], "2": model[2], "grouped": nn.Conv1d(2, 2, 1, groups=2), "unused": nn.Linear(2, 2)}
    x = torch.rand(7, 2, 5)
    found = grams(layers, lambda: [model(x[:3]), model(x[3:])])
    inner = model[:2](x).flatten(0, 1)
    assert found.keys() == {"0", "2"}
    assert torch.allclose(found["0"], x.flatten(0, 1).T @ x.flatten(0, 1) / 14, atol=1e-6)
    assert torch.allclose(found["2"], (inner.T @ inner / 14).detach(), atol=1e-6)
    model(x)
    assert not model[0]._forward_pre_hooks
