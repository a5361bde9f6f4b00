"""Sensitivities equal brute force: every sample really left out, statistics by numpy; scores equal their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import gaussian_kde
from tiny_checkpoints import CONFIG

from snnq.calibrating.leaving_out import norm_sensitivities, rate_sensitivities
from snnq.calibrating.norm_inputs import norms_of, stored, wasserstein
from snnq.calibrating.scores import energy, patch_entropy
from snnq.models.registry import build

STEPS, SAMPLES = CONFIG["steps"], 7


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    found = build("spikformer-cifar10dvs", CONFIG | {"pooling": [False, False, True, True]})
    for norm in norms_of(found, "tiny").values():
        norm.get_buffer("running_mean").normal_()
        norm.get_buffer("running_var").uniform_(0.5, 2)
    return found.eval()


@pytest.fixture(scope="module")
def frames():
    draw = torch.Generator().manual_seed(1)
    return torch.poisson(torch.rand(SAMPLES, STEPS, 2, 8, 8, generator=draw) * 3, generator=draw)


def seen_alone(model, frames):
    """Return what each norm is given, sample by sample: path → (N, T, C, positions)."""
    found: dict[str, list[np.ndarray]] = {}
    hooks = [
        one.register_forward_pre_hook(
            lambda _, x, *, name=name: found.setdefault(name, []).append(x[0].double().flatten(2).numpy())
        )
        for name, one in norms_of(model, "tiny").items()
    ]
    with torch.no_grad():
        for sample in frames:
            model(sample[None])
    for hook in hooks:
        hook.remove()
    return {name: np.stack(parts) for name, parts in found.items()}


def distance(values, norm):
    """Return D of values (n, T, C, positions), all together."""
    rows = np.moveaxis(values, 2, 0).reshape(values.shape[2], -1)
    due, var = (one.numpy() for one in stored(norm))
    return np.mean(((rows.mean(1) - due) ** 2 + (rows.std(1) - np.sqrt(var)) ** 2) / var)


def test_norm_sensitivities_equal_brute_force(model, frames):
    norms, alone = norms_of(model, "tiny"), seen_alone(model, frames)
    found = norm_sensitivities(model, norms, lambda: iter(frames.split(3)), STEPS)
    assert found.layers == tuple(norms) == tuple(alone)
    for number, name in enumerate(found.layers):
        values, norm = alone[name], norms[name]
        assert found.distances[number].item() == pytest.approx(distance(values, norm), rel=1e-9)
        for i in range(SAMPLES):
            rest = np.delete(values, i, 0)
            due = distance(values, norm) - distance(rest, norm)
            assert found.whole[i, number].item() == pytest.approx(due, rel=1e-6, abs=1e-10)
            for t in range(STEPS):
                due = distance(values[:, t : t + 1], norm) - distance(rest[:, t : t + 1], norm)
                assert found.steps[i, number, t].item() == pytest.approx(due, rel=1e-6, abs=1e-10)


def test_leaving_out_the_most_sensitive_sample_brings_the_set_nearest(model, frames):
    norms = norms_of(model, "tiny")

    def far(chosen):
        return norm_sensitivities(model, norms, lambda: iter(chosen.split(4)), STEPS).distances.mean().item()

    found = norm_sensitivities(model, norms, lambda: iter(frames.split(4)), STEPS).whole.mean(1)
    left = [far(torch.cat([frames[:i], frames[i + 1 :]])) for i in range(SAMPLES)]
    assert int(np.argmin(left)) == int(found.argmax())


def test_a_single_sample_has_no_sensitivity(model, frames):
    with pytest.raises(ValueError, match="one sample"):
        norm_sensitivities(model, norms_of(model, "tiny"), lambda: iter([frames[:1]]), STEPS)
    with pytest.raises(ValueError, match="one sample"):
        rate_sensitivities(torch.rand(1, 3), torch.rand(3))


def test_rate_sensitivities_equal_brute_force():
    rates, due = torch.rand(6, 4, dtype=torch.float64), torch.tensor([0.0, 0.1, 0.5, 1.0], dtype=torch.float64)
    unit = np.maximum(due.numpy() * (1 - due.numpy()), 1e-4)

    def far(rows):
        return np.mean((rows.mean(0) - due.numpy()) ** 2 / unit)

    own = rates.numpy()
    expected = [far(own) - far(np.delete(own, i, 0)) for i in range(len(own))]
    assert rate_sensitivities(rates, due).numpy() == pytest.approx(expected, rel=1e-9)


def test_distance_typed_by_hand():
    one = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    norm = (torch.tensor([0.0, 2.0], dtype=torch.float64), torch.tensor([4.0, 1.0], dtype=torch.float64))
    # ((1 − 0)² + (√1 − √4)²) / 4 = 1/2 and ((2 − 2)² + (√9 − √1)²) / 1 = 4: their mean.
    assert wasserstein(one, torch.tensor([[1.0, 9.0]], dtype=torch.float64), norm).item() == pytest.approx(2.25)


def test_energy_typed_by_hand_and_by_scipy():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    assert energy(logits, 1.0).tolist() == pytest.approx([-math.log(2), -math.log(4)])
    assert energy(logits, 2.0).numpy() == pytest.approx(-2 * logsumexp(logits.double().numpy() / 2, axis=1))


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6), st.floats(-20, 20), st.floats(0.1, 5))
def test_energy_falls_by_what_all_logits_rise(logits, shift, alpha):
    one = torch.tensor([logits], dtype=torch.float64)
    assert energy(one + shift, alpha).item() == pytest.approx(energy(one, alpha).item() - shift, abs=1e-9)
    assert energy(one, alpha).item() <= -max(logits) + 1e-9


def test_patch_entropy_is_of_the_kernel_density():
    tokens = torch.rand(1, 9, 5, generator=torch.Generator().manual_seed(0))
    rows = tokens[0].double() / tokens[0].double().norm(dim=1, keepdim=True)
    similar = (rows @ rows.T)[torch.triu_indices(9, 9, 1).unbind()].numpy()
    width = max(1e-2, 1.06 * similar.std(ddof=1) * len(similar) ** -0.2)
    density = gaussian_kde(similar, bw_method=width / similar.std(ddof=1))
    grid = np.linspace(-1.25, 1.25, 4001)
    values = density(grid)
    due = -np.trapezoid(np.where(values > 0, values * np.log(np.maximum(values, 1e-300)), 0), grid)
    assert patch_entropy(tokens).item() == pytest.approx(due, rel=1e-3)


def test_patches_that_are_alike_have_less_entropy():
    draw = torch.Generator().manual_seed(0)
    alike, unlike = torch.ones(1, 9, 6), torch.rand(1, 9, 6, generator=draw).round()
    assert patch_entropy(alike).item() < patch_entropy(unlike).item()
    assert patch_entropy(torch.zeros(1, 2, 6)).tolist() == [0.0]
