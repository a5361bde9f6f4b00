"""Folding leaves what every neuron receives unchanged, to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikformer_weights import fill_model, make_frames
from spikingjelly.activation_based import neuron
from torch import nn

from snnq.models.spikformer.graph import spikformer_graph
from snnq.models.spikformer.module import Spikformer
from snnq.models.spikformer.sizes import LAYOUTS, SpikformerConfig
from snnq.network.folding import ChannelAffine, affine_skeleton, fold_batchnorm

SIZES: dict[str, Any] = {"dim": 16, "depth": 2, "heads": 2, "steps": 3, "classes": 3, "image_size": (16, 16)}


def layer_and_norm(bias: bool = True) -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2, bias=bias), nn.BatchNorm1d(2, eps=0.25))
    values = {
        "0.weight": [[1.0, 2.0], [3.0, 4.0]],
        "0.bias": [0.5, -1.0],
        "1.weight": [3.0, 1.0],
        "1.bias": [0.25, -0.5],
        "1.running_mean": [1.5, 2.0],
        "1.running_var": [2.0, 0.75],
    }
    if not bias:
        del values["0.bias"]
    state = {name: torch.tensor(value) for name, value in values.items()}
    model.load_state_dict(state, strict=False)
    return model.eval()


@pytest.mark.parametrize(
    ("bias", "offset"), [(True, [0.25 + (0.5 - 1.5) * 2, -0.5 + (-1 - 2) * 1]), (False, [0.25 - 1.5 * 2, -0.5 - 2])]
)
def test_by_hand(bias: bool, offset: list[float]) -> None:
    folded = fold_batchnorm(layer_and_norm(bias), {"0": "1"})
    affine = folded.get_submodule("1")
    assert isinstance(affine, ChannelAffine)
    assert affine.multiplier.tolist() == [2.0, 1.0]  # 3/√(2 + ¼), 1/√(¾ + ¼)
    assert affine.offset.tolist() == offset
    assert folded.get_submodule("0").bias is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]))
def test_equals_batchnorm_and_the_numpy_oracle(seed: int, dims: int) -> None:
    layer, norm = {
        1: (nn.Linear(3, 4), nn.BatchNorm1d(4)),
        2: (nn.Conv1d(3, 4, 1), nn.BatchNorm1d(4)),
        3: (nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)),
    }[dims]
    model = fill_model(nn.Sequential(layer, norm), seed).eval()
    model.load_state_dict({"1.running_var": torch.rand(4) + 0.5}, strict=False)
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(2, 3, *[5] * (dims - 1))).astype(np.float32))
    folded = fold_batchnorm(model, {"0": "1"})
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=1e-4, atol=1e-5)
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    multiplier = state["1.weight"] / (state["1.running_var"] + 1e-5) ** 0.5
    offset = state["1.bias"] + (state["0.bias"] - state["1.running_mean"]) * multiplier
    np.testing.assert_allclose(folded.get_buffer("1.multiplier").numpy(), multiplier, rtol=1e-6)
    np.testing.assert_allclose(folded.get_buffer("1.offset").numpy(), offset, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_neurons_receive_the_same_currents(layout: str) -> None:
    config = SpikformerConfig.published(layout, **SIZES)
    model = fill_model(Spikformer(config), 11).eval()
    folded = fold_batchnorm(model, spikformer_graph(model.config).norms)
    frames = make_frames(config, 2, 11)
    replayed: dict[str, torch.Tensor] = {}

    def record(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
            replayed[name] = torch.stack((inputs[0], output))

        return hook

    def compare_and_replay(name: str) -> Any:
        # The original's spikes go on, so that a flip at an exact tie does not hide what comes after it.
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor], _output: torch.Tensor) -> torch.Tensor:
            torch.testing.assert_close(inputs[0], replayed[name][0], rtol=0, atol=1e-4)
            return replayed.pop(name)[1]

        return hook

    for name, module in model.named_modules():
        if isinstance(module, neuron.LIFNode):
            module.register_forward_hook(record(name))
            folded.get_submodule(name).register_forward_hook(compare_and_replay(name))
    with torch.no_grad():
        expected = model(frames)
        assert len(replayed) == 5 + 2 * 7
        torch.testing.assert_close(folded(frames), expected, rtol=0, atol=1e-6)
    assert replayed == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_of_the_norms_is_left_and_the_original_is_untouched(layout: str) -> None:
    model = fill_model(Spikformer(SpikformerConfig.published(layout, **SIZES)), 13).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = fold_batchnorm(model, spikformer_graph(model.config).norms)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert [name for name in folded.state_dict() if name.endswith("bias")] == ["head.bias"]
    assert not folded.training
    assert model.training
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_skeleton_takes_a_folded_model(layout: str) -> None:
    config = SpikformerConfig.published(layout, **SIZES)
    model = fill_model(Spikformer(config), 17).eval()
    folded = fold_batchnorm(model, spikformer_graph(model.config).norms)
    fresh = Spikformer(config)
    skeleton = affine_skeleton(fresh, spikformer_graph(fresh.config).norms)
    skeleton.load_state_dict(folded.state_dict(), strict=True)
    frames = make_frames(config, 1, 17)
    with torch.no_grad():
        assert torch.equal(skeleton(frames), folded(frames))
