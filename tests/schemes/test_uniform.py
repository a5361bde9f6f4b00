"""uniform-b: golden vectors typed by hand, and ties."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from snnq.schemes import uniform
from snnq.schemes.scheme import scheme


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_two_bits_symmetric_by_hand() -> None:
    # z = 1½ gives the levels ±½s and ±1½s; here s = 2.
    params = {"scale": column(2.0), "zero_point": column(1.5)}
    weight = torch.tensor([[-9.0, -3.1, -2.1, -1.9, -0.1, 0.1, 1.9, 2.1, 3.0, 9.0]])
    one = scheme("uniform-2")
    assert one.grid(params).tolist() == [[-3.0, -1.0, 1.0, 3.0]]
    assert one.encode(weight, params).tolist() == [[0, 0, 0, 1, 1, 2, 2, 3, 3, 3]]
    assert one.quantize(weight, params).tolist() == [[-3, -3, -3, -1, -1, 1, 1, 3, 3, 3]]
    assert one.encode(weight, params).dtype == torch.uint8


def test_every_row_has_its_own_parameters() -> None:
    params = {"scale": column(0.5, 1.0, 0.25), "zero_point": column(0.0, 1.0, -2.0)}
    weight = torch.tensor([[0.0, 0.6, 1.4], [-1.2, 0.2, 2.6], [0.5, 0.8, 9.0]])
    one = scheme("uniform-2")
    assert one.grid(params).tolist() == [[0.0, 0.5, 1.0, 1.5], [-1.0, 0.0, 1.0, 2.0], [0.5, 0.75, 1.0, 1.25]]
    assert one.encode(weight, params).tolist() == [[0, 1, 3], [0, 1, 3], [0, 1, 3]]
    assert one.quantize(weight, params).tolist() == [[0.0, 0.5, 1.5], [-1.0, 0.0, 2.0], [0.5, 0.75, 1.25]]


def test_ties_go_to_the_even_code() -> None:
    # Midpoints between the codes 0|1, 1|2, 2|3 (w/s + z = ½, 1½, 2½) become 0, 2, 2.
    whole = {"scale": column(1.0), "zero_point": column(0.0)}
    half = {"scale": column(1.0), "zero_point": column(1.5)}
    assert scheme("uniform-2").encode(torch.tensor([[0.5, 1.5, 2.5]]), whole).tolist() == [[0, 2, 2]]
    assert scheme("uniform-2").encode(torch.tensor([[-1.0, 0.0, 1.0]]), half).tolist() == [[0, 2, 2]]


@pytest.mark.parametrize("bits", range(2, 9))
def test_codes_fill_their_range(bits: int) -> None:
    params = {"scale": column(1.0), "zero_point": column(0.0)}
    weight = torch.arange(-2.0, 2**bits + 2)[None]
    expected = [[0, 0, *range(2**bits), 2**bits - 1, 2**bits - 1]]
    assert scheme(f"uniform-{bits}").encode(weight, params).tolist() == expected


def test_zero_points_are_multiples_of_a_half() -> None:
    found = uniform.half_step(column(1.0, 1.2, 1.3, 1.5, 1.74, 1.76, -0.3))
    assert found.flatten().tolist() == [1.0, 1.0, 1.5, 1.5, 1.5, 2.0, -0.5]
    stored = scheme("uniform-4").stored({"scale": column(0.3), "zero_point": column(7.4)})
    assert stored["zero_point"].item() == 7.5
    assert stored["scale"].item() == pytest.approx(0.3)


def test_moved_scales_by_a_factor_and_shifts_the_zero_point() -> None:
    params = {"scale": column(0.5, 2.0), "zero_point": column(1.5, 1.0)}
    shifts = {"scale": torch.log(column(2.0, 0.5)), "zero_point": column(0.25, -1.0)}
    found = scheme("uniform-2").moved(params, shifts)
    assert found["scale"].flatten().tolist() == pytest.approx([1.0, 1.0])
    assert found["zero_point"].flatten().tolist() == [1.75, 0.0]
    still = scheme("uniform-2").moved(params, {name: torch.zeros_like(p) for name, p in params.items()})
    assert all(torch.equal(still[name], params[name]) for name in params)


def test_convolutions_keep_their_shape() -> None:
    weight = torch.randn(4, 3, 3, 3)
    one = scheme("uniform-3")
    params = one.fit(weight)
    assert {name: tuple(value.shape) for name, value in params.items()} == {"scale": (4, 1), "zero_point": (4, 1)}
    assert one.quantize(weight, params).shape == weight.shape
    assert one.encode(weight, params).shape == (4, 27)
    assert torch.equal(one.decode(one.encode(weight, params), params), one.quantize(weight, params).flatten(1))


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_the_error_that_a_fit_compares_is_that_of_the_projected_weight(bits: int) -> None:
    draw = torch.Generator().manual_seed(bits)
    weight = torch.randn(6, 40, generator=draw)
    params = {"scale": torch.rand(6, 1, generator=draw) + 0.05, "zero_point": column(0.0, 1.5, -2.0, 3.5, 700.0, 1.0)}
    due = (uniform.project(weight, params, bits)[0] - weight).square().sum(1, keepdim=True)
    assert torch.equal(uniform._tried(weight, **params, bits=bits)["error"], due)
