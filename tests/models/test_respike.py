"""ReSpike: the released code's logits, and what makes it ReSpike and no other hybrid."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from snnq.assessing.watching import watching
from snnq.base.errors import UsageError
from snnq.checkpoints.keymaps import every_keys
from snnq.models.registry import architecture, build
from snnq.models.respike.module import ReSpike, segments
from snnq.network.layers import layer_table

SIZES: dict[str, Any] = {
    "in_channels": 1, "image_size": [32, 32], "dim": 32, "depth": 10, "heads": 2, "classes": 3, "steps": 8,
    "ann_width": 4, "blocks": 1,
}  # fmt: skip
# Of GinnyXiao/ReSpike's CrossAttenFusion(resnet18, key_frame_stride=2), without and with --downsample, on the weights
# and clips of ``value`` and ``CLIPS``; torch 2.13.0, spikingjelly 2.
CLIPS = np.random.default_rng(0).uniform(-1, 1, (2, 4, 3, 32, 32)).astype(np.float32)
RELEASED = {
    "respike-cross": [[0.89563215, 0.35853079, 0.82249939], [0.68152612, 0.43080702, 0.87765592]],
    "respike-pooled": [[1.85875106, 0.77757591, -0.18407083], [1.51164842, 0.82632983, -0.29352695]],
}


def value(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a tensor of upstream's name, the same on every machine."""
    draw = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return draw.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) == 1:
        return (draw.uniform(-0.2, 0.2, shape) + (1 if name.endswith("weight") else 0)).astype(np.float32)
    return draw.uniform(-1, 1, shape).astype(np.float32) * np.float32((2 / int(np.prod(shape[1:]))) ** 0.5)


