"""A block run alone from what is kept of the earlier ones gives what it gives in the whole model."""

from __future__ import annotations

import copy

import own_networks
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from tiny_models import CONFIG, tiny_of
from torch import nn

from snnq.models.custom import CustomSizes, adopt
from snnq.network.folding import fold_batchnorm
from snnq.network.layers import layer_table
from snnq.network.replay import Replay, find_layout
from snnq.reconstructing.sides import Budget, Side

OTHERS = [
    ("spikformer-cifar10", CONFIG),
    ("spikformer-imagenet", CONFIG),
    ("sdt-static", CONFIG),
    ("sdt-dvs", CONFIG),
    ("statten-static", CONFIG | {"steps": 4, "chunk": 2}),
]


def own(build, time_first, per_step):
    torch.manual_seed(0)
    sizes = CustomSizes("own", 2, (8, 8), 4, 3, time_first, per_step)
    model = adopt(build(), sizes).eval()
    groups = {layer.name: layer.group for layer in layer_table(model, (3, 2, 8, 8))}
    frames = torch.poisson(torch.rand(4, 3, 2, 8, 8) * 3)
    return fold_batchnorm(model, {}), groups, frames


def walk(model, groups, frames, limit=10**9):
    """Run block after block from kept outputs; return every block's output and currents, and the layout."""
    layout = find_layout(model, groups, frames)
    side = Side(Replay(copy.deepcopy(model), layout.parts, layout.shapes), layout, [frames], Budget(limit))
    found = []
    for number, block in enumerate(layout.blocks):
        with torch.no_grad():
            found.append(side.run(block, 0))
        side.advance(number)
    return found, layout, side


def currents_of(model, frames):
    """Return what every neuron of the model is given in one plain pass, and the logits."""
    model, seen = copy.deepcopy(model), []
    for module in model.modules():
        if isinstance(module, neuron.BaseNode):
            module.train()
            module.register_forward_pre_hook(lambda _m, given: seen.append(given[0]))
    functional.reset_net(model)
    with torch.no_grad():
        logits = model(frames)
    return seen, logits


def near(one, other):
    # Sums over what was kept may be made in another order.
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def check_whole(model, groups, frames, limit=10**9):
    found, layout, side = walk(model, groups, frames, limit)
    seen, logits = currents_of(model, frames)
    assert sorted(name for block in layout.blocks for name in block.layers) == sorted(groups)
    mine = [current for ran in found for current in ran.currents]
    # Neurons between two parts belong to no block.
    assert len(mine) <= len(seen)
    rest = iter(seen)
    assert all(any(near(current, other) for other in rest) for current in mine)
    return found, layout, side, logits, len(seen) - len(mine)


def test_the_blocks_of_a_spikformer(tiny):
    found, layout, _, logits, missed = check_whole(tiny.model, tiny.groups, tiny.batches[0])
    names = [block.name for block in layout.blocks]
    stages = [f"patch_embed.{one}" for one in ("proj_conv", "proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv")]
    assert names == [*stages, "block.0", "block.1", "head"]
    assert missed == 0
    assert torch.equal(found[-1].output, logits)
    assert [len(block.affines) for block in layout.blocks] == [1, 1, 1, 1, 1, 6, 6, 0]
    # A stage's output is what the next layer is given: after pooling, whole numbers.
    assert all(bool((ran.output == ran.output.round()).all()) for ran in found[:-1])
    assert [len(block.needs) for block in layout.blocks] == [0, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(("name", "config"), OTHERS, ids=[name for name, _ in OTHERS])
def test_other_architectures(name, config):
    tiny = tiny_of(name, config)
    found, layout, _, logits, missed = check_whole(tiny.model, tiny.groups, tiny.batches[0])
    assert missed == (0 if "spikformer" in name else 1)  # the neuron before the head
    assert torch.equal(found[-1].output, logits)
    assert len(layout.blocks) == 8


def test_nothing_is_kept_beyond_the_budget_and_all_is_the_same(tiny):
    kept, _, side = walk(tiny.model, tiny.groups, tiny.batches[0])
    again, _, poor = walk(tiny.model, tiny.groups, tiny.batches[0], limit=100)
    assert side.kept is not None
    assert poor.kept is None
    assert poor.budget.used == 0
    assert all(torch.equal(one.output, other.output) for one, other in zip(kept, again, strict=True))


def test_what_no_block_needs_any_more_is_forgotten(tiny):
    _, layout, side = walk(tiny.model, tiny.groups, tiny.batches[0])
    assert side.kept == [{}]
    assert side.budget.used == 0
    assert layout.blocks[-1].needs == ((2, -1),)


def test_a_users_sequence_of_layers():
    model, groups, frames = own(own_networks.multi_step, time_first=True, per_step=True)
    found, layout, _, logits, missed = check_whole(model, groups, frames)
    assert [block.layers for block in layout.blocks] == [("0",), ("4",), ("9",)]
    assert missed == 0
    assert torch.equal(found[-1].output, logits)


def test_a_model_that_loops_over_its_steps_is_one_block():
    model, groups, frames = own(own_networks.step_by_step, time_first=False, per_step=False)
    found, layout, _, logits, _ = check_whole(model, groups, frames)
    assert [block.name for block in layout.blocks] == ["model"]
    assert torch.equal(found[0].output, logits)


def test_gradients_reach_the_weights_through_the_neurons(tiny):
    layout = find_layout(tiny.model, tiny.groups, tiny.batches[0])
    side = Side(Replay(copy.deepcopy(tiny.model), layout.parts, layout.shapes), layout, tiny.batches, Budget(10**9))
    for number, block in enumerate(layout.blocks):
        weights = {
            f"{name}.weight": nn.Parameter(tiny.model.get_parameter(f"{name}.weight").detach().clone())
            for name in block.layers
        }
        side.run(block, 0, tensors=weights).output.sum().backward()
        assert all(bool((one.grad != 0).any()) for one in weights.values()), block.name
        side.advance(number)
    for module in side.replay.model.modules():
        if isinstance(module, neuron.BaseNode):
            assert module.v == module.v_reset  # at rest, nothing of the pass is left
