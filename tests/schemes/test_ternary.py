"""ternary: golden vectors typed by hand, the fit beside every vector of signs, and bytes beside their equation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from snnq.schemes import ternary
from snnq.schemes.format import Stored
from snnq.schemes.scheme import scheme

ONE = scheme("ternary")


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_levels_codes_and_clipping_by_hand() -> None:
    params = {"scale": column(2.0, 0.5)}
    weight = torch.tensor([[-9.0, -1.1, -0.9, 0.0, 0.9, 1.1, 2.9, 3.1], [-0.3, -0.2, 0.0, 0.2, 0.3, 0.7, 0.8, 9.0]])
    assert ONE.grid(params).tolist() == [[-2.0, 0.0, 2.0], [-0.5, 0.0, 0.5]]
    assert ONE.encode(weight, params).tolist() == [[0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 1, 1, 2, 2, 2, 2]]
    assert ONE.quantize(weight, params).tolist() == [[-2, -2, 0, 0, 0, 2, 2, 2], [-0.5, 0, 0, 0, 0.5, 0.5, 0.5, 0.5]]
    assert ONE.project(weight, params)[1].tolist() == [[False, *[True] * 6, False], [True] * 6 + [False, False]]


def test_half_of_the_scale_is_zero() -> None:
    assert ONE.encode(torch.tensor([[0.5, -0.5, 0.500001]]), {"scale": column(1.0)}).tolist() == [[1, 1, 2]]


def test_the_fit_by_hand() -> None:
    # Of 4, 3, 1 the gains (Σ of the k largest)² / k are 16, 24.5, 21⅓: the two largest, whose mean is 3.5.
    # Of 5, 1, 1 they are 25, 18, 16⅓: one alone. Of equal ones, all.
    weight = torch.tensor([[-4.0, 3.0, 1.0], [1.0, 5.0, -1.0], [0.7, -0.7, 0.7]])
    params = ONE.fit(weight)
    assert params["scale"].flatten().tolist() == pytest.approx([3.5, 5.0, 0.7])
    assert ONE.encode(weight, params).tolist() == [[0, 2, 1], [1, 2, 1], [2, 0, 2]]


def test_five_weights_a_byte_by_hand() -> None:
    # −1 + 3·0 + 9·1 + 27·1 + 81·0 = 35; the sixth weight, −1, begins a byte; five ones are 121, five of −1 −121.
    codes = np.array([[0, 1, 2, 2, 1, 0], [2, 2, 2, 2, 2, 1], [0, 0, 0, 0, 0, 2]], np.uint8)
    tensors = ONE.write(Stored(codes, {"scale": np.ones((3, 1), np.float32)}))
    assert tensors["weight_trits"].dtype == np.int8
    assert tensors["weight_trits"].tolist() == [[35, -1], [121, 0], [-121, 1]]
    assert tensors["weight_shape"].tolist() == [3, 6]


def test_what_it_costs_by_hand() -> None:
    assert (ONE.bits, ONE.storage_bits((4, 5)), ONE.storage_bits((2, 3, 3, 3)), ONE.code_bits) == (1.6, 32, 86.4, 2)
    assert ONE.word_bits((2, 3, 3, 3)) == 2 * 6 * 8
    assert ONE.format.operation == "power-of-two"


def test_whole_numbers_by_hand() -> None:
    whole = ONE.whole(Stored(np.array([[0, 1, 2]], np.uint8), {"scale": np.array([[0.25]], np.float32)}), 9)
    assert (whole.values.tolist(), whole.unit.tolist(), whole.wide) == ([[-1, 0, 1]], [0.25], False)


def test_the_scale_moves_by_a_factor() -> None:
    found = ONE.moved({"scale": column(0.5, 2.0)}, {"scale": torch.log(column(2.0, 0.5))})
    assert found["scale"].flatten().tolist() == pytest.approx([1.0, 1.0])


def test_a_channel_of_zeros_has_levels() -> None:
    for params in (ONE.fit(torch.zeros(2, 3)), ONE.cover(torch.zeros(2, 3))):
        assert bool((params["scale"] > 0).all())
        assert bool((ONE.quantize(torch.zeros(2, 3), params) == 0).all())


rows = st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_no_vector_of_signs_is_nearer(row: list[float]) -> None:
    weight = np.array(row, np.float64)
    errors = [np.square(weight).sum()]
    for signs in itertools.product((-1, 0, 1), repeat=len(row)):
        if any(signs):
            level = max(0.0, weight @ np.array(signs)) / np.abs(signs).sum()
            errors.append(np.square(level * np.array(signs) - weight).sum())
    given_rows = torch.tensor([row], dtype=torch.float64)
    found = float((ONE.quantize(given_rows, ONE.fit(given_rows)) - given_rows).square().sum())
    assert found == pytest.approx(min(errors), rel=1e-9, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 4))
def test_refining_from_anywhere_is_no_worse(seed: int, factor: float) -> None:
    weight = torch.from_numpy(np.random.default_rng(seed).standard_t(3, (3, 40)))
    before = {"scale": weight.abs().mean(1, keepdim=True) * factor}
    after = ONE.refine(weight, before)
    errors = [(ONE.project(weight, one)[0] - weight).square().sum(1) for one in (before, after, ONE.fit(weight))]
    assert bool((errors[1] <= errors[0] * (1 + 1e-12)).all())
    assert bool((errors[2] <= errors[1] * (1 + 1e-12)).all())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 33))
def test_bytes_beside_their_equation(seed: int, out: int, n: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 3, (out, n), dtype=np.uint8)
    found = ONE.write(Stored(codes, {"scale": np.ones((out, 1), np.float32)}))["weight_trits"]
    due = []
    for row in codes.tolist():
        trits = [code - 1 for code in row] + [0] * (-n % 5)
        due.append([sum(trits[i + j] * 3**j for j in range(5)) for i in range(0, len(trits), 5)])
    assert found.tolist() == due


def test_a_byte_that_five_weights_never_give_is_another_one_when_it_is_written_again() -> None:
    every = np.arange(-128, 128).astype(np.int8)[:, None]
    tensors = {"weight_trits": every, "weight_scale": np.ones((256, 1), np.float32)}
    stored = ONE.read(lambda key, shape, *dtypes: tensors[key], (256, 5))
    again = ONE.write(stored)["weight_trits"]
    assert ((again == every)[:, 0] == (np.abs(every[:, 0].astype(int)) <= 121)).all()
    assert ternary.bytes_per_row((1, 6)) == 2
