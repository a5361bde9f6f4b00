"""Schemes of masked layers: what is exactly zero is rounded to exactly zero, whatever else the grid does."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnq.base.errors import UsageError
from snnq.schemes.holding import candidate, has_zero, holding_zero
from snnq.schemes.scheme import scheme

NAMES = ["uniform-2", "uniform-4", "uniform-8", "power-of-two-2", "power-of-two-4", "ternary", "uniform-4@0.9"]


def masked_weight(seed: int, sparsity: float) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(6, 4, 3, generator=draw) + 0.3
    weight[torch.rand(weight.shape, generator=draw) < sparsity] = 0
    weight[0] = 0
    return weight


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 200), sparsity=st.sampled_from([0.1, 0.5, 0.95]))
def test_zero_stays_zero_by_every_way_to_a_grid(name: str, seed: int, sparsity: float) -> None:
    weight, one = masked_weight(seed, sparsity), holding_zero(name)
    shifts = {key: torch.full((6, 1), 0.7) for key in one.parameters}
    fitted = one.fit(weight)
    ways = [fitted, one.cover(weight), *one.candidates(weight)[::7], one.refine(weight * 1.1, fitted)]
    for params in [*ways, one.moved(fitted, shifts)]:
        params = one.stored(params)
        value = one.decode(one.encode(weight, params), params).view_as(weight)
        assert bool((value[weight == 0] == 0).all())
        assert torch.equal(value, one.project(weight, params)[0])
        assert torch.equal(value, one.quantize(weight, params))


def test_a_grid_typed_by_hand() -> None:
    """0.6, −0.6 and 0 in four levels: without the zero ±½s and ±1½s fit best; with it z is 1 or 2, and s 0.6."""
    weight = torch.tensor([[0.6, -0.6, 0.6, -0.6, 0.0]])
    params = holding_zero("uniform-2").fit(weight)
    assert params["zero_point"].item() in (1.0, 2.0)
    assert params["scale"].item() == pytest.approx(0.6, rel=1e-6)
    assert scheme("uniform-2").fit(torch.tensor([[0.6, -0.6, 0.2, -0.2]]))["zero_point"].item() == 1.5


def test_it_fits_no_worse_than_any_grid_with_a_zero() -> None:
    """Against an exhaustive search over scales and whole zero-points."""
    weight, one = masked_weight(1, 0.4), holding_zero("uniform-2")
    rows = weight.flatten(1)
    error = (one.project(rows, one.fit(weight))[0] - rows).square().sum(1)
    scales = torch.linspace(0.02, 3, 600)
    for row in range(1, 6):
        tried = [
            float(((((rows[row] / s + z).round().clamp(0, 3) - z) * s - rows[row]) ** 2).sum())
            for s in scales
            for z in range(4)
        ]
        assert float(error[row]) <= min(tried) * 1.12 + 1e-9


def test_a_dead_channel_has_the_scale_of_the_others() -> None:
    weight = masked_weight(0, 0.5)
    for name in NAMES[:6]:
        one = holding_zero(name)
        factor = one.factor(one.fit(weight))
        assert float(factor[1:].min()) <= float(factor[0]) <= float(factor[1:].max())


def test_the_gradient_goes_straight_through_the_zero_point() -> None:
    one = holding_zero("uniform-4")
    shift = torch.zeros(6, 1, requires_grad=True)
    params = one.moved(one.fit(masked_weight(0, 0.5)), {"scale": torch.zeros(6, 1), "zero_point": shift})
    params["zero_point"].sum().backward()
    assert shift.grad is not None
    assert torch.equal(shift.grad, torch.ones(6, 1))


def test_which_schemes_may_stand_in_a_masked_layer() -> None:
    assert [has_zero(name) for name in ("float32", "ternary", "binary")] == [True, True, False]
    with pytest.raises(UsageError, match="binary has no level at zero"):
        holding_zero("binary")
    binary = scheme("binary")
    assert candidate(binary, masked=True) is binary
    held = holding_zero("uniform-2")
    assert held is holding_zero("uniform-2") is copy.deepcopy(held)
    assert (held.name, held.holds_zero, scheme("uniform-2").holds_zero) == ("uniform-2", True, False)
