"""Grids chosen by the weights' own error and by that of the layer's output."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import layer
from torch import nn

from snnq.schemes.fitting.clips import Gram, choose, columns, has_columns, row_errors
from snnq.schemes.scheme import scheme, scheme_names

NAMES = scheme_names()

CODED = [name for name in NAMES if name != "float32"]
LAYERS = [
    (nn.Linear(6, 4), (5, 7, 6)),
    (nn.Conv1d(6, 4, 1), (5, 6, 7)),
    (nn.Conv1d(6, 4, 3, padding=1, stride=2), (5, 6, 7)),
    (nn.Conv1d(6, 4, 3, padding=2, dilation=2), (5, 6, 9)),
    (nn.Conv2d(3, 4, 3, padding=1), (5, 3, 6, 7)),
    (nn.Conv2d(3, 4, (3, 2), stride=2, padding=(1, 0), dilation=2), (5, 3, 9, 8)),
    (layer.Conv2d(3, 4, 3, step_mode="m"), (2, 5, 3, 6, 7)),
]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("module", "shape"), LAYERS, ids=lambda one: type(one).__name__)
def test_the_gram_matrix_gives_the_error_of_the_output(module, shape):
    x, gram = random(*shape), Gram(module)
    gram.add(x[:, :2] if len(shape) == 5 else x[:2])
    gram.add(x[:, 2:] if len(shape) == 5 else x[2:])
    weight, bias = module.weight.detach().clone(), module.bias
    other = weight + 0.1 * random(*weight.shape, seed=1)
    with torch.no_grad():
        true = module(x)
        module.weight.copy_(other)
        error = (module(x) - true).square()
        module.weight.copy_(weight)
    channel = error.ndim - 1 if isinstance(module, nn.Linear) else 2 if len(shape) == 5 else 1
    due = error.movedim(channel, 0).flatten(1).mean(1)
    found = row_errors(weight.flatten(1), other.flatten(1), gram.mean())[:, 0]
    torch.testing.assert_close(found, due, rtol=1e-3, atol=1e-5)
    assert bias is module.bias


def test_columns_are_made_in_pieces(monkeypatch):
    module, x = nn.Conv2d(3, 4, 3, padding=1), random(6, 3, 8, 8)
    whole = Gram(module)
    whole.add(x)
    monkeypatch.setattr("snnq.schemes.fitting.clips.CHUNK", 2000)
    pieces = Gram(module)
    pieces.add(x)
    torch.testing.assert_close(pieces.mean(), whole.mean())


def test_layers_it_does_not_know():
    assert not has_columns(nn.Conv2d(4, 4, 3, groups=2))
    assert not has_columns(nn.Conv2d(4, 4, 3, padding="same"))
    assert not has_columns(nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"))
    assert columns(nn.Linear(3, 2), torch.zeros(2, 5, 3)).shape == (10, 3)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CODED), st.integers(0, 100))
def test_awq_is_never_worse_on_the_output_and_clip_never_on_the_weights(name, seed):
    weight, x = random(5, 12, seed=seed), random(40, 12, seed=seed + 1) * torch.linspace(0.1, 3, 12)
    gram = x.T @ x / len(x)
    found = {method: choose(method, weight, scheme(name), gram) for method in ("rtn", "clip", "awq")}
    values = {method: scheme(name).project(weight, params)[0] for method, params in found.items()}
    output = {method: row_errors(weight, value, gram) for method, value in values.items()}
    own = {method: row_errors(weight, value, None) for method, value in values.items()}
    assert bool((output["awq"] <= output["clip"] * (1 + 1e-4) + 1e-7).all())
    if name.endswith("-2") or scheme(name).bits < 2:
        assert bool((own["clip"] <= own["rtn"] * (1 + 1e-4) + 1e-7).all())
    for params in found.values():  # what is chosen can be stored as it is
        assert all(torch.equal(value, scheme(name).stored(params)[key]) for key, value in params.items())


@pytest.mark.parametrize("name", CODED)
def test_rtn_clips_little(name):
    weight = random(6, 50, seed=4)
    grid = scheme(name).grid(choose("rtn", weight, scheme(name)))
    reach = weight.abs().amax(1)
    if name.startswith("uniform"):
        step = grid[:, 1] - grid[:, 0]
        assert bool((grid[:, -1] >= weight.amax(1) - step / 2).all())
        assert bool((grid[:, 0] <= weight.amin(1) + step / 2).all())
    else:
        assert bool((grid[:, -1] <= reach * 4 / 3).all())
        assert bool((grid[:, -1] >= reach * 2 / 3).all())


@pytest.mark.parametrize("name", ["uniform-2", "power-of-two-4", "ternary", "binary"])
@pytest.mark.parametrize("method", ["rtn", "clip", "awq"])
def test_channels_of_zeros_stay_zero(name, method):
    weight = torch.zeros(3, 8)
    params = choose(method, weight, scheme(name), torch.eye(8))
    assert bool((scheme(name).project(weight, params)[0].abs() < 1e-12).all())
    assert all(bool(value.isfinite().all()) for value in params.values())


def test_without_a_gram_matrix_awq_is_clip():
    weight = random(4, 9)
    found, due = choose("awq", weight, scheme("uniform-3")), choose("clip", weight, scheme("uniform-3"))
    assert all(torch.equal(found[key], due[key]) for key in due)
