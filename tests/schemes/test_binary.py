"""binary: golden vectors typed by hand, the fit beside every vector of signs, and what a channel of zeros is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnq.schemes.fitting.clips import choose
from snnq.schemes.format import Stored
from snnq.schemes.scheme import scheme

ONE = scheme("binary")


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_levels_codes_and_clipping_by_hand() -> None:
    params = {"scale": column(2.0)}
    weight = torch.tensor([[-9.0, -4.0, -0.1, -0.0, 0.0, 0.1, 4.0, 4.1]])
    assert ONE.grid(params).tolist() == [[-2.0, 2.0]]
    assert ONE.encode(weight, params).tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]
    assert ONE.quantize(weight, params).tolist() == [[-2, -2, -2, 2, 2, 2, 2, 2]]
    assert ONE.project(weight, params)[1].tolist() == [[False, True, True, True, True, True, True, False]]


def test_the_fit_is_the_mean_magnitude() -> None:
    weight = torch.tensor([[-4.0, 3.0, 1.0, 0.0], [0.5, 0.5, -0.5, -0.5]])
    for params in (ONE.fit(weight), ONE.refine(weight, {"scale": column(9.0, 9.0)})):
        assert params["scale"].flatten().tolist() == [2.0, 0.5]
    assert ONE.cover(weight)["scale"].flatten().tolist() == [4.0, 0.5]


def test_words_by_hand() -> None:
    codes = np.array([[1, 0, 1, 1] + [0] * 27 + [1, 1]], np.uint8)
    tensors = ONE.write(Stored(codes, {"scale": np.ones((1, 1), np.float32)}))
    assert tensors["weight_signs"].tolist() == [[0b1101 - 2**31, 1]]
    assert tensors["weight_shape"].tolist() == [1, 33]


def test_what_it_costs_by_hand() -> None:
    assert (ONE.bits, ONE.storage_bits((4, 5)), ONE.word_bits((2, 3, 3, 3)), ONE.code_bits) == (1, 20, 64, 1)
    assert ONE.format.operation == "power-of-two"


def test_whole_numbers_by_hand() -> None:
    params = {"scale": np.array([[0.25], [0.0]], np.float32)}
    whole = ONE.whole(Stored(np.array([[0, 1], [0, 1]], np.uint8), params), 9)
    assert (whole.values.tolist(), whole.unit.tolist(), whole.wide) == ([[-1, 1], [0, 0]], [0.25, 0.0], False)


def test_the_scale_moves_by_a_factor() -> None:
    found = ONE.moved({"scale": column(0.5, 0.0)}, {"scale": column(float(np.log(2)), 1.0)})
    assert found["scale"].flatten().tolist() == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("method", ["rtn", "clip", "awq"])
def test_a_channel_of_zeros_stays_zero_whatever_its_codes_become(method: str) -> None:
    weight = torch.zeros(1, 3, requires_grad=True)
    params = choose(method, weight.detach(), ONE, torch.eye(3))
    assert params["scale"].item() == 0
    ONE.quantize(weight, params).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1, 1, 1]]
    drifted = ONE.encode(torch.tensor([[-1.0, 0.0, 1.0]]), params)
    assert drifted.tolist() == [[0, 1, 1]]
    value = ONE.decode(drifted, params)
    assert value.tolist() == [[0, 0, 0]]
    assert not bool(torch.signbit(value).any())
    assert ONE.weight(Stored(drifted.numpy(), {"scale": np.zeros((1, 1), np.float32)})).tobytes() == bytes(12)


rows = st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_no_vector_of_signs_is_nearer(row: list[float]) -> None:
    weight = np.array(row, np.float64)
    errors = []
    for signs in itertools.product((-1, 1), repeat=len(row)):
        level = max(0.0, weight @ np.array(signs)) / len(row)
        errors.append(np.square(level * np.array(signs) - weight).sum())
    given_rows = torch.tensor([row], dtype=torch.float64)
    found = float((ONE.quantize(given_rows, ONE.fit(given_rows)) - given_rows).square().sum())
    assert found == pytest.approx(min(errors), rel=1e-9, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000))
def test_awq_finds_the_best_scale_of_the_signs(seed: int) -> None:
    draw = np.random.default_rng(seed)
    weight, inputs = draw.normal(size=(3, 12)), draw.normal(size=(40, 12)) * np.linspace(0.1, 3, 12)
    gram = inputs.T @ inputs / len(inputs)
    found = choose("awq", torch.from_numpy(weight), ONE, torch.from_numpy(gram))["scale"][:, 0].numpy()
    signs = np.where(weight >= 0, 1.0, -1.0)
    due = np.einsum("ij,jk,ik->i", signs, gram, weight) / np.einsum("ij,jk,ik->i", signs, gram, signs)
    np.testing.assert_allclose(found[due > 0], due[due > 0], rtol=1e-9)
