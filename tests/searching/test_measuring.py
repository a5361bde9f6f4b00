"""Measured losses: replayed passes equal whole ones, and the differences are those of plainly switched models."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_checkpoints import build_tiny

from snnq.network.layers import layer_table
from snnq.schemes.scheme import Scheme, scheme
from snnq.searching.constraints import Constraints, resolve
from snnq.searching.measuring import Switchboard, measure, monotone, soft_cross_entropy
from snnq.searching.rounding import Nearest
from snnq.training.evaluation import NORMS

SPACE = ("float32", "power-of-two-2", "uniform-2")


def a_model(layout):
    return build_tiny(0, layout).eval()


def batches():
    draw = torch.Generator().manual_seed(1)
    for _ in range(2):
        frames = torch.poisson(torch.full((6, 2, 2, 8, 8), 1.0), generator=draw)
        yield frames, torch.softmax(torch.randn(6, 3, generator=draw), 1)


def plain_loss(model, schemes):
    """Return the mean loss of a model rounded layer by layer, in whole passes, BN in batch statistics."""
    model = copy.deepcopy(model)
    for name, chosen in schemes.items():
        one, weight = scheme(chosen), model.get_submodule(name).weight
        weight.data = one.project(weight, one.fit(weight))[0]
    for module in model.modules():
        if isinstance(module, NORMS):
            module.train()
    with torch.no_grad():
        found = [(float(soft_cross_entropy(model(frames), targets)), len(targets)) for frames, targets in batches()]
    return sum(loss for loss, _ in found) / sum(count for _, count in found)


@pytest.mark.parametrize(
    "layout", ["cifar10dvs", *(pytest.param(one, marks=pytest.mark.slow) for one in ("cifar10", "imagenet"))]
)
def test_losses_are_those_of_plainly_switched_models(layout):
    model = a_model(layout)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    choices = resolve(layer_table(model, (2, 2, 8, 8)), SPACE, Constraints(ties=(("q", "k"),)))
    anchor = [1 + own % 2 for own in choices.group]
    found = Switchboard(model, choices).losses(anchor, batches(), lambda: None)
    schemes = choices.schemes(anchor)
    base = plain_loss(model, schemes)
    for i, layer in enumerate(choices.layers):
        tied = [choices.layers[j].name for j in choices.members(choices.group[i])]
        for k, name in enumerate(choices.names):
            expected = plain_loss(model, schemes | dict.fromkeys(tied, name)) - base
            assert found[i, k] == pytest.approx(expected, abs=1e-5), (layer.name, name)
    assert np.abs(found).max() > 1e-3
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_layer_may_not_take_what_its_space_forbids():
    model = a_model("cifar10dvs")
    choices = resolve(layer_table(model, (2, 2, 8, 8)), SPACE, Constraints(locks=(("head", "uniform-2"),)))
    head = [layer.name for layer in choices.layers].index("head")
    found = Switchboard(model, choices).losses(
        [choices.names.index("uniform-2")] * len(choices.layers), batches(), lambda: None
    )
    assert np.isnan(found[head]).tolist() == [name != "uniform-2" for name in choices.names]
    assert found[head, choices.names.index("uniform-2")] == 0


def test_the_second_pass_starts_from_the_plan_of_the_first():
    model = a_model("cifar10dvs")
    choices = resolve(layer_table(model, (2, 2, 8, 8)), SPACE, Constraints())
    seen = []

    def solve(scores):
        seen.append(scores)
        return [2] * len(choices.layers)

    scores = measure(model, choices, [0] * len(choices.layers), solve, batches)
    board = Switchboard(model, choices)
    first, second = (board.losses([k] * len(choices.layers), batches(), lambda: None) for k in (0, 2))
    np.testing.assert_allclose(seen[0], monotone(first, choices.names), atol=1e-9)
    np.testing.assert_allclose(scores, monotone((first + second) / 2, choices.names), atol=1e-9)


def test_more_bits_of_a_family_never_score_worse():
    names = ("float32", "uniform-2", "uniform-4", "power-of-two-2", "uniform-8")
    scores = np.array([[0.3, 0.1, 0.2, 0.05, np.nan], [0.0, 0.2, 0.1, 0.3, 0.4]])
    expected = np.array([[0.05, 0.1, 0.1, 0.05, np.nan], [0.0, 0.2, 0.1, 0.3, 0.1]])
    np.testing.assert_array_equal(monotone(scores, names), expected)


def test_a_grid_is_fitted_once_for_each_layer_and_scheme(monkeypatch):
    one, weight, nearest = scheme("uniform-2"), torch.randn(4, 6, generator=torch.Generator().manual_seed(0)), Nearest()
    due = one.project(weight, one.fit(weight))[0]
    assert torch.equal(nearest("first", weight, one), due)
    monkeypatch.setattr(Scheme, "fit", lambda *_: pytest.fail("fitted again"))
    assert torch.equal(nearest("first", weight, one), due)
    for place in (("second", one), ("first", scheme("uniform-4"))):
        with pytest.raises(pytest.fail.Exception):
            nearest(place[0], weight, place[1])
