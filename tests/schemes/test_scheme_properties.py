"""What holds for every scheme and every weight, and an oracle in numpy that searches the grid for the nearest level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnq.schemes import uniform
from snnq.schemes.fitting.clips import choose
from snnq.schemes.scheme import Params, scheme, scheme_names

NAMES = scheme_names()

QUANTISED = [name for name in NAMES if name != "float32"]
names = st.sampled_from(QUANTISED)
seeds = st.integers(0, 2**32 - 1)
# Octaves of the weights' size: far beyond float16's range (2^-24 to 2^16) on both sides.
octaves = st.integers(-40, 40)


@st.composite
def weights(draw: st.DrawFn) -> Tensor:
    """Matrices of several distributions, sizes and shapes, with zero and constant rows among them."""
    rng = np.random.default_rng(draw(seeds))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 40)))
    kind = draw(st.sampled_from(["normal", "laplace", "sparse", "shifted", "few levels", "one sign"]))
    matrix = {
        "normal": rng.normal(size=shape),
        "laplace": rng.laplace(size=shape),
        "sparse": rng.normal(size=shape) * (rng.random(shape) < 0.3),
        "shifted": rng.normal(size=shape) + 1.0,
        "few levels": rng.integers(-3, 4, size=shape) / 2.0,
        "one sign": rng.choice([-1, 1], size=(shape[0], 1)) + 10.0 ** rng.uniform(-7, -1) * rng.random(shape),
    }[kind]
    special = draw(st.sampled_from(["none", "zero row", "constant row"]))
    if special != "none":
        matrix[0] = 0.0 if special == "zero row" else matrix[0, 0]
    return torch.from_numpy((matrix * 2.0 ** draw(octaves)).astype(np.float32))


def arbitrary_params(name: str, weight: Tensor, seed: int) -> Params:
    """Parameters as learning may leave them: any scale, zero-points and exponents that are not yet rounded."""
    rng = np.random.default_rng(seed)
    size = weight.abs().amax(1, keepdim=True).clamp_min(1e-15)
    rows, bits = len(weight), scheme(name).bits
    factor = torch.from_numpy(np.exp(rng.normal(-1, 1, size=(rows, 1))).astype(np.float32))
    if scheme(name).parameters == ("scale",):
        return {"scale": size * factor}
    if scheme(name).family == "uniform":
        zero_point = torch.from_numpy(rng.uniform(-1, 2**bits, size=(rows, 1)).astype(np.float32))
        return {"scale": size * factor, "zero_point": zero_point}
    shift = torch.from_numpy(rng.uniform(-3, 2, size=(rows, 1)).astype(np.float32))
    return {"log2_scale": size.log2() + shift}


def numpy_grid(name: str, params: Params) -> np.ndarray:
    """Every level of every row (rows, levels) in float64, from docs/method.md §2 and nothing else."""
    family, bits = scheme(name).family, scheme(name).width
    if family in ("ternary", "binary"):
        return params["scale"].double().numpy() * np.array([-1, 0, 1] if family == "ternary" else [-1, 1])
    if family == "uniform":
        zero_point = np.round(params["zero_point"].double().numpy() * 2) / 2
        return params["scale"].double().numpy() * (np.arange(2**bits) - zero_point)
    top = 2 ** (bits - 1) - 1
    positive = 2.0 ** (np.arange(1, top + 1) - top)
    alpha = 2.0 ** np.round(params["log2_scale"].double().numpy())
    return alpha * np.concatenate([-positive[::-1], [0.0], positive])


def check_everything(name: str, weight: Tensor, params: Params) -> None:
    one = scheme(name)
    codes = one.encode(weight, params)
    assert codes.dtype == torch.uint8
    assert codes.shape == (len(weight), weight[0].numel())
    assert set(codes.flatten().tolist()) <= set(one.valid_codes.tolist())
    decoded = one.decode(codes, params)
    value, inside = one.project(weight, params)
    quantised = one.quantize(weight, params).detach()
    assert torch.equal(decoded, value)
    assert torch.equal(decoded, quantised)
    assert torch.equal(one.decode(codes, one.stored(params)), decoded)
    assert torch.equal(one.encode(weight, one.stored(params)), codes)

    grid = numpy_grid(name, params)
    np.testing.assert_allclose(one.grid(params).numpy(), grid, rtol=1e-6, atol=1e-44)
    matrix = weight.double().numpy()
    nearest = np.abs(matrix[:, :, None] - grid[:, None, :]).min(2)
    size = np.abs(matrix) + np.abs(grid).max(1, keepdims=True)
    assert (np.abs(decoded.double().numpy() - matrix) <= nearest + 1e-6 * size).all()
    # A weight between the outermost levels is not clipped; one far beyond them is.
    low, high = grid.min(1, keepdims=True), grid.max(1, keepdims=True)
    within = (matrix >= low) & (matrix <= high)
    beyond = (matrix < low - (high - low)) | (matrix > high + (high - low))
    assert inside.numpy()[within].all()
    assert not inside.numpy()[beyond].any()


@settings(max_examples=120, deadline=None)
@given(names, weights(), seeds)
def test_codes_values_and_the_nearest_level(name: str, weight: Tensor, seed: int) -> None:
    check_everything(name, weight, scheme(name).fit(weight))
    check_everything(name, weight, arbitrary_params(name, weight, seed))


@settings(max_examples=60, deadline=None)
@given(names, weights(), seeds)
def test_quantising_twice_changes_nothing(name: str, weight: Tensor, seed: int) -> None:
    one, params = scheme(name), arbitrary_params(name, weight, seed)
    once = one.quantize(weight, params)
    assert torch.equal(one.quantize(once, params), once)


@settings(max_examples=60, deadline=None)
@given(names, seeds, st.integers(-20, 20))
def test_powers_of_two_scale_through_exactly(name: str, seed: int, octave: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, 29)).astype(np.float32))
    one = scheme(name)
    small, large = one.fit(weight), one.fit(weight * 2.0**octave)
    assert torch.equal(one.quantize(weight * 2.0**octave, large), one.quantize(weight, small) * 2.0**octave)
    assert torch.equal(one.encode(weight * 2.0**octave, large), one.encode(weight, small))


@settings(max_examples=40, deadline=None)
@given(names, seeds)
def test_rows_do_not_know_each_other(name: str, seed: int) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 16)).astype(np.float32))
    weight[1] *= 1000
    one = scheme(name)
    together = one.quantize(weight, one.fit(weight))
    alone = torch.cat([one.quantize(row[None], one.fit(row[None])) for row in weight])
    assert torch.equal(together, alone)


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize("size", [1e-15, 6e-8, 1.0, 65504.0, 1e15])
def test_zero_constant_and_single_weights(name: str, size: float) -> None:
    one = scheme(name)
    zero = torch.zeros(2, 5)
    assert torch.equal(one.quantize(zero, one.fit(zero)), zero)
    # One level of a real scale can always lie on the one value of a row; a power of two is within a third of it.
    tolerance = 1 / 3 + 1e-6 if one.family == "power-of-two" else 1e-6
    for weight in (torch.full((1, 7), size), torch.full((1, 1), -size), torch.tensor([[size], [-size * 0.7]])):
        found = one.quantize(weight, one.fit(weight))
        torch.testing.assert_close(found, weight, rtol=tolerance, atol=0)
    mixed = torch.tensor([[size, -size, 0.0, size], [0.0, 0.0, 0.0, 0.0], [size, size, size, size]])
    check_everything(name, mixed, one.fit(mixed))


@pytest.mark.parametrize("name", [name for name in QUANTISED if name != "binary"])
def test_ternary_rows_are_kept_exactly(name: str) -> None:
    weight = torch.tensor([[0.25, 0.0, -0.25, 0.0, 0.0, 0.25, -0.25], [-2.0, 2.0, 0.0, 0.0, 2.0, 0.0, 0.0]])
    torch.testing.assert_close(scheme(name).quantize(weight, scheme(name).fit(weight)), weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", QUANTISED)
def test_fitting_leaves_no_graph_and_no_side_effect(name: str) -> None:
    weight = torch.randn(3, 2, 3, 3, requires_grad=True)
    before = weight.detach().clone()
    params = scheme(name).fit(weight)
    assert set(params) == set(scheme(name).parameters)
    assert all(not value.requires_grad and value.shape == (3, 1) for value in params.values())
    assert not scheme(name).project(weight, params)[0].requires_grad
    assert torch.equal(weight.detach(), before)


def half_gaps(name: str, weight: np.ndarray, params: Params) -> np.ndarray:
    """Half of the gap between the two levels on either side of every weight; beyond the ends that of the end."""
    grid = numpy_grid(name, params)
    # Power-of-two's levels go on by doubling; 1.5 times the last one is half way to the next.
    ends = 2 * grid[:, [0, -1]] if scheme(name).family == "power-of-two" else 2 * grid[:, [0, -1]] - grid[:, [1, -2]]
    wider = np.concatenate([ends[:, :1], grid, ends[:, 1:]], 1)
    rows = [np.searchsorted(levels, row).clip(1, len(levels) - 1) for levels, row in zip(wider, weight, strict=True)]
    at = np.array(rows)
    return (np.take_along_axis(wider, at, 1) - np.take_along_axis(wider, at - 1, 1)) / 2


@settings(max_examples=150, deadline=None)
@given(names, weights())
def test_a_grid_that_covers_its_channel_is_off_by_half_a_step_at_most(name: str, weight: Tensor) -> None:
    one, matrix = scheme(name), weight.double().numpy()
    params = one.stored(one.cover(weight))
    error = np.abs(one.quantize(weight, params).double().numpy() - matrix)
    size = np.abs(matrix).max(1, keepdims=True)
    assert (error <= half_gaps(name, matrix, params) + 1e-6 * size).all()
    if one.family == "uniform":
        step, top = params["scale"].double().numpy(), 2**one.bits - 1
        width = matrix.max(1, keepdims=True) - matrix.min(1, keepdims=True)
        # No wider than the range needs, or than a step the zero-point can count.
        assert (step <= np.maximum(np.maximum(width / top, size / uniform.FARTHEST), 1.1e-19) * (1 + 1e-5)).all()
        assert float(params["zero_point"].abs().max()) * 2 <= torch.iinfo(torch.int16).max


@settings(max_examples=80, deadline=None)
@given(names, weights())
def test_the_fit_is_no_worse_than_the_grid_that_covers(name: str, weight: Tensor) -> None:
    one = scheme(name)

    def error(params: Params) -> np.ndarray:
        return (one.quantize(weight, one.stored(params)).double() - weight.double()).square().sum(1).numpy()

    fitted, covered = error(one.fit(weight)), error(one.cover(weight))
    assert (fitted <= covered * (1 + 1e-3) + 1e-12 * weight.double().square().sum(1).numpy()).all()


@pytest.mark.parametrize("method", ["rtn", "clip", "awq"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_weights_of_one_sign_keep_their_values_at_eight_bits(method: str, sign: float) -> None:
    weight = sign * torch.linspace(1.0, 1.1, 64).view(2, 32)
    one = scheme("uniform-8")
    found = one.quantize(weight, choose(method, weight, one, torch.eye(32)))
    assert float((found - weight).abs().max()) <= 0.05 / 255 / 2 * 1.01


@pytest.mark.parametrize("name", QUANTISED)
@pytest.mark.parametrize("size", [3.4e38, 1e30, 1e-30, 1e-44])
def test_the_largest_and_smallest_numbers_have_finite_levels(name: str, size: float) -> None:
    one = scheme(name)
    weight = torch.tensor([[size, -size, 0.0], [size, size / 2, size / 4], [0.0, 0.0, 0.0]])
    most = size if name == "binary" else size / 2  # without a level at zero
    for params in (one.fit(weight), one.cover(weight)):
        found = one.quantize(weight, one.stored(params))
        assert bool(found.isfinite().all())
        assert float((found - weight).abs().max()) <= max(most, 1e-19) * 1.001
        assert torch.equal(one.decode(one.encode(weight, params), one.stored(params)), found)


@pytest.mark.parametrize("name", QUANTISED)
def test_levels_of_the_largest_weights_are_finite(name: str) -> None:
    one = scheme(name)
    weight = torch.tensor([[3.4e38, -3.4e38, 1.0]])
    assert bool(one.grid(one.stored(one.fit(weight))).isfinite().all())
