"""What a machine multiplies: windows are torch's own, and planes add up to the numbers they are of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plane_factors import plane_factors

from snnq.hardware.operands import ConvolutionWindow, Operands, bit_planes, passes


@settings(max_examples=30)
@given(
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel=st.integers(1, 3),
    stride=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    dilation=st.integers(1, 2),
    padding=st.integers(0, 2),
)
def test_windows_are_torchs(size, kernel, stride, dilation, padding):
    images = np.random.default_rng(0).integers(0, 2, (3, 2, *size)).astype(bool)
    window = ConvolutionWindow((kernel, kernel), stride, (dilation, dilation), ((padding, padding), (padding, padding)))
    torchs = torch.nn.functional.unfold(
        torch.from_numpy(images.astype(np.float32)), kernel, dilation, padding, stride
    ).swapaxes(1, 2)
    found = window.windows(images)
    assert np.array_equal(found, torchs.numpy().astype(bool))
    assert window.positions(size) == found.shape[-2]


@given(st.lists(st.integers(-40, 400), min_size=1, max_size=30))
def test_planes_add_up(numbers):
    values = np.array(numbers, float)[None]
    planes, factors = bit_planes(values), plane_factors(values)
    assert planes.dtype == bool
    assert len(planes) == len(factors)
    assert np.array_equal(np.tensordot(factors, planes.astype(np.int64), 1), values)


def test_planes_typed_by_hand():
    assert bit_planes(np.array([[5, 0, -2]])).tolist() == [
        [[True, False, False]],
        [[False, False, False]],
        [[True, False, False]],
        [[False, False, False]],
        [[False, False, True]],
    ]
    assert plane_factors(np.array([[5, 0, -2]])).tolist() == [1, 2, 4, -1, -2]
    assert bit_planes(np.zeros((1, 3))).shape == (1, 1, 3)
    with pytest.raises(ValueError, match="whole"):
        bit_planes(np.array([[0.5]]))


def test_passes_are_steps_of_one_plane():
    planes = np.arange(2 * 5).reshape(2, 5, 1, 1)
    assert [one.ravel().tolist() for one in passes(planes, 2)] == [[0, 1], [2, 3], [4], [5, 6], [7, 8], [9]]


def test_groups_of_a_convolution_are_its_own():
    random = np.random.default_rng(1)
    conv = torch.nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False)
    spikes = random.integers(0, 2, (1, 2, 4, 5, 5)).astype(bool)
    weights = conv.weight.detach().numpy().reshape(2, 3, -1).swapaxes(1, 2)
    one = Operands("conv", spikes, weights, 4, ConvolutionWindow((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))))
    due = conv(torch.from_numpy(spikes[0].astype(np.float32))).detach().numpy().reshape(2, 6, 25)
    made = [one.of_group(group)[0].astype(np.float32) @ weights[group] for group in range(2)]
    assert np.allclose(np.concatenate(made, -1).swapaxes(1, 2), due, atol=1e-6)
    assert one.rows.shape == (1, 2, 25, 4)
