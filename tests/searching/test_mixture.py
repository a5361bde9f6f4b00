"""The composite layer is exactly the paper's sum of branches, in value and in every gradient."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoints import CONFIG
from torch import nn

from snnq.models.registry import build
from snnq.models.spikformer.sizes import LAYOUTS as SPIKFORMERS
from snnq.network.layers import layer_table
from snnq.schemes.names import PAPER_SPACE
from snnq.schemes.scheme import scheme, scheme_names
from snnq.searching.mixture import BranchNet, Supernet, sample
from snnq.training.seeding import generator

NAMES = scheme_names()

SHAPE = (2, 2, 8, 8)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        *((f"spikformer-{layout}", {"pooling": [False, False, True, True]}) for layout in SPIKFORMERS),
        ("maxformer-cifar10", {"depth": 3}),  # depth-wise convolutions
    ],
)
def test_supernet_equals_the_branch_form(name, changes):
    torch.manual_seed(0)
    model = build(name, CONFIG | changes)
    names = [layer.name for layer in layer_table(model, SHAPE)]
    composite = Supernet(copy.deepcopy(model), names, PAPER_SPACE).double().train()
    branches = BranchNet(copy.deepcopy(model), names, PAPER_SPACE).double().train()
    frames = torch.poisson(torch.full((4, *SHAPE), 1.0), generator=generator(0)).double()
    labels = torch.tensor([0, 1, 2, 0])
    # Gradients are compared at a: in the branch form a bias adds the same to every share's, which softmax drops.
    logits = torch.randn(len(names), 5, generator=generator(1)).double().requires_grad_()
    shares = torch.softmax(logits, 1)

    losses, gradients = [], []
    for network in (composite, branches):
        loss = F.cross_entropy(network(frames, shares), labels)
        parameters = list(network.parameters())
        found = torch.autograd.grad(loss, [logits, *parameters], retain_graph=True)
        losses.append(loss.item())
        # The same parameters stand in another order: compare them by size and content.
        gradients.append([found[0], torch.cat([g.flatten() for g in found[1:]]).sort().values])
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)
    for ours, theirs in zip(*gradients, strict=True):
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["linear", "conv1d", "conv2d", "depth-wise"]),
    st.lists(st.sampled_from(NAMES), min_size=2, max_size=5, unique=True),
    st.integers(0, 1000),
)
def test_mixture_equals_branches_for_any_layer_and_space(kind, names, seed):
    torch.manual_seed(seed)
    layer, x = {
        "linear": (nn.Linear(5, 4), torch.randn(3, 5)),
        "conv1d": (nn.Conv1d(5, 4, 1), torch.randn(3, 5, 6)),
        "conv2d": (nn.Conv2d(2, 4, 3, padding=1), torch.randn(3, 2, 5, 5)),
        "depth-wise": (nn.Conv2d(4, 4, 3, padding=1, groups=4), torch.randn(3, 4, 5, 5)),
    }[kind]
    net, branches = Supernet(nn.Sequential(layer), ["0"], names), BranchNet(nn.Sequential(layer), ["0"], names)
    net, branches, x = net.double(), branches.double(), x.double()
    logits = torch.randn(1, len(names)).double().requires_grad_()
    outputs = [network(x, torch.softmax(logits, 1)) for network in (net, branches)]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-11)
    ours, theirs = (torch.autograd.grad(out.square().sum(), [layer.weight, logits]) for out in outputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_layers_of_any_shape_are_quantised_as_each_alone():
    torch.manual_seed(0)
    first, last = nn.Conv2d(2, 4, 3), nn.Linear(16, 3)
    model = nn.Sequential(first, nn.Flatten(), last)
    net = Supernet(model, ["0", "2"], ["power-of-two-3", "uniform-4"])
    shares = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    x = torch.randn(2, 2, 4, 4)
    found = net(x, shares)
    for layer, name in ((first, "power-of-two-3"), (last, "uniform-4")):
        layer.weight.data = scheme(name).project(layer.weight, scheme(name).fit(layer.weight))[0]
    torch.testing.assert_close(found, model(x))


def test_refresh_follows_the_latent_weight():
    torch.manual_seed(0)
    last = nn.Linear(40, 3)
    net = Supernet(nn.Sequential(nn.Linear(6, 40), last), ["0", "1"], ["uniform-4", "power-of-two-4"])
    before = [net.get_buffer(name).clone() for name in ("scale_0", "log2_scale_1")]
    with torch.no_grad():
        last.weight.mul_(1.2)
    net(torch.randn(1, 6), torch.full((2, 2), 0.5))
    assert torch.equal(net.get_buffer("scale_0"), before[0])
    net.refresh()
    scale, log2_scale = net.get_buffer("scale_0"), net.get_buffer("log2_scale_1")
    for name, old, params in (
        ("uniform-4", {"scale": before[0]}, {"scale": scale, "zero_point": net.get_buffer("zero_point_0")}),
        ("power-of-two-4", {"log2_scale": before[1]}, {"log2_scale": log2_scale}),
    ):
        rows = slice(40, 43)  # those of the second layer
        ours = {key: value[rows].unsqueeze(1) for key, value in params.items()}
        stale = ours | {key: value[rows].unsqueeze(1) for key, value in old.items()}
        one, weight = scheme(name), last.weight
        errors = [(one.project(weight, p)[0] - weight).square().sum() for p in (ours, stale, one.fit(weight))]
        assert errors[0] <= errors[1]
        assert errors[0] <= errors[2] * 1.5
    assert (scale[40:] > before[0][40:]).all()
    torch.testing.assert_close(scale[:40], before[0][:40], rtol=0.05, atol=0)


def test_scales_are_saved_with_the_run():
    keys = Supernet(nn.Sequential(nn.Linear(6, 2)), ["0"], ["uniform-2", "float32"]).state_dict().keys()
    assert keys == {"scale_0", "zero_point_0", "model.0.weight", "model.0.bias"}


def test_one_hot_sample_is_exactly_one_hot_and_passes_the_soft_gradient():
    logits = torch.zeros(3, 4, requires_grad=True)
    hot = sample(logits, 0.7, generator(5), one_hot=True)
    soft = sample(logits, 0.7, generator(5), one_hot=False)
    assert set(hot.flatten().tolist()) == {0.0, 1.0}
    assert torch.equal(hot.argmax(1), soft.argmax(1))
    weights = torch.arange(12.0).view(3, 4)
    (ours,) = torch.autograd.grad((hot * weights).sum(), logits)
    (theirs,) = torch.autograd.grad((soft * weights).sum(), logits)
    torch.testing.assert_close(ours, theirs)


def test_sample_follows_the_gumbel_max_law():
    """P(argmax = k) = softmax(a)_k: the frequencies of 20 000 draws lie within four standard deviations."""
    logits = torch.tensor([0.0, 1.0, 2.0]).expand(20_000, 3)
    drawn = sample(logits, 0.3, generator(9), one_hot=True).mean(0)
    wanted = torch.softmax(torch.tensor([0.0, 1.0, 2.0]), 0)
    assert (drawn - wanted).abs().max() < 4 * (0.25 / 20_000) ** 0.5


def test_a_low_temperature_sharpens():
    logits = torch.tensor([[0.0, 1.0]])
    warm, cold = (sample(logits, heat, generator(2), one_hot=False).max().item() for heat in (5.0, 0.05))
    assert cold > warm
    assert cold > 0.99
