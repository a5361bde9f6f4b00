"""Neurons that train the quick way: the bits of SpikingJelly's own way, and its own way wherever they are not plain."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from snnq.models.neurons import lif
from snnq.models.registry import build
from snnq.network.neurons import is_neuron, unpriced
from snnq.training.quick_neurons import quicken

CONFIG = {"in_channels": 2, "image_size": [16, 16], "dim": 16, "depth": 2, "heads": 2, "steps": 4, "classes": 5}


def passes(node: nn.Module, currents: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
    """Return spikes and voltages of two passes, the second from where the first ended, and the currents' gradients."""
    functional.reset_net(node)
    given = [part.clone().requires_grad_() for part in currents]
    found = []
    for part in given:
        found += [node(part), node.v]
    (sum(one.sum() for one in (found[0] * weights, found[2] * weights)) + (found[3] * weights[0]).sum()).backward()
    return [*found, *(part.grad for part in given if part.grad is not None)]


@pytest.mark.parametrize(("threshold", "tau", "alpha"), [(1.0, 2.0, 4.0), (0.5, 3.0, 2.0)])
def test_spikes_voltages_and_gradients_are_the_same_bits(threshold, tau, alpha):
    draw = torch.Generator().manual_seed(0)
    currents, weights = torch.randn(2, 5, 7, 33, generator=draw) * 2, torch.randn(5, 7, 33, generator=draw)
    node = lif(threshold, tau)
    node.surrogate_function = surrogate.Sigmoid(alpha=alpha)
    quick = quicken(copy.deepcopy(node))
    wanted, found = passes(node, currents, weights), passes(quick, currents, weights)
    assert len(found) == 6
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert 0.1 < float(found[0].detach().mean()) < 0.9


def test_one_step_by_hand():
    node = quicken(lif())
    currents = torch.tensor([[1.0], [2.0]], requires_grad=True)
    spikes = node(currents)  # h = 0.5, then 0.5 + (2 − 0.5)/2 = 1.25
    assert spikes.tolist() == [[0.0], [1.0]]
    spikes.sum().backward()
    slopes = [4 * one * (1 - one) for one in torch.sigmoid(torch.tensor([4 * -0.5, 4 * 0.25])).tolist()]
    assert currents.grad is not None
    assert currents.grad.flatten().tolist() == pytest.approx([(slopes[0] + slopes[1] / 2) / 2, slopes[1] / 2])


def test_a_model_trains_to_the_same_bits():
    torch.manual_seed(0)
    model = build("spikformer-cifar10dvs", CONFIG | {"pooling": [True, True, False, False]}).train()
    other, frames = quicken(copy.deepcopy(model)), torch.poisson(torch.full((4, 4, 2, 16, 16), 0.7))
    for one in (model, other):
        F.cross_entropy(one(frames), torch.arange(4)).backward()
    for (name, plain), quick in zip(model.named_parameters(), other.parameters(), strict=True):
        assert plain.grad is not None, name
        assert quick.grad is not None, name
        assert torch.equal(plain.grad, quick.grad), name
    assert model.state_dict().keys() == other.state_dict().keys()
    assert all(is_neuron(one) for one in other.modules() if type(one).__name__ == "LIFNode")
    assert not list(unpriced(other))


@pytest.mark.parametrize(
    "node",
    [
        neuron.LIFNode(v_reset=None, detach_reset=True, step_mode="m"),
        neuron.LIFNode(detach_reset=False, step_mode="m"),
        neuron.LIFNode(decay_input=False, detach_reset=True, step_mode="m"),
        neuron.LIFNode(surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m"),
        neuron.LIFNode(detach_reset=True, step_mode="m", store_v_seq=True),
        neuron.IFNode(detach_reset=True, step_mode="m"),
    ],
)
def test_other_neurons_keep_their_own_way(node):
    draw = torch.Generator().manual_seed(1)
    currents, weights = torch.randn(2, 4, 3, 5, generator=draw) * 2, torch.randn(4, 3, 5, generator=draw)
    quick = quicken(copy.deepcopy(node))
    wanted, found = passes(node, currents, weights), passes(quick, currents, weights)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
