import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import neuron
from torch import nn

from snnq.base.errors import PlanError
from snnq.models.registry import ARCHITECTURES, build
from snnq.network.layers import Layer, frames_shape, group_of, layer_table

# docs/method.md §1, typed by hand: weights and MACs per time step of Spikformer-2-256 on 2x128x128.
TOKENIZER = {
    "patch_embed.proj_conv": (576, 9_437_184),
    "patch_embed.proj_conv1": (18_432, 75_497_472),
    "patch_embed.proj_conv2": (73_728, 75_497_472),
    "patch_embed.proj_conv3": (294_912, 75_497_472),
    "patch_embed.rpe_conv": (589_824, 37_748_736),
}
ATTENTION = {f"block.{i}.attn.{x}": (65_536, 4_194_304) for i in (0, 1) for x in ("q", "k", "v", "proj")}
MLP = {f"block.{i}.mlp.{x}": (262_144, 16_777_216) for i in (0, 1) for x in ("fc1", "fc2")}
HEAD = {"head": (2_560, 2_560)}


def tiny(layout="cifar10dvs", **changes):
    config = {
        "image_size": (16, 16),
        "dim": 32,
        "depth": 1,
        "heads": 4,
        "classes": 5,
        "steps": 3,
        "in_channels": 2,
    } | changes
    return build(f"spikformer-{layout}", config), config


@pytest.fixture(scope="module")
def reference():
    config = ARCHITECTURES["spikformer-cifar10dvs"].default_config()
    return layer_table(build("spikformer-cifar10dvs", config), frames_shape(config))


def test_reference_model_has_the_papers_layers(reference):
    assert {layer.name: (layer.weights, layer.macs) for layer in reference} == TOKENIZER | ATTENTION | MLP | HEAD
    assert len(reference) == 18
    assert sum(layer.weights for layer in reference) == 2_552_896
    assert round(sum(layer.macs for layer in reference) / 1e6, 2) == 374.34
    # Stride 1 and padding 1 everywhere: the input image is as large as the output's.
    assert all(layer.multiplications == layer.macs for layer in reference)


