"""Free channels are found by running a model: in MLPs and between tokenizer convolutions, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from snnq.models.registry import ARCHITECTURES, architecture, build
from snnq.network.layers import frames_shape
from snnq.network.readers import chains

SMALL: dict[str, Any] = {"in_channels": 2, "dim": 32, "depth": 1, "heads": 2, "steps": 2, "classes": 3}


def found_in(name: str, sizes: dict[str, Any]) -> dict[str, str]:
    found = chains(build(name, sizes), architecture(name).wiring(sizes).norms, frames_shape(sizes))
    for one in found:
        assert one.norm == architecture(name).wiring(sizes).norms[one.layer]
    return {one.layer: one.reader for one in found}


def test_a_spikformer() -> None:
    sizes = {**SMALL, "image_size": [16, 16], "pooling": [False, False, True, True]}
    assert found_in("spikformer-cifar10dvs", sizes) == {
        "patch_embed.proj_conv": "patch_embed.proj_conv1",
        "patch_embed.proj_conv1": "patch_embed.proj_conv2",
        "patch_embed.proj_conv2": "patch_embed.proj_conv3",
        "block.0.mlp.fc1": "block.0.mlp.fc2",
    }


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name in ("sdt-static", "spikingformer-cifar10")])
def test_residual_potentials_are_no_free_channels(name: str) -> None:
    """Only what lies inside an MLP and between convolutions is free; what is added to a residual never is."""
    sizes = {**SMALL, "image_size": [16, 16], "pooling": [False, False, True, True]}
    found = found_in(name, sizes)
    assert any(".mlp." in layer for layer in found)
    assert not {layer for layer in found if ".fc2" in layer or "rpe" in layer}
    assert not any(".attn." in layer for layer in found)


class Leaky(nn.Module):
    """Its hidden spikes go to a layer, and (``leak``) past it, too, or (``turned``) with their channels exchanged."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.one, self.two = (neuron.LIFNode(step_mode="m", detach_reset=True) for _ in range(2))

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.transpose(0, 1).flatten(2)
        spikes = self.one(self.first(x))
        seen = spikes.flip(-1) if self.how == "turned" else spikes
        y = self.second(seen)
        y = self.two(y + spikes if self.how == "leak" else y)
        return self.head(y.mean(0))


@pytest.mark.parametrize(("how", "free"), [("plain", True), ("leak", False), ("turned", False)])
def test_a_leak_is_seen(how: str, free: bool) -> None:
    torch.manual_seed(0)
    model = Leaky(how)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = [(one.layer, one.neuron, one.reader) for one in chains(model, {}, (2, 1, 2, 2))]
    assert (("first", "one", "second") in found) is free
    # A mean over time leaves channels what they are; a sum before the neuron has two writers.
    assert (("second", "two", "head") in found) is (how != "leak")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training


def test_a_sum_before_a_neuron_has_two_writers() -> None:
    """A residual potential: no single layer's channel makes the neuron fire, and so none may be taken for dead."""

    class Summed(Leaky):
        def forward(self, frames: Tensor) -> Tensor:
            x = frames.transpose(0, 1).flatten(2)
            potential = self.first(x)
            spikes = self.one(potential)
            return self.head(self.two(self.second(spikes) + potential).mean(0))

    torch.manual_seed(0)
    assert chains(Summed("plain"), {}, (2, 1, 2, 2)) == ()
