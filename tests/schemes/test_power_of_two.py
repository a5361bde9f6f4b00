"""power-of-two-b: golden vectors typed by hand, and ties."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from snnq.schemes import power_of_two
from snnq.schemes.scheme import scheme


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_two_bits_by_hand() -> None:
    # α = 2^1: levels 0, ±2. Codes: 0 zero, 1 = +α, 3 = sign|1 = -α.
    params = {"log2_scale": column(1.0)}
    weight = torch.tensor([[-5.0, -1.1, -0.9, 0.0, 0.9, 1.1, 2.0, 5.0]])
    one = scheme("power-of-two-2")
    assert one.grid(params).tolist() == [[-2.0, 0.0, 2.0]]
    assert one.encode(weight, params).tolist() == [[3, 3, 0, 0, 0, 1, 1, 1]]
    assert one.quantize(weight, params).tolist() == [[-2, -2, 0, 0, 0, 2, 2, 2]]


def test_four_bits_by_hand() -> None:
    # K = 7, α = 1: code k is 2^(k-7), the sign bit is 8.
    params = {"log2_scale": column(0.0)}
    one = scheme("power-of-two-4")
    levels = [2.0**-6, 2.0**-5, 2.0**-4, 2.0**-3, 2.0**-2, 2.0**-1, 1.0]
    assert one.grid(params).tolist() == [[-level for level in levels[::-1]] + [0.0, *levels]]
    codes = torch.arange(16, dtype=torch.uint8)[None]
    assert one.decode(codes, params).tolist() == [[0.0, *levels, 0.0, *(-level for level in levels)]]
    weight = torch.tensor([[0.0, 0.007, 0.0079, 0.02, 0.03, -0.3, -0.4, 0.7, 0.8, -40.0]])
    assert one.encode(weight, params).tolist() == [[0, 0, 1, 1, 2, 13, 14, 6, 7, 15]]


def test_three_bits_with_a_scale_by_hand() -> None:
    # K = 3, α = 2^-2: levels 1/16, 1/8, 1/4.
    params = {"log2_scale": column(-2.0)}
    weight = torch.tensor([[0.03, 0.05, 0.1, -0.2, -0.19, -0.18, 1.0]])
    one = scheme("power-of-two-3")
    assert one.encode(weight, params).tolist() == [[0, 1, 2, 7, 7, 6, 3]]
    assert one.quantize(weight, params).tolist() == [[0.0, 0.0625, 0.125, -0.25, -0.25, -0.125, 0.25]]


def test_ties_go_to_the_larger_magnitude() -> None:
    params = {"log2_scale": column(0.0)}
    weight = torch.tensor([[0.75, -0.75, 0.375, 2.0**-7, -(2.0**-7)]])
    assert scheme("power-of-two-4").encode(weight, params).tolist() == [[7, 15, 6, 1, 9]]
    assert scheme("power-of-two-2").encode(torch.tensor([[0.5, -0.5]]), params).tolist() == [[1, 3]]


def test_zero_has_one_code_whatever_its_sign() -> None:
    params = {"log2_scale": column(0.0)}
    weight = torch.tensor([[0.0, -0.0, -1e-9, 1e-9]])
    for bits in range(2, 6):
        assert scheme(f"power-of-two-{bits}").encode(weight, params).tolist() == [[0, 0, 0, 0]]
        assert not torch.signbit(scheme(f"power-of-two-{bits}").quantize(weight, params)).any()


def test_eight_bits_reach_126_octaves_down() -> None:
    params = {"log2_scale": column(0.0)}
    one = scheme("power-of-two-8")
    weight = torch.tensor([[2.0**-126, -(2.0**-126), 2.0**-60, 1.0, 0.0]])
    assert one.encode(weight, params).tolist() == [[1, 129, 67, 127, 0]]
    assert torch.equal(one.quantize(weight, params), weight)


def test_the_scale_is_a_whole_power_of_two() -> None:
    found = power_of_two.scale({"log2_scale": column(0.4, 0.6, -1.4, -1.6, 3.0)})
    assert found.flatten().tolist() == [1.0, 2.0, 0.5, 0.25, 8.0]
    stored = scheme("power-of-two-4").stored({"log2_scale": column(-1.6, 2.2)})
    assert stored["log2_scale"].flatten().tolist() == [-2.0, 2.0]


@pytest.mark.parametrize("exponent", range(-120, 128))
def test_scales_are_exact(exponent: int) -> None:
    # An inexact 2^e would make every reader but ours disagree in the last bit.
    found = power_of_two.scale({"log2_scale": torch.full((9, 1), float(exponent))})
    assert set(found.flatten().tolist()) == {2.0**exponent}


def test_moved_adds_octaves() -> None:
    params = {"log2_scale": column(-3.0, 1.0)}
    found = scheme("power-of-two-4").moved(params, {"log2_scale": column(0.75, -0.5)})
    assert found["log2_scale"].flatten().tolist() == [-2.25, 0.5]
