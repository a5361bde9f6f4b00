"""The stages of a model: which layer, norm and neuron belong together, and which feeds which."""

from __future__ import annotations

import pytest
import torch
from lively import write_lively
from packed_samples import make_sample
from small_architectures import small
from torch import Tensor, nn

from snnq.exporting.source import read_source
from snnq.network.folding import ChannelAffine
from snnq.network.tracing import trace


def stages_of(layout, tmp_path):
    source = read_source(make_sample(layout).write(tmp_path / "packed"))
    return source, {stage.name: stage for stage in trace(source.model, source.norms, source.frames_shape)}


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet"])
def test_every_layer_has_its_norm_and_neuron(layout, tmp_path):
    source, stages = stages_of(layout, tmp_path)
    assert [stage.layer for stage in stages.values() if stage.layer] == [layer.name for layer in source.layers]
    for name, norm in source.norms.items():
        assert (stages[name].norm, stages[name].neuron) == (norm, norm.replace("_bn", "_lif"))
    assert (stages["head"].norm, stages["head"].neuron) == (None, None)
    assert stages["block.0.attn.attn_lif"].layer is None


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet"])
def test_spikes_that_go_straight_on(layout, tmp_path):
    source, stages = stages_of(layout, tmp_path)
    fed = {name: stage.source for name, stage in stages.items() if stage.source}
    expected = {"block.0.attn.proj": "block.0.attn.attn_lif", "block.0.mlp.fc2": "block.0.mlp.fc1"}
    names = ["", "1", "2", "3"]
    convs = [f"patch_embed.proj_conv{suffix}" for suffix in names] + ["patch_embed.rpe_conv"]
    joined = zip(convs, convs[1:], source.config.config["pooling"], strict=False)
    expected |= {after: before for before, after, pooled in joined if not pooled}
    assert fed == expected


def test_shapes_are_those_of_one_step_of_one_sample(tmp_path):
    _, stages = stages_of("cifar10", tmp_path)
    assert stages["patch_embed.proj_conv"].input_shape == (3, 16, 16)
    assert stages["block.0.attn.q"].input_shape == (16, 16)
    assert stages["head"].input_shape == (16,)
    assert stages["head"].output_shape == (3,)


def test_norms_behind_a_norm_belong_to_the_layer(tmp_path):
    """RepConv's last layer has a norm of its own, and that of the block behind it; each is of one layer."""
    one, sizes = small("sdt-v2-imagenet-repconv")
    write_lively(tmp_path / "packed", ["uniform-4"], one, **sizes)
    source = read_source(tmp_path / "packed")
    stages = trace(source.model, source.norms, source.frames_shape)
    query = next(stage for stage in stages if stage.layer == "block4.0.attn.q_conv.body.2.1")
    assert (query.outer, query.neuron) == (("block4.0.attn.q_bn",), "block4.0.attn.q_lif")
    norms = [norm for stage in stages for norm in (stage.norm, *stage.outer) if norm]
    assert len(norms) == len(set(norms))


class Between(nn.Module):
    """A linear layer of 4 tokens and 4 features, and a norm behind it; what is between is ``how``'s."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.linear, self.norm = how, nn.Linear(4, 4), ChannelAffine(torch.arange(4.0), torch.zeros(4))

    def forward(self, frames: Tensor) -> Tensor:
        """Return (1, 4) of frames (1, 1, 1, 4, 4)."""
        x = self.linear(frames[0, :, 0])
        if self.how == "written into":
            x = x.transpose(1, 2)
            x += 1
        turned = {"by features": x.transpose(1, 2), "tokens as samples": x.flatten(0, 1)}
        return self.norm(turned.get(self.how, x)).reshape(1, 4, 4)[:, 0]


@pytest.mark.parametrize(
    ("how", "outer"),
    [
        ("by features", ("norm",)),
        ("tokens as samples", ("norm",)),
        ("by tokens", ()),  # a norm of as many tokens as there are features
        ("written into", ()),
    ],
)
def test_a_norm_of_other_numbers_than_the_layers_is_not_the_layers(how, outer):
    (stage,) = trace(Between(how), {}, (1, 1, 4, 4))
    assert (stage.layer, stage.outer) == ("linear", outer)
