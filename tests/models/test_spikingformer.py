"""Spikingformer against logits of upstream's own code; what its layers see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from spikformer_weights import fill_model, make_frames
from spikingjelly.activation_based import neuron

from snnq.base.errors import UsageError
from snnq.models.registry import architecture
from snnq.models.spikingformer.sizes import LAYOUTS, SpikingformerConfig
from snnq.network.layers import layer_table

# Written by running upstream's own files (model.py of zhouchenlin2096/Spikingformer in cifar10-dvs, dvs128-gesture,
# cifar10, cifar100 and imagenet, with spikingjelly 0.0.0.0.12) on the weights and frames of spikformer_weights; those
# for images see the first frame in every step. The sizes that the code for events writes out in its tokenizer, 64, 32
# and 16, were replaced by H//2, H//4 and H//8, and nothing else.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "spikingformer_logits.json").read_text())
SMALL: dict[str, Any] = {"dim": 16, "depth": 1, "heads": 2, "steps": 4, "classes": 3, "image_size": [32, 32]}


def made(case: dict[str, Any]) -> tuple[torch.nn.Module, torch.Tensor]:
    one = architecture(case["architecture"])
    frames = make_frames(one.config(case["changes"]), case["samples"], case["seed"])
    if not case["architecture"].endswith("dvs"):
        frames = frames[:, :1].expand_as(frames).contiguous()
    return fill_model(one.build(case["changes"]).eval(), case["seed"]), frames


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['architecture']}-{case['seed']}")
def test_logits_equal_upstreams(case: dict[str, Any]) -> None:
    model, frames = made(case)
    with torch.no_grad():
        logits = model(frames)
        torch.testing.assert_close(logits, torch.tensor(case["logits"]), rtol=0, atol=1e-5)
        model.get_submodule("block.0.attn.q_conv").get_parameter("weight").neg_()
        assert (model(frames) - logits).abs().max() > 0.01  # the attention does have a say


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layer_table(name: str) -> None:
    config: Any = architecture(name).config(SMALL)
    assert SpikingformerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    table = layer_table(architecture(name).build(SMALL), config.frames_shape)
    kinds = {layer.name: layer.input for layer in table}
    first = "block0_conv" if name.endswith("cifar10") else "proj_conv"
    assert kinds.pop(f"patch_embed.{first}") == "counts"
    assert kinds.pop("head") == "reals"
    assert set(kinds.values()) == {"spikes"}
    groups = [layer.group for layer in table]
    assert [groups.count(group) for group in ("tokenizer", "attention", "mlp", "head")] == [5, 4, 2, 1]
    norms = architecture(name).wiring(config.to_dict()).norms
    assert norms.keys() == {layer.name for layer in table} - {"head"}
    names = dict(architecture(name).build(SMALL).named_modules())
    assert set(norms.values()) <= names.keys()


@pytest.mark.parametrize(("name", "tau"), list(zip(LAYOUTS, (1.5, 2.0, 2.0), strict=True)))
def test_neurons_are_upstreams(name: str, tau: float) -> None:
    nodes = {
        key: one for key, one in architecture(name).build(SMALL).named_modules() if isinstance(one, neuron.LIFNode)
    }
    assert len(nodes) == 4 + 5 + 2
    assert {one.tau for one in nodes.values()} == {tau}
    assert {key: one.v_threshold for key, one in nodes.items() if one.v_threshold != 1} == {
        "block.0.attn.attn_lif": 0.5
    }


@pytest.mark.parametrize(
    ("name", "dim", "parameters"),
    [
        ("spikingformer-dvs", 256, 2_568_714),
        ("spikingformer-imagenet", 512, 29_705_768),
        ("spikingformer-imagenet", 768, 66_363_208),
    ],
)
def test_parameters_are_as_many_as_upstreams_logs_say(name: str, dim: int, parameters: int) -> None:
    with torch.device("meta"):
        model = architecture(name).build({"dim": dim})
    unused = 2 * 2 * dim * architecture(name).config({}).depth  # weight and bias of two layer norms a block
    assert sum(one.numel() for one in model.parameters()) + unused == parameters


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layout": "spikingformer-dsv"}, "it must be 'spikingformer-dvs'"),
        ({"heads": 3}, "multiple of heads"),
        ({"pooling": [True, True]}, "four booleans"),
        ({"tau": 2.0}, "unknown key 'tau'"),
    ],
)
def test_impossible_sizes_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        architecture("spikingformer-dvs").config(SMALL | changes)
