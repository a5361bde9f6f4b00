"""QKFormer and Max-Former against logits of upstream's own code; their tables, norms, sizes and parts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikformer_weights import fill_model, make_frames
from torch import nn

from snnq.base.errors import UsageError
from snnq.models.registry import architecture
from snnq.models.staged.maxformer import DepthwiseMixer
from snnq.models.staged.qkformer import TokenAttention
from snnq.models.staged.sizes import LAYOUTS, StagedConfig
from snnq.network.layers import Layer, layer_table
from snnq.network.wiring import Wiring

# Written by running upstream's own files (zhouchenlin2096/QKFormer, bic-L/MaxFormer, with spikingjelly 0.0.0.0.12) on
# the weights and frames of spikformer_weights, heads and numbers of blocks in the code set to the case's, one sample at
# a time: QKFormer's logits depend on the batch. Its case of 64x80 pixels has its reshape (…, W, H) set to (…, H, W).
FOLDER = Path(__file__).parent / "golden"
GOLDEN = [
    case for name in ("qkformer", "maxformer") for case in json.loads((FOLDER / f"{name}_logits.json").read_text())
]
SMALL: dict[str, Any] = {"dim": 32, "depth": 4, "heads": 2, "steps": 2, "classes": 3, "image_size": [16, 16]}


def named(case: dict[str, Any]) -> str:
    return f"{case['architecture']}-{case['seed']}"


def made(case: dict[str, Any]) -> tuple[nn.Module, torch.Tensor]:
    one = architecture(case["architecture"])
    model = fill_model(one.build(case["changes"]).eval(), case["seed"])
    return model, make_frames(one.config(case["changes"]), case["samples"], case["seed"])


@pytest.mark.parametrize("case", GOLDEN, ids=named)
def test_logits_equal_upstreams(case: dict[str, Any]) -> None:
    model, frames = made(case)
    with torch.no_grad():
        torch.testing.assert_close(model(frames), torch.tensor(case["logits"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", GOLDEN, ids=named)
def test_the_logits_hang_on_every_mixer_and_on_no_other_sample(case: dict[str, Any]) -> None:
    model, frames = made(case)
    with torch.no_grad():
        logits = model(frames)
        torch.testing.assert_close(torch.cat([model(one[None]) for one in frames]), logits, rtol=0, atol=1e-6)
        mixers = [name for name in model.state_dict() if re.search(r"\.(q_conv|mixer\.conv5?)\.weight$", name)]
        config: Any = model.config
        assert len(mixers) == config.depth - (case["architecture"] == "maxformer-cifar10")
        for name in mixers:
            weight = model.get_parameter(name)
            weight.mul_(-1)
            assert not torch.allclose(model(frames), logits, atol=1e-3), name
            weight.mul_(-1)


@pytest.mark.parametrize(
    ("name", "changes", "parameters"),
    [  # what upstream's training logs and tables say
        ("qkformer-dvs", {}, 1_504_138),
        ("qkformer-cifar10", {}, 6_706_234),
        ("qkformer-cifar10", {"classes": 100}, 6_740_884),
        ("qkformer-imagenet", {"dim": 768}, 64_962_760),
        ("maxformer-imagenet", {"dim": 768}, 63_992_200),
    ],
)
def test_published_models_have_as_many_parameters_as_upstreams(
    name: str, changes: dict[str, Any], parameters: int
) -> None:
    with torch.device("meta"):
        model = architecture(name).build(changes)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    config: Any = model.config
    assert config.heads == {768: 12, 384: 8, 256: 16}[config.dim]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layer_has_a_group_a_kind_of_input_and_a_norm(name: str) -> None:
    one = architecture(name)
    config, model = one.config(SMALL), one.build(SMALL)
    assert StagedConfig.from_dict(config.to_dict()) == config
    table = layer_table(model, config.frames_shape)
    kinds = {layer.name: layer.input for layer in table}
    assert list(kinds.values()).count("counts") == 1
    assert kinds.pop(table[0].name) == "counts"
    assert kinds.pop("head") == "reals"
    sums = {"spikes", "integers"} if name.startswith("qkformer") else {"spikes"}
    sums |= {"reals"} if name == "maxformer-spikingjelly" else set()  # its q, k and v see potentials
    assert set(kinds.values()) == sums
    assert {layer.group for layer in table} == {"tokenizer", "attention", "mlp", "head"}
    wiring = one.wiring(SMALL)
    assert isinstance(wiring, Wiring)
    assert bool(wiring.raising) == (name == "maxformer-spikingjelly")  # whose attention adds spikes to potentials
    norms = [key for key, module in model.named_modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert sorted(wiring.norms.values()) == sorted(norms)
    assert {layer.name for layer in table} == {*wiring.norms, "head"}


def test_a_depth_wise_convolution_counts_every_feature_once() -> None:
    config = architecture("maxformer-cifar10").config(SMALL)
    table = {x.name: x for x in layer_table(architecture("maxformer-cifar10").build(SMALL), config.frames_shape)}
    name = "stage2.0.mixer.conv"
    # 16 features of 3x3 weights on an 8x8 grid, not 16·16·9 weights.
    assert table[name] == Layer(name, "attention", "conv2d", (16, 1, 3, 3), 144 * 64, 144 * 64, "spikes")
    assert table[name].weights == 144


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 5, 7]))
def test_depth_wise_convolution_against_numpy(seed: int, kernel: int) -> None:
    mixer = fill_model(DepthwiseMixer(3, kernel, "conv"), seed).eval()
    potential = torch.from_numpy(np.random.default_rng(seed).normal(2.0, 2.0, (1, 1, 3, 4, 5)).astype(np.float32))
    spikes = (potential[0, 0] / 2 >= 1).numpy()  # a neuron at rest: h = x/2
    state, edge = {key: value.double().numpy() for key, value in mixer.state_dict().items()}, kernel // 2
    padded = np.pad(spikes.astype(float), ((0, 0), (edge, edge), (edge, edge)))
    found = np.array(
        [
            [[(padded[c, i : i + kernel, j : j + kernel] * state["conv.weight"][c, 0]).sum() for j in range(5)]
             for i in range(4)]
            for c in range(3)
        ]
    )  # fmt: skip
    each = (3, 1, 1)
    found = found + state["conv.bias"].reshape(each) - state["conv_bn.running_mean"].reshape(each)
    found = found * (state["conv_bn.weight"] / np.sqrt(state["conv_bn.running_var"] + 1e-5)).reshape(each)
    with torch.no_grad():
        ours = mixer(potential)[0, 0]
    np.testing.assert_allclose(ours.numpy(), found + state["conv_bn.bias"].reshape(each), rtol=1e-4, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.permutations(range(6)))
def test_token_attention_looks_at_each_token_alone(seed: int, order: list[int]) -> None:
    attention = fill_model(TokenAttention(8, 2), seed).eval()
    tokens = torch.poisson(torch.full((1, 2, 8, 1, 6), 1.0), generator=torch.Generator().manual_seed(seed))
    moved = fill_model(TokenAttention(8, 2), seed).eval()
    with torch.no_grad():
        assert torch.equal(moved(tokens[..., order]), attention(tokens)[..., order])


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("qkformer-dvs", {"depth": 1}, "depth: found 1, qkformer-dvs has at least 2 blocks, 1 and then one or more"),
        ("maxformer-imagenet", {"depth": 3}, "at least 4 blocks, 1, 2 and then one or more in its 3 stages"),
        ("qkformer-cifar10", {"heads": 16}, "heads: found 16, it must divide the 8 features"),
        ("qkformer-cifar10", {"mlp_ratio": 0.1}, "mlp_ratio: found 0.1, the first stage's 8 x mlp_ratio is below 1"),
        ("maxformer-event", {"dim": 8}, "at least 16"),
        ("maxformer-event", {"pooling": [True] * 4}, "unknown key 'pooling'"),
        ("qkformer-dvs", {"layout": "qkformer-dv"}, "it must be 'qkformer-dvs'"),
    ],
)
def test_impossible_sizes_are_named(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        architecture(name).config(SMALL | changes)


def test_inner_widths_round_down_as_upstreams() -> None:
    config = StagedConfig.from_dict({"layout": "qkformer-cifar10", "dim": 384, "mlp_ratio": 1036 / 384})
    assert [config.hidden(width) for width in config.widths] == [int(width * 2.7) for width in (96, 192, 384)]
