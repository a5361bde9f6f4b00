"""Variation-aware training: the noise of cells on weights and attention, by its equation and by its place alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lively import wake
from torch import nn

from snnq.assessing.variation import Varied
from snnq.base.errors import MachineError, UsageError
from snnq.checkpoints.opening import save_checkpoint
from snnq.finalizing.settings import FinalizeSettings
from snnq.hardware.crossbars.variation import parse_variation
from snnq.models.registry import build
from snnq.packed.coding import Coded
from snnq.training.job import open_job
from snnq.training.quantized import FakeQuantize, quantize_model

CONFIG = {"in_channels": 2, "image_size": [16, 16], "dim": 16, "depth": 1, "heads": 2, "steps": 2, "classes": 4}
FRAMES = torch.poisson(torch.ones(4, 2, 2, 16, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    path = tmp_path_factory.mktemp("varied") / "float.safetensors"
    torch.manual_seed(3)
    model = build("spikformer-cifar10dvs", CONFIG | {"pooling": [False, False, True, True]})
    wake(model, FRAMES)
    save_checkpoint(path, model, architecture="spikformer-cifar10dvs", facts={"data": "random,classes=4,samples=8"})
    return open_job(path, None)


def varied(job, scheme, text, seed=0):
    """Return a quantised model on chips, and what tells it where it is."""
    model = build("spikformer-cifar10dvs", job.checkpoint.config).eval()
    model.load_state_dict(job.model.state_dict())
    quantize_model(model, {one.name: scheme for one in job.layers if one.name != "head"})
    return model, Varied(model, job, parse_variation(text), seed)


def first_of_mlp(model: nn.Module) -> nn.Conv1d:
    layer = model.get_submodule("block.0.mlp.fc1")
    assert isinstance(layer, nn.Conv1d)
    return layer


@pytest.mark.parametrize("scheme", ["uniform-2", "uniform-4", "power-of-two-3", "ternary", "binary"])
def test_noise_of_weights_is_that_of_the_equation(job, scheme):
    """Of levels l in slices of c bits: variance (unit · γσ)² Σ 4^(c s) · (2^c - 1) · l, around the quantised weight."""
    model, on = varied(job, scheme, "write-noise=0.2")
    layer = first_of_mlp(model)
    chain = layer.get_submodule("parametrizations.weight.0")
    assert isinstance(chain, FakeQuantize)
    draws = []
    for place in range(300):
        on.at("step", place)
        draws.append(layer.weight.detach().double().flatten(1))
    latent, params = layer.get_parameter("parametrizations.weight.original"), chain.params()
    exact = chain(latent).detach().double().flatten(1)
    coded = Coded(scheme, chain.scheme.encode(latent, params), chain.scheme.stored(params))
    whole = chain.scheme.whole(coded.stored(), 9)
    assert whole.values * whole.unit[:, None] == pytest.approx(exact.numpy(), rel=1e-5)
    rows = np.abs(whole.values)
    bits = 1 if rows.max() == 1 else 2  # numbers of one bit lie at the outer levels of a cell
    most = 2**bits - 1
    variance = sum(4.0 ** (bits * s) * most * (rows >> bits * s & most) for s in range(8))
    due = (whole.unit[:, None] * 0.2) ** 2 * variance
    found = (torch.stack(draws) - exact).square().mean(0).numpy()
    assert found[due == 0] == pytest.approx(0)
    assert found.sum() == pytest.approx(due.sum(), rel=0.05)


def test_what_is_drawn_follows_from_the_place_alone(job):
    """One place gives one chip, however often it is asked; attention alone has noise where weights lie in SRAM."""
    model, on = varied(job, "uniform-2", "write-noise=0.5,read-noise=0.2,cells=sram,dynamic=rram")
    layer = first_of_mlp(model)
    found = []
    for place in (0, 1, 0):
        on.at("step", place)
        found.append(model(FRAMES).detach())
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    on.at("step", 7)
    weight = layer.weight.detach()
    on.at("step", 8)
    assert torch.equal(weight, layer.weight)
    with_weights, on = varied(job, "uniform-2", "write-noise=0.5")
    on.at("step", 0)
    layer = first_of_mlp(with_weights)
    assert not torch.equal(weight, layer.weight)
    assert layer.weight.requires_grad
    assert with_weights.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("write-nose=0.3", "did you mean 'write-noise'"),
        ("write-noise", "WORD=VALUE"),
        ("write-noise=much", "numbers"),
        ("write-noise=-1", "--write-noise -1"),
        ("on-off=10", "no noise to train with"),
        ("write-noise=0.1,cells=flash", "--cells flash"),
    ],
)
def test_noise_that_cannot_be(text, said):
    with pytest.raises(UsageError, match=said):
        FinalizeSettings(vat=text)
    with pytest.raises(MachineError, match="unknown target"):
        FinalizeSettings(vat="write-noise=0.1,target=nowhere")