def small(name: str, seed: int = 0, **sizes: Any) -> ReSpike:
    torch.manual_seed(seed)
    model: Any = build(name, SIZES | sizes)
    for norm in (one for one in model.modules() if isinstance(one, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 1.0, 2.0)  # so that neurons fire
    return model.eval()


def clips(count: int = 2, steps: int = 8, seed: int = 0) -> Tensor:
    return torch.rand(count, steps, 1, 32, 32, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_code_gives_the_same_logits(name: str) -> None:
    keys = next(one for one in every_keys() if name in one.architectures)
    model = build(name, {"steps": 4, "key_stride": 2, "image_size": [32, 32], "classes": 3})
    state = {
        ours: torch.from_numpy(np.asarray(value(keys.upstream_name(ours), tuple(one.shape))))
        for ours, one in model.state_dict().items()
    }
    model.load_state_dict(state)
    with torch.no_grad():
        found = model.eval()(torch.from_numpy(CLIPS))
    torch.testing.assert_close(found, torch.tensor(RELEASED[name]), rtol=0, atol=1e-5)


def test_a_residual_frame_is_a_frame_minus_the_key_frame_of_its_segment() -> None:
    frames = torch.tensor([5.0, 7.0, 4.0, 100.0, 90.0, 130.0]).view(1, 6, 1, 1, 1)
    key, moving = segments(frames, 3)
    assert key.flatten().tolist() == [5, 100]
    # (S − 1, segments): not the difference to the frame before, which were 2, −3 and −10, 40.
    assert moving[:, :, 0, 0, 0].tolist() == [[2, -10], [-1, 30]]


@pytest.mark.parametrize("name", ["respike-cross", "respike-pooled"])
def test_fusion_is_the_identity_at_first_and_learns_from_there(name: str) -> None:
    model = small(name)
    potentials = torch.randn(3, 2, 16, 4, 4)
    block: Any = model.fusion["3"]  # not pooled in either
    assert torch.equal(block(potentials, torch.randn(2, 16, 4, 4)), potentials)
    loss = model.train()(clips()).square().sum()
    loss.backward()
    assert float(block.proj_out.weight.grad.abs().max()) > 0
    assert float(block.ff_out.weight.grad.abs().max()) == 0  # behind a layer of zeros


def test_before_training_cross_attention_computes_what_features_side_by_side_do() -> None:
    cross, concat = small("respike-cross"), small("respike-concat")
    concat.load_state_dict({key: one for key, one in cross.state_dict().items() if not key.startswith("fusion.")})
    with torch.no_grad():
        assert torch.equal(cross(clips()), concat(clips()))


def test_neurons_begin_every_segment_at_rest() -> None:
    model = small("respike-cross", seed=1)
    nn.init.normal_(model.get_parameter("fusion.2.proj_out.weight"), std=0.5)
    one, two = clips(2, 4, 3).double().split(1)
    model = model.double()
    with torch.no_grad():
        both, ones, twos = (model(torch.cat(parts, 1)) for parts in ((one, two), (one, one), (two, two)))
        turned = model(torch.cat((two, one), 1))
    assert not torch.allclose(ones, twos)
    torch.testing.assert_close(both, (ones + twos) / 2, rtol=0, atol=1e-12)
    torch.testing.assert_close(both, turned, rtol=0, atol=1e-12)


def test_the_spiking_branch_of_dense_frames_keeps_its_potentials_through_the_clip() -> None:
    model = small("respike-dense").double()
    one, two = clips(2, 4, 3).double().split(1)
    with torch.no_grad():
        assert not torch.allclose(model(torch.cat((one, two), 1)), model(torch.cat((two, one), 1)), atol=1e-9)


def test_multiply_accumulates_by_hand() -> None:
    """Two segments of four frames: the ResNet runs twice, the spiking one six times, keys and values twice."""
    model = small("respike-cross")
    layers = {one.name: one for one in layer_table(model, (8, 1, 32, 32), reals=True)}
    found = {name: one.macs * 8 for name, one in layers.items()}  # per step, rounded up
    assert found["ann.conv1"] == 2 * 4 * 49 * 16 * 16
    assert found["snn.conv1"] == 6 * 4 * 9 * 16 * 16
    assert found["snn.layer1.0.conv1"] == 6 * 4 * 4 * 9 * 8 * 8
    assert found["fusion.2.attn1.to_k"] == 6 * 8 * 8 * 16
    assert found["fusion.2.attn2.to_k"] == 2 * 8 * 8 * 16
    assert found["fusion.2.attn2.to_q"] == 6 * 8 * 8 * 16
    assert layers["head"].macs == 3 * (32 + 32)
    kinds = {name: one.input for name, one in layers.items()}
    assert {kinds[name] for name in kinds if name.startswith(("ann", "fusion", "head"))} == {"activations"}
    assert kinds["snn.conv1"] == kinds["snn.layer2.0.shortcut_conv"] == "activations"
    assert kinds["snn.layer2.0.conv1"] == kinds["snn.layer2.0.conv2"] == "spikes"


def test_watched_runs_are_those_of_the_spiking_resnet() -> None:
    model = small("respike-cross")
    layers = layer_table(model, (8, 1, 32, 32), reals=True)
    products = architecture("respike-cross").products_of(model.config)
    with torch.no_grad(), watching(model, layers, products, 8) as watch:
        model(clips(1))
        watch.close()
    seen = {one.name: one for one in watch.layer_activities()}
    neurons = {one.name: one for one in watch.neuron_activities()}
    assert (len(seen["ann.conv1"].nonzero), seen["ann.conv1"].inputs) == (2, 32 * 32)
    assert (len(seen["snn.layer1.0.conv2"].nonzero), seen["snn.layer1.0.conv2"].inputs) == (6, 4 * 8 * 8)
    assert (neurons["snn.layer1.0.lif1"].neurons, neurons["snn.layer1.0.lif1"].updates) == (4 * 16 * 16, 6 * 1024)
    assert neurons["snn.layer1.0.lif1"].updates_each == 6
    (first, *_) = watch.attention_activities()
    # 16 tokens, one head of 8 features: 16 · 16 · 8 products twice, in each of six runs.
    assert (first.name, first.first, first.second) == ("fusion.2.attn1", (2048.0,) * 6, (2048.0,) * 6)
    assert products[0].multiplications == 2 * 2048


@pytest.mark.parametrize(
    ("name", "sizes", "said"),
    [
        ("respike-cross", {"key_stride": 3}, "it must divide the 8 frames evenly: 2, 4, 8"),
        ("respike-cross", {"key_stride": 1}, "it must divide"),
        ("respike-dense", {"key_stride": 4}, "respike-dense has no key frames"),
        ("respike-cross", {"depth": 12}, "it is the layers of the key frames' ResNet: 10, 18, 34, 50"),
        ("respike-cross", {"dim": 36, "heads": 2}, "it must be a multiple of 8"),
        ("respike-pooled", {"image_size": [40, 40]}, "respike-pooled takes multiples of 16 pixels"),
        ("respike-cross", {"heads": [1, 2]}, "it must be one number"),
    ],
)
def test_sizes_that_cannot_be(name: str, sizes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(name, SIZES | sizes)
    assert said in caught.value.message
