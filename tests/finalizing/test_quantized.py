"""Layers under a fixed scheme: what they learn, and that their codes are the truth at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnq.finalizing.encoding import encode_model
from snnq.packing.results import BINS, weight_record
from snnq.schemes.scheme import scheme, scheme_names
from snnq.training.finetune import distilled_loss
from snnq.training.quantized import FakeQuantize, parameter_groups, quantize_model

NAMES = scheme_names()

CODED = [name for name in NAMES if name != "float32"]


def small_net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(CODED), st.floats(-0.8, 0.8), st.integers(0, 100), st.booleans())
def test_codes_decode_to_the_weights_that_were_trained(name, shift, seed, depth_wise):
    torch.manual_seed(seed)
    layer = nn.Conv2d(5, 5, 3, groups=5) if depth_wise else nn.Linear(7, 5)
    net = quantize_model(nn.Sequential(layer), {"0": name})
    for key, parameter in net.named_parameters():
        if key.endswith("_shift"):
            parameter.data.fill_(shift)
    trained = layer.weight.detach().clone()
    coded = encode_model(net, {"0": name})["0"]
    assert coded.codes.shape == (5, 9 if depth_wise else 7)
    decoded = scheme(name).decode(coded.codes, coded.params).view_as(trained)
    assert torch.equal(decoded, trained)
    assert torch.equal(layer.weight, trained)
    assert int(coded.codes.max()) < 2 ** scheme(name).bits


def test_stored_parameters_are_what_the_hardware_reads():
    net = quantize_model(nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 3)), {"0": "uniform-3", "1": "power-of-two-3"})
    for key, parameter in net.named_parameters():
        if key.endswith("_shift"):
            parameter.data.fill_(0.31)
    coded = encode_model(net, {"0": "uniform-3", "1": "power-of-two-3"})
    halves = coded["0"].params["zero_point"] * 2
    exponents = coded["1"].params["log2_scale"]
    assert torch.equal(halves, halves.round())
    assert torch.equal(exponents, exponents.round())


@pytest.mark.parametrize("name", ["uniform-2", "power-of-two-4", "ternary", "binary"])
def test_every_scheme_parameter_is_learned(name):
    net = quantize_model(small_net(), {"0": name, "3": name})
    before = {key: value.detach().clone() for key, value in net.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(net, 0.01), lr=0.01)
    for i in range(3):
        x = torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(i))
        F.cross_entropy(net(x), torch.arange(8) % 3).backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = [key for key, value in net.named_parameters() if not torch.equal(value, before[key])]
    assert {key for key in before if "scale_shift" in key} <= set(moved)
    assert "0.parametrizations.weight.original" in moved


def test_zero_shift_is_the_least_squares_fit():
    weight = torch.randn(3, 8)
    for name in CODED:
        one = scheme(name)
        assert torch.equal(FakeQuantize(name, weight)(weight), one.quantize(weight, one.fit(weight)))


def test_float_layers_stay_as_they_are():
    net = small_net()
    weight = net.get_parameter("3.weight").detach().clone()
    quantize_model(net, {"0": "uniform-2", "3": "float32"})
    assert list(encode_model(net, {"0": "uniform-2", "3": "float32"})) == ["0"]
    assert torch.equal(net.get_parameter("3.weight"), weight)


def test_weight_decay_is_for_weights_alone():
    net = quantize_model(small_net(), {"0": "uniform-2", "3": "power-of-two-2"})
    groups: list[dict[str, Any]] = parameter_groups(net, 0.1)
    decayed, free = groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 2, 3, 3), (3, 16)]
    assert len(decayed["params"]) + len(free["params"]) == len(list(net.parameters()))
    assert free["weight_decay"] == 0.0


def test_distilled_loss_against_numpy():
    logits, teacher = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.randn(5, 4)
    labels, share, heat = torch.tensor([0, 1, 2, 3, 0]), 0.3, 2.0

    def log_softmax(x):
        return x - np.log(np.exp(x).sum(1, keepdims=True))

    s, t = logits.double().numpy(), teacher.double().numpy()
    entropy = -log_softmax(s)[np.arange(5), labels].mean()
    p = np.exp(log_softmax(t / heat))
    divergence = (p * (log_softmax(t / heat) - log_softmax(s / heat))).sum(1).mean()
    expected = (1 - share) * entropy + share * heat**2 * divergence
    assert distilled_loss(logits, labels, teacher, share, heat).item() == pytest.approx(expected, rel=1e-5)
    assert distilled_loss(logits, labels, None, share, heat).item() == pytest.approx(entropy, rel=1e-5)
    mixed = 0.3 * F.one_hot(labels, 4) + 0.7 * F.one_hot(labels.flip(0), 4)
    softly = -(mixed.numpy() * log_softmax(s)).sum(1).mean()
    assert distilled_loss(logits, mixed, None, share, heat).item() == pytest.approx(softly, rel=1e-5)
    assert distilled_loss(logits, labels, logits, 1.0, heat).item() == pytest.approx(0.0, abs=1e-6)


def test_histograms_count_every_weight():
    before = torch.tensor([[-1.0, 0.0, 0.26, 1.0]])
    record = weight_record(before, torch.tensor([[-0.5, 0.0, 0.0, 0.5]]))
    assert (record.low, record.high) == (-1.0, 1.0)
    assert len(record.before) == BINS
    assert sum(record.before) == sum(record.after) == 4
    assert record.before[0] == record.before[BINS // 2] == record.before[-1] == 1
    assert (record.zeros_before, record.zeros_after) == (0.25, 0.5)