def test_reference_groups_have_the_papers_shares(reference):
    weights = {g: sum(x.weights for x in reference if x.group == g) for g in ("tokenizer", "attention", "mlp", "head")}
    assert weights == {"tokenizer": 977_472, "attention": 524_288, "mlp": 1_048_576, "head": 2_560}
    assert [round(100 * w / 2_552_896, 2) for w in weights.values()] == [38.29, 20.54, 41.07, 0.10]
    macs = {g: sum(x.macs for x in reference if x.group == g) for g in weights}
    assert [round(m / 1e6, 2) for m in macs.values()] == [273.68, 33.55, 67.11, 0.0]
    assert [round(100 * m / 374_344_192, 1) for m in macs.values()] == [73.1, 9.0, 17.9, 0.0]


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet"])
def test_input_kinds_follow_the_dataflow_whatever_the_weights(layout):
    model, config = tiny(layout, depth=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    kinds = {layer.name: layer.input for layer in layer_table(model, frames_shape(config))}
    assert kinds.pop("patch_embed.proj_conv") == "counts"
    assert kinds.pop("head") == "reals"
    for name, kind in kinds.items():
        sums = name.endswith((".q", ".k", ".v", ".fc1"))
        assert kind == ("integers" if sums else "spikes"), name


def test_kinds_and_shapes_of_the_three_layouts():
    expected = {
        "cifar10dvs": {"q": ("conv1d", 3), "fc1": ("conv1d", 3)},
        "cifar10": {"q": ("linear", 2), "fc1": ("linear", 2)},
        "imagenet": {"q": ("conv1d", 3), "fc1": ("conv2d", 4)},
    }
    for layout, kinds in expected.items():
        model, config = tiny(layout)
        found = {x.name.rpartition(".")[2]: (x.kind, len(x.shape)) for x in layer_table(model, frames_shape(config))}
        assert {name: found[name] for name in kinds} == kinds
        assert found["proj_conv"] == ("conv2d", 4)


@settings(max_examples=12, deadline=None)
@given(
    layout=st.sampled_from(["cifar10dvs", "cifar10", "imagenet"]),
    heads=st.integers(1, 3),
    depth=st.integers(1, 2),
    side=st.integers(3, 20),
    wide=st.integers(3, 20),
    steps=st.integers(1, 3),
)
def test_macs_are_weights_times_positions_per_step(layout, heads, depth, side, wide, steps):
    pooling = (True, False, True, False)
    model, config = tiny(
        layout, heads=heads, dim=8 * heads, depth=depth, image_size=(side, wide), steps=steps, pooling=pooling
    )
    height, width, positions = side, wide, []
    for pool in pooling:
        positions.append(height * width)
        if pool:
            height, width = (height + 1) // 2, (width + 1) // 2
    positions.append(height * width)
    tokenizer = ["proj_conv", "proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv"]
    image = {f"patch_embed.{name}": count for name, count in zip(tokenizer, positions, strict=True)}
    layers = layer_table(model, frames_shape(config))
    assert len(layers) == 6 + 6 * depth
    for layer in layers:
        seen = 1 if layer.name == "head" else image.get(layer.name, height * width)
        assert layer.macs == layer.multiplications == layer.weights * seen
        assert layer.rows == layer.shape[0]


def test_more_time_steps_do_not_change_the_table():
    assert layer_table(*_with_steps(1)) == layer_table(*_with_steps(4))


def _with_steps(steps):
    model, config = tiny(steps=steps, image_size=(32, 32))
    return model, frames_shape(config)


class Strided(nn.Module):
    """A model that is no Spikformer: strided, grouped, called twice, with a layer that is never reached."""

    groups = ((r"^conv", "tokenizer"), (r"^out$", "head"))

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
        self.conv_grouped = nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False)
        self.lif = neuron.LIFNode(step_mode="m")
        self.unused = nn.Linear(3, 3)
        self.out = nn.Linear(4, 3)

    def forward(self, frames):
        x = self.conv(frames.flatten(0, 1))
        x = self.lif(x.unflatten(0, (-1, 1))).flatten(0, 1)
        x = self.conv_grouped(self.conv_grouped(x))
        return self.out(x.mean((0, 2, 3)).unsqueeze(0))


def test_convolutions_count_the_input_image_and_layers_called_twice_count_twice():
    conv, grouped, out = layer_table(Strided(), (5, 2, 8, 6))
    # 4·2·9 weights, 4x3 output positions, 8x6 input positions.
    assert conv == Layer("conv", "tokenizer", "conv2d", (4, 2, 3, 3), 72 * 12, 72 * 48, "counts")
    # Its second call sees real numbers, and the table keeps the widest kind.
    assert grouped == Layer("conv_grouped", "tokenizer", "conv2d", (4, 2, 3, 3), 72 * 24, 72 * 24, "reals")
    assert out == Layer("out", "head", "linear", (3, 4), 12, 12, "reals")


def test_tracing_leaves_the_model_and_the_random_state_alone():
    model, config = tiny()
    model.train()
    model.get_submodule("patch_embed.proj_bn").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    frames = torch.ones(1, *frames_shape(config))
    first = layer_table(model, frames_shape(config))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(frames), model(frames))
    assert layer_table(model, frames_shape(config)) == first


def test_a_layer_without_a_group_is_named():
    class Odd(Strided):
        groups = ((r"^conv", "tokenizer"),)

    with pytest.raises(PlanError, match="layer 'out' belongs to none of the groups"):
        layer_table(Odd(), (1, 2, 8, 6))


def test_group_patterns():
    assert group_of("patch_embed.rpe_conv") == group_of("patch_embed2.proj") == "tokenizer"
    assert group_of("block.0.attn.q") == group_of("stage1.2.attn.head") == "attention"
    assert group_of("block.11.mlp.fc1") == "mlp"
    assert group_of("head") == "head"
    with pytest.raises(PlanError):
        group_of("headless.fc")
