"""The model against golden logits of upstream's own code, and its neuron against the formula of docs/method.md §1."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from spikformer_weights import fill_model, make_frames
from spikingjelly.activation_based import neuron

from snnq.models.neurons import lif
from snnq.models.registry import ARCHITECTURES, build
from snnq.models.spikformer.graph import spikformer_graph
from snnq.models.spikformer.module import Spikformer, SpikformerTokenizer
from snnq.models.spikformer.sizes import LAYOUTS, SpikformerConfig

# Written by running upstream's own three files (ZK-Zhou/spikformer) on the weights and frames of spikformer_weights.
GOLDEN = json.loads((Path(__file__).parent / "golden" / "upstream_logits.json").read_text())
LAYOUT_NAMES = st.sampled_from(LAYOUTS)


def tiny(layout: str, **changes: Any) -> SpikformerConfig:
    sizes: dict[str, Any] = {"dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 3, "image_size": (16, 16)}
    return SpikformerConfig.published(layout, **sizes | changes)


def golden_run(case: dict[str, Any], **changes: Any) -> torch.Tensor:
    config = SpikformerConfig.from_dict({"layout": case["layout"], **case["changes"], **changes})
    model = fill_model(Spikformer(config).eval(), case["seed"])
    frames = make_frames(config, case["samples"], case["seed"])
    if case["static"]:
        frames = frames[:, :1].expand_as(frames)
    with torch.no_grad():
        return model(frames)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["layout"])
def test_logits_equal_upstreams(case: dict[str, Any]) -> None:
    torch.testing.assert_close(golden_run(case), torch.tensor(case["logits"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["layout"])
@pytest.mark.parametrize("change", [{"attention_scale": 1.0}, {"heads": 2}, {"steps": 3}])
def test_golden_logits_depend_on_what_shapes_cannot_show(case: dict[str, Any], change: dict[str, Any]) -> None:
    assert not torch.allclose(golden_run(case, **change), torch.tensor(case["logits"]), rtol=0, atol=0.05)


def oracle_lif(x: np.ndarray, threshold: float) -> np.ndarray:
    """docs/method.md §1, one neuron at a time, in float32."""
    spikes = np.zeros_like(x)
    for neuron_index in np.ndindex(x.shape[1:]):
        v = np.float32(0)
        for t in range(x.shape[0]):
            h = v + (x[(t, *neuron_index)] - v) / np.float32(2)
            spikes[(t, *neuron_index)] = s = np.float32(h >= np.float32(threshold))
            v = h * (np.float32(1) - s)
    return spikes


@pytest.mark.parametrize(
    ("threshold", "currents", "spikes"),
    [
        (1.0, [2.0, 1.0, 1.0, 1.5, 0.0, 4.0], [1, 0, 0, 1, 0, 1]),  # h: 1, .5, .75, 1.125, 0, 2
        (1.0, [1.5, 1.25, -1.0, 2.0], [0, 1, 0, 0]),  # h: .75, 1, -.5, .75
        (0.5, [1.0, 0.5, 0.75, 0.0], [1, 0, 1, 0]),  # h: .5, .25, .5, 0
    ],
)
def test_neuron_by_hand(threshold: float, currents: list[float], spikes: list[int]) -> None:
    assert lif(threshold)(torch.tensor(currents).unsqueeze(1)).squeeze(1).tolist() == spikes


SMALL = st.floats(-4, 4, width=32, allow_nan=False, allow_subnormal=False)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5), elements=SMALL))
def test_neuron_equals_the_oracle(x: np.ndarray) -> None:
    for threshold in (1.0, 0.5):
        spikes = lif(threshold)(torch.from_numpy(x)).numpy()
        np.testing.assert_array_equal(spikes, oracle_lif(x, threshold))


def test_neuron_gradient_by_hand() -> None:
    # ds/dh = 4·σ(1 − σ) at 4(h − 1); reset detached: dv/dh = 1 − s. x = (1, 2): h = (0.5, 1.25), s = (0, 1).
    x = torch.tensor([[1.0], [2.0]], requires_grad=True)
    lif()(x).sum().backward()
    first, second = (4 * s * (1 - s) for s in (1 / (1 + np.exp(2.0)), 1 / (1 + np.exp(-1.0))))
    expected = torch.tensor([[0.5 * first + 0.5 * 0.5 * second], [0.5 * second]], dtype=torch.float32)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_reach_every_parameter(layout: str) -> None:
    config = tiny(layout, image_size=(48, 48), dim=32)
    model = fill_model(Spikformer(config), 3).train()
    model(make_frames(config, 4, 3)).square().sum().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert [name for name, grad in grads.items() if grad is None] == []
    assert [n for n, g in grads.items() if n.endswith("weight") and g is not None and not g.abs().sum() > 0] == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_call_starts_at_rest_and_the_model_can_be_copied_after_a_step(layout: str) -> None:
    config = tiny(layout)
    model, frames = fill_model(Spikformer(config), 5).eval(), make_frames(config, 2, 5)
    first = model(frames)
    first.sum().backward()
    assert torch.equal(model(frames), first)
    assert torch.equal(copy.deepcopy(model)(frames), first)
    assert torch.equal(model(frames[1:]), first[1:])  # another batch size, and samples do not mix


def test_a_call_that_was_interrupted_leaves_nothing_behind() -> None:
    config = tiny("cifar10dvs")
    model, frames = fill_model(Spikformer(config), 5).eval(), make_frames(config, 2, 5)
    first = model(frames)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    hook = model.get_submodule("patch_embed.rpe_lif").register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        model(frames + 1)
    hook.remove()
    assert torch.equal(model(frames), first)


@settings(max_examples=12, deadline=None)
@given(
    layout=LAYOUT_NAMES,
    height=st.integers(9, 33),
    width=st.integers(9, 33),
    pooling=st.tuples(*[st.booleans()] * 4),
    steps=st.integers(1, 3),
)
def test_any_size_gives_the_tokens_the_config_says(
    layout: str, height: int, width: int, pooling: tuple[bool, bool, bool, bool], steps: int
) -> None:
    config = tiny(layout, image_size=(height, width), pooling=pooling, steps=steps, dim=8)
    tokens = SpikformerTokenizer(config.in_channels, config.dim, config.pooling)(
        make_frames(config, 1, 0).transpose(0, 1)
    )
    assert tokens.shape == (steps, 1, 8, *config.grid)
    assert Spikformer(config)(make_frames(config, 1, 0)).shape == (1, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_neurons_hand_on_only_spikes(layout: str) -> None:
    config = tiny(layout)
    model, seen = fill_model(Spikformer(config), 7).eval(), []
    for module in model.modules():
        if isinstance(module, neuron.LIFNode):
            module.register_forward_hook(lambda _module, _args, output: seen.append(output.unique().tolist()))
    model(make_frames(config, 1, 7))
    assert len(seen) == 5 + 7  # tokenizer, then q k v attn proj fc1 fc2
    assert all(set(values) <= {0.0, 1.0} for values in seen)


@pytest.mark.parametrize(("layout", "parameters"), [("cifar10dvs", 2_566_666), ("cifar10", 9_324_730)])
def test_published_sizes(layout: str, parameters: int) -> None:
    # Upstream's 2 585 610 and 9 330 874 less its unused pos_embed and layer norms.
    model = build(f"spikformer-{layout}", {})
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_norms_name_what_follows_each_layer() -> None:
    config = tiny("cifar10dvs", depth=2)
    model = build("spikformer-cifar10dvs", config.to_dict())
    pairs = spikformer_graph(config).norms
    assert pairs == ARCHITECTURES["spikformer-cifar10dvs"].wiring(config.to_dict()).norms
    assert len(pairs) == 5 + 2 * 6
    for layer, norm in pairs.items():
        assert (
            model.get_submodule(layer).get_parameter("weight").shape[0]
            == model.get_parameter(f"{norm}.weight").shape[0]
        )
