"""Our form of SpikingJelly 2's own Spikformer against the installed SpikingJelly itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikformer_weights import fill_model, make_frames
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.model.spikformer import Spikformer as Theirs
from spikingjelly.activation_based.model.spikformer import spikformer_cifar10, spikformer_s
from torch import Tensor

from snnq.checkpoints.fused import join
from snnq.checkpoints.keymaps import every_keys
from snnq.models.registry import architecture
from snnq.models.spikformer.sizes import SpikformerConfig

NAMES = next(keys for keys in every_keys() if keys.architecture == "spikformer-spikingjelly")
# Heads so wide that their sums reach the threshold behind the attention, with random weights too.
CASES: list[dict[str, Any]] = [
    {"dim": 64, "depth": 2, "heads": 2, "steps": 4, "classes": 5, "image_size": (32, 32)},
    {"dim": 64, "depth": 1, "heads": 1, "steps": 4, "classes": 4, "image_size": (32, 40), "mlp_ratio": 2.0},
    {"dim": 64, "depth": 1, "heads": 1, "steps": 5, "image_size": (64, 96), "in_channels": 2, "pooling": (True,) * 4},
]


def theirs(config: SpikformerConfig, state: dict[str, Tensor]) -> torch.nn.Module:
    """SpikingJelly's own module with our weights."""
    height, width = config.image_size
    model = Theirs(
        T=config.steps,
        in_channels=config.in_channels,
        img_size_h=height,
        img_size_w=width,
        patch_size=2 ** sum(config.pooling),
        num_classes=config.classes,
        embed_dims=config.dim,
        num_heads=config.heads,
        mlp_ratio=config.mlp_ratio,
        depths=config.depth,
    )
    model.load_state_dict(join(state, {name: NAMES.upstream_name(name) for name in state}), strict=True)
    return model.eval()


@pytest.mark.parametrize("seed", range(len(CASES)))
def test_logits_are_the_mean_of_their_steps(seed: int) -> None:
    config = SpikformerConfig.published("spikingjelly", **CASES[seed])
    model = fill_model(architecture("spikformer-spikingjelly").build(config.to_dict()), seed).eval()
    frames = make_frames(config, 2, seed)
    rates: list[float] = []
    model.get_submodule("block.0.attn.attn_lif").register_forward_hook(
        lambda _module, _args, spikes: rates.append(float(spikes.mean()))
    )
    with torch.no_grad():
        ours, each = model(frames), theirs(config, model.state_dict())(frames.transpose(0, 1))
    assert each.shape == (config.steps, 2, config.classes)
    assert rates[0] > 0.001
    torch.testing.assert_close(ours, each.mean(0), rtol=0, atol=1e-6)
    with torch.no_grad():
        model.get_submodule("block.0.attn.k").get_parameter("weight").neg_()
        assert (model(frames) - ours).abs().max() > 0.001  # the attention does have a say


def test_gradients_are_theirs() -> None:
    config = SpikformerConfig.published("spikingjelly", **CASES[1])
    model = fill_model(architecture("spikformer-spikingjelly").build(config.to_dict()), 1).eval()
    frames, other = make_frames(config, 2, 1), theirs(config, model.state_dict())
    model(frames).square().sum().backward()
    other(frames.transpose(0, 1)).mean(0).square().sum().backward()
    ours = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    for name, grad in join(ours, {name: NAMES.upstream_name(name) for name in ours}).items():
        torch.testing.assert_close(grad, other.get_parameter(name).grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (spikformer_cifar10, {}),
        (spikformer_s, {"depth": 6, "classes": 1000, "image_size": (224, 224), "pooling": (True,) * 4}),
    ],
)
def test_published_sizes_and_neurons_are_theirs(make: Any, changes: dict[str, Any]) -> None:
    with torch.device("meta"):
        ours = architecture("spikformer-spikingjelly").build(
            SpikformerConfig.published("spikingjelly", **changes).to_dict()
        )
        other = make()
    upstream = {NAMES.upstream_name(name) for name in ours.state_dict()}
    assert upstream == other.state_dict().keys()
    assert sum(one.numel() for one in ours.parameters()) == sum(one.numel() for one in other.parameters())
    assert _neurons(ours) == _neurons(other)


def _neurons(model: torch.nn.Module) -> set[tuple[Any, ...]]:
    nodes = [one for one in model.modules() if isinstance(one, neuron.LIFNode)]
    return {(one.tau, one.v_threshold, one.v_reset, one.detach_reset, str(one.surrogate_function)) for one in nodes}
