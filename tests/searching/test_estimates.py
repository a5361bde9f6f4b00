"""Scores of methods that train nothing: curvature and drift against plain computations, chance as a fair control."""

from __future__ import annotations

import copy
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lively import wake
from tiny_checkpoints import build_tiny

from snnq.base.progress import silent
from snnq.network.layers import layer_table
from snnq.network.neurons import is_neuron
from snnq.schemes.scheme import scheme
from snnq.searching import estimates
from snnq.searching.constraints import Constraints, resolve
from snnq.searching.drift import drift
from snnq.searching.estimates import gauss_newton_traces, hessian, random, spread
from snnq.searching.judging import ROUNDING, rounding_errors, rounding_prior
from snnq.searching.rounding import Nearest
from snnq.training.evaluation import NORMS

SPACE = ("uniform-2", "power-of-two-2")


@pytest.fixture(scope="module")
def judge():
    """Return what scores ask of a judge: a model whose neurons fire, its choices, and two batches."""
    model = build_tiny(seed=0)
    frames = torch.poisson(torch.full((8, 2, 2, 8, 8), 1.0), generator=torch.Generator().manual_seed(1))
    wake(model, frames)
    nearest = Nearest()
    return SimpleNamespace(
        floats=model,
        choices=resolve(layer_table(model, (2, 2, 8, 8)), SPACE, Constraints(ties=(("q", "k"),))),
        settings=SimpleNamespace(seed=0),
        order=[[0], [1]],
        batches=lambda: iter([(frames[:4], None), (frames[4:], None)]),
        nearest=lambda _: nearest,
    )


def test_random_signs_have_the_covariance_of_the_curvature():
    shares = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    found = torch.zeros(3, 3, dtype=torch.float64)
    for signs in product((-1.0, 1.0), repeat=3):
        along = spread(shares[None], torch.tensor([signs], dtype=torch.float64))[0]
        found += torch.outer(along, along) / 8
    assert torch.allclose(found, torch.diag(shares) - torch.outer(shares, shares), atol=1e-12)


def test_traces_are_those_of_whole_jacobians(judge, monkeypatch):
    monkeypatch.setattr(estimates, "PROBES", 60)
    found = gauss_newton_traces(judge, silent)
    head = judge.floats.head.weight.requires_grad_(True)
    expected, samples = 0.0, 0
    for frames, _ in judge.batches():
        for frame in frames:
            logits = judge.floats(frame[None])[0]
            rows = torch.stack([torch.autograd.grad(one, head, retain_graph=True)[0].flatten() for one in logits])
            shares = torch.softmax(logits.detach(), 0)
            form = torch.diag(shares) - torch.outer(shares, shares)
            expected += float(torch.trace(rows.T @ form @ rows))
            samples += 1
    assert found[-1] == pytest.approx(expected / samples, rel=0.2)
    assert (found > 0).all()  # every layer reaches the logits


def test_hessian_scores_are_half_the_mean_curvature_times_the_squared_error(judge):
    found, traces = hessian(judge, silent), gauss_newton_traces(judge, silent)
    errors = rounding_errors(judge.floats, judge.choices, Nearest())
    for i, layer in enumerate(judge.choices.layers):
        weight = judge.floats.get_submodule(layer.name).weight.detach()
        for k, name in enumerate(SPACE):
            one = scheme(name)
            error = float((one.project(weight, one.fit(weight))[0] - weight).square().sum())
            nats = traces[i] / weight.numel() * error / 2
            assert found[i, k] == pytest.approx(nats + ROUNDING * errors[i, k], rel=1e-4)


def plain_potentials(model, frames, changed):
    """Return every neuron's potentials over its threshold, of a model with other weights: LIF by its equation."""
    model, currents = copy.deepcopy(model), {}
    for name, weight in changed.items():
        model.get_submodule(name).weight.data = weight
    for name, module in model.named_modules():
        if isinstance(module, NORMS):
            module.train()
        if is_neuron(module):
            module.register_forward_hook(lambda one, given, _, name=name: currents.update({name: (one, given[0])}))
    with torch.no_grad():
        model(frames)
    found = {}
    for name, (neuron, received) in currents.items():
        x, v, rows = received.double().numpy(), 0.0, []
        for current in x:
            h = v + (current - v) / neuron.tau
            v = np.where(h >= neuron.v_threshold, 0.0, h)
            rows.append(v / neuron.v_threshold)
        found[name] = np.stack(rows)
    return found


def test_drift_is_that_of_potentials_computed_anew(judge):
    prior = rounding_prior(judge.floats, judge.choices, judge.nearest(None))
    found = drift(judge, silent) - prior
    layers = judge.choices.layers
    sizes = judge.choices.sizes
    for i in (0, 5, len(layers) - 2):
        members = [layers[j] for j in judge.choices.members(judge.choices.group[i])]
        for k, name in enumerate(SPACE):
            changed, drifts = {}, []
            for layer in members:
                weight = judge.floats.get_submodule(layer.name).weight.detach()
                changed[layer.name] = scheme(name).project(weight, scheme(name).fit(weight))[0]
            for frames, _ in judge.batches():
                own = plain_potentials(judge.floats, frames, {})
                other = plain_potentials(judge.floats, frames, changed)
                drifts.append(np.mean([np.square(other[at] - own[at]).mean() for at in own]))
            assert found[i, k] * sizes[i] == pytest.approx(np.mean(drifts), rel=1e-3, abs=1e-7)
    assert found[0].max() > 1e-3  # the first layer moves something
    assert found[-1] == pytest.approx([0, 0], abs=1e-9)  # no neurons behind the head


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000))
def test_chance_prefers_more_bits_and_differs_by_layer_and_seed(seed, layers):
    space = ("uniform-4@0.5", "uniform-2", "uniform-4@1")
    choices = resolve(layers, space, Constraints(ties=(("q", "k"),), locks=(("head", "uniform-8"),)))
    found = random(choices, seed)
    assert (np.isnan(found) == ~choices.allowed).all()
    assert (found[:-1, 1] <= found[:-1, 2]).all()
    assert (found[:-1, 2] <= found[:-1, 0]).all()
    assert (found == random(choices, seed))[choices.allowed].all()
    assert (found[:-1, 0] != random(choices, seed + 1)[:-1, 0]).any()
    for group in range(choices.groups):
        assert len({tuple(found[i]) for i in choices.members(group)}) == 1 or np.isnan(found).any()
