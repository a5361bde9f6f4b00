"""Gradients against formulas in numpy: LSQ (Esser et al. 2020) and LSQ+ (Bhalgat et al. 2020), by family.

For ŵ = s·(q - z), q = clamp(round(w/s + z), 0, 2^b - 1):
    ∂ŵ/∂w = 1 in range, 0 clipped;   ∂ŵ/∂s = (q - z) - w/s in range, (q - z) clipped;   ∂ŵ/∂z = 0 in range, -s clipped.
For power-of-two, ŵ = α·level with α = 2^a: ∂ŵ/∂w = 1 where |w| ≤ 1.5α, else 0;
    ∂ŵ/∂a = ln 2 · (ŵ - w) in range, ln 2 · ŵ clipped.
For ternary, ŵ = s·clamp(round(w/s), -1, 1), as for uniform with codes -1 … 1 and z = 0.
For binary, ŵ = s·b with b = ±1: ∂ŵ/∂w = 1 where |w| ≤ 2s, else 0;   ∂ŵ/∂s = b everywhere.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnq.schemes.scheme import scheme

seeds = st.integers(0, 2**32 - 1)


def gradients(name: str, weight: Tensor, params: dict[str, Tensor], upstream: Tensor) -> dict[str, np.ndarray]:
    leaves = {"weight": weight.clone().requires_grad_()} | {k: v.clone().requires_grad_() for k, v in params.items()}
    quantised = scheme(name).quantize(leaves["weight"], {k: leaves[k] for k in params})
    quantised.backward(upstream)
    return {k: v.grad.numpy() for k, v in leaves.items() if v.grad is not None}


def test_uniform_by_hand() -> None:
    # s = 1, z = 1.5; weights in range (code 2, level ½), clipped above (code 3, level 1½) and below.
    params = {"scale": torch.tensor([[1.0]]), "zero_point": torch.tensor([[1.5]])}
    for value, weight, scale, zero_point in (
        (0.7, 1.0, 0.5 - 0.7, 0.0),
        (9.0, 0.0, 1.5, -1.0),
        (-9.0, 0.0, -1.5, -1.0),
    ):
        found = gradients("uniform-2", torch.tensor([[value]]), params, torch.ones(1, 1))
        assert found["weight"].item() == weight
        assert found["scale"].item() == pytest.approx(scale)
        assert found["zero_point"].item() == zero_point


def test_power_of_two_by_hand() -> None:
    params = {"log2_scale": torch.tensor([[0.0]])}
    for value, weight, octaves in ((0.9, 1.0, 0.1), (1.5, 1.0, -0.5), (-3.0, 0.0, -1.0)):
        found = gradients("power-of-two-4", torch.tensor([[value]]), params, torch.ones(1, 1))
        assert found["weight"].item() == weight
        assert found["log2_scale"].item() == pytest.approx(math.log(2) * octaves)


def test_ternary_and_binary_by_hand() -> None:
    params = {"scale": torch.tensor([[1.0]])}
    for name, value, weight, scale in (
        ("ternary", 0.7, 1.0, 1 - 0.7),
        ("ternary", -0.4, 1.0, 0.4),
        ("ternary", -1.6, 0.0, -1.0),
        ("binary", 0.7, 1.0, 1.0),
        ("binary", -1.9, 1.0, -1.0),
        ("binary", -2.1, 0.0, -1.0),
    ):
        found = gradients(name, torch.tensor([[value]]), params, torch.ones(1, 1))
        assert found["weight"].item() == weight
        assert found["scale"].item() == pytest.approx(scale)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_ternary_and_binary_against_the_formulas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, g = rng.normal(size=(2, 3, 17)).astype(np.float32)
    s = np.exp(rng.normal(-0.3, 0.5, size=(3, 1))).astype(np.float32)
    q = np.clip(np.round(w / s), -1, 1)
    for name, inside, by_scale in (
        ("ternary", np.round(w / s) == q, np.where(np.round(w / s) == q, q - w / s, q)),
        ("binary", np.abs(w) <= 2 * s, np.where(w >= 0, 1.0, -1.0)),
    ):
        found = gradients(name, torch.from_numpy(w), {"scale": torch.from_numpy(s)}, torch.from_numpy(g))
        np.testing.assert_allclose(found["weight"], np.where(inside, g, 0), rtol=1e-6)
        due = (g.astype(np.float64) * by_scale).sum(1, keepdims=True)
        np.testing.assert_allclose(found["scale"], due, rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(2, 8))
def test_uniform_against_the_formulas(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    w, g = rng.normal(size=(2, 3, 17)).astype(np.float32)
    s = np.exp(rng.normal(math.log(2 / 2**bits), 0.7, size=(3, 1))).astype(np.float32)
    z = (rng.integers(-1, 2 ** (bits + 1), size=(3, 1)) / 2).astype(np.float32)
    position = np.round(w / s + z)
    q = np.clip(position, 0, 2**bits - 1)
    inside = position == q
    found = gradients(
        f"uniform-{bits}",
        torch.from_numpy(w),
        {"scale": torch.from_numpy(s), "zero_point": torch.from_numpy(z)},
        torch.from_numpy(g),
    )
    np.testing.assert_allclose(found["weight"], np.where(inside, g, 0), rtol=1e-6)
    by_scale = (g.astype(np.float64) * np.where(inside, (q - z) - w / s, q - z)).sum(1, keepdims=True)
    np.testing.assert_allclose(found["scale"], by_scale, rtol=1e-4, atol=1e-4 * 2**bits)
    by_zero_point = (g.astype(np.float64) * np.where(inside, 0, -s)).sum(1, keepdims=True)
    np.testing.assert_allclose(found["zero_point"], by_zero_point, rtol=1e-4, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(2, 8))
def test_power_of_two_against_the_formulas(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    w, g = rng.normal(size=(2, 3, 17)).astype(np.float32)
    a = rng.uniform(-3, 2, size=(3, 1)).astype(np.float32)
    params = {"log2_scale": torch.from_numpy(a)}
    value = scheme(f"power-of-two-{bits}").project(torch.from_numpy(w), params)[0].numpy()
    inside = np.abs(w) <= 1.5 * 2.0 ** np.round(a)
    found = gradients(f"power-of-two-{bits}", torch.from_numpy(w), params, torch.from_numpy(g))
    np.testing.assert_allclose(found["weight"], np.where(inside, g, 0), rtol=1e-6)
    by_octave = math.log(2) * (g.astype(np.float64) * np.where(inside, value - w, value)).sum(1, keepdims=True)
    np.testing.assert_allclose(found["log2_scale"], by_octave, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(["uniform-2", "uniform-4", "power-of-two-2", "power-of-two-4", "ternary", "binary"]))
def test_the_mask_of_project_is_where_the_gradient_flows(seed: int, name: str) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).standard_t(2, size=(3, 33)).astype(np.float32))
    params = scheme(name).fit(weight)
    found = gradients(name, weight, params, torch.ones_like(weight))
    np.testing.assert_array_equal(found["weight"] != 0, scheme(name).project(weight, params)[1].numpy())


def test_learned_shifts_reach_the_parameters() -> None:
    weight = torch.tensor([[-2.0, -0.7, 0.1, 0.4, 0.6, 1.9], [3.0, -1.0, 0.2, 0.0, -0.3, 1.1]])
    for name in ("uniform-2", "power-of-two-4", "ternary", "binary"):
        one = scheme(name)
        shifts = {key: torch.zeros(2, 1, requires_grad=True) for key in one.parameters}
        # Weights three times too large are clipped, and a clipped weight moves the zero-point.
        one.quantize(weight * 3, one.moved(one.fit(weight), shifts)).backward(torch.arange(12.0).view(2, 6))
        assert all(shift.grad is not None and bool((shift.grad != 0).all()) for shift in shifts.values())
