"""Quantised activations: their codes by hand, whole-number products, and their way through checkpoint and plan."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import snnq
from snnq.base.errors import UsageError
from snnq.checkpoints.opening import load_model, open_checkpoint, save_checkpoint
from snnq.cost.energy import branch_costs, layer_energy
from snnq.cost.table import read_table
from snnq.models.registry import build
from snnq.network.layers import Layer
from snnq.plan import Plan
from snnq.schemes.scheme import scheme
from snnq.structure.activations import best_range, levels, quantised, rounded, step_of

DATA = "random,classes=3,samples=8,image_size=32,steps=4"
SIZES: dict[str, Any] = {
    "in_channels": 2, "image_size": [32, 32], "dim": 16, "depth": 10, "heads": 2, "classes": 3, "steps": 4,
    "ann_width": 4, "blocks": 1,
}  # fmt: skip


def linear(bits: int, signed: bool, reach: float = 1.0) -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 2, bias=False))
    quantised(model, {"0": {"bits": bits, "signed": signed}})
    with torch.no_grad():
        model.get_parameter("0.input_range").fill_(math.log(reach))
    return model


def test_codes_by_hand() -> None:
    assert (levels(8, True), levels(8, False), levels(4, True), levels(2, False)) == (
        (-127, 127), (0, 255), (-7, 7), (0, 3),
    )  # fmt: skip
    step = torch.tensor(0.5)
    given = torch.tensor([-9.0, -0.8, 0.2, 0.3, 0.76, 1.0, 9.0])
    assert rounded(given, step, 4, True).tolist() == [-7, -2, 0, 1, 2, 2, 7]
    assert rounded(given, step, 2, False).tolist() == [0, 0, 0, 1, 2, 2, 3]


def test_gradients_pass_within_the_range_and_widen_it_beyond() -> None:
    model = linear(2, False, reach=3.0)  # codes 0 … 3 of step 1
    given = torch.tensor([[-1.0, 1.4, 7.0]], requires_grad=True)
    weight: Any = model.get_parameter("0.weight")
    with torch.no_grad():
        weight.fill_(1.0)
    model(given).sum().backward()
    assert given.grad is not None
    assert given.grad.tolist() == [[0.0, 2.0, 0.0]]
    # ∂x̂/∂log s = s · (code − x/s) inside and s · n beyond: 1 − 1.4 and 3, for each of two outputs.
    grad = model.get_parameter("0.input_range").grad
    assert grad is not None
    assert float(grad) == pytest.approx(2 * (-0.4 + 3))


def test_with_a_quantised_weight_products_are_of_whole_numbers() -> None:
    """An oracle in numpy: s_x · s_w · Σ codes · (codes − zero point) is what the layer gives."""
    torch.manual_seed(0)
    layer: Any = nn.Conv2d(4, 3, 3, padding=1, bias=False)
    model = quantised(nn.Sequential(layer), {"0": {"bits": 8, "signed": True}})
    form = scheme("uniform-4")
    params = form.fit(layer.weight.detach())
    codes = form.encode(layer.weight.detach(), params)
    with torch.no_grad():
        layer.weight.copy_(form.decode(codes, params).view_as(layer.weight))
        layer.input_range.fill_(0.7)
    x = torch.randn(1, 4, 6, 6)
    step = float(step_of(layer).detach())
    inputs = np.clip(np.rint(x.numpy() / np.float32(step)), -127, 127).astype(np.int64)[0]
    twice = np.rint(2 * params["zero_point"].numpy()).astype(np.int64)  # zero points may be halves
    weights = (2 * codes.numpy().astype(np.int64) - twice).reshape(3, 4, 3, 3)
    padded = np.pad(inputs, ((0, 0), (1, 1), (1, 1)))
    sums = np.array(
        [[[(weights[o] * padded[:, i : i + 3, j : j + 3]).sum() for j in range(6)] for i in range(6)] for o in range(3)]
    )
    due = sums * (params["scale"].numpy().astype(np.float64)[:, :, None] * step / 2)
    np.testing.assert_allclose(model(x).detach().numpy()[0], due, rtol=0, atol=2e-5)


def test_the_best_range_is_better_than_the_largest_value() -> None:
    values = torch.cat([torch.linspace(-1, 1, 2001), torch.tensor([6.0])])
    found = math.exp(best_range(values, 4, True))
    errors = [
        float((rounded(values, torch.tensor(reach / 7), 4, True) * reach / 7 - values).square().mean())
        for reach in (found, 6.0)
    ]
    assert errors[0] < errors[1]
    assert best_range(torch.zeros(5), 8, False) == 0.0


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"1": {"bits": 8, "signed": True}}, "'1', whose activations are quantised, is no layer"),
        ({"0": {"bits": 9, "signed": True}}, "cannot have 9 bits"),
        ({"0": {"bits": True, "signed": True}}, "cannot have True bits"),
        ({"0": {"bits": 8, "signed": 1}}, "signed 1"),
    ],
)
def test_edits_that_cannot_be(layers: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        quantised(nn.Sequential(nn.Linear(2, 2)), layers)
    assert said in caught.value.message


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a hybrid model and one whose activations are quantised."""
    place = tmp_path_factory.mktemp("activations")
    torch.manual_seed(0)
    model = build("respike-concat", SIZES)
    save_checkpoint(place / "float.safetensors", model, architecture="respike-concat", facts={"data": DATA})
    words: Any = {"bits": 4, "samples": 4, "progress": snnq.silent}
    snnq.quantise_activations(place / "float.safetensors", out=place / "four.safetensors", **words)
    return place


def test_a_written_checkpoint_opens_as_what_it_was(folder: Path) -> None:
    opened = open_checkpoint(folder / "four.safetensors")
    layers = opened.config["structure"][0]["layers"]
    assert "snn.layer1.0.conv1" not in layers
    assert layers["ann.layer2.0.conv1"] == {"bits": 4, "signed": False}  # behind a ReLU
    assert layers["snn.conv1"] == {"bits": 4, "signed": True}  # residual frames
    model, before = load_model(opened), load_model(open_checkpoint(folder / "float.safetensors"))
    frames = torch.rand(2, 4, 2, 32, 32)
    with torch.no_grad():
        assert not torch.equal(model(frames), before(frames))
        seen: list[torch.Tensor] = []
        model.get_submodule("ann.layer1").register_forward_hook(lambda *_: None)
        model.get_submodule("ann.layer2.0.conv1").register_forward_hook(lambda _, given, __: seen.append(given[0]))
        model(frames)
    assert len(torch.unique(seen[0])) <= 16


def test_a_plan_says_so_and_comes_back_as_it_was(folder: Path) -> None:
    plan = snnq.uniform_plan("uniform-4", checkpoint=folder / "four.safetensors")
    plan.write(folder / "plan.json")
    again = Plan.read(folder / "plan.json")
    assert again.to_dict() == plan.to_dict()
    bits = {layer.name: layer.input_bits for layer in again.layers}
    assert (bits["ann.conv1"], bits["snn.layer1.0.conv1"]) == (4, None)
    written = {one["name"]: one for one in plan.to_dict()["layers"]}
    assert "input_bits" not in written["snn.layer1.0.conv1"]
    whole = plan.totals
    parts = [getattr(whole, f"{branch}_energy_pj") for branch in ("ann", "snn", "fusion")]
    head = next(layer.energy_pj for layer in again.layers if layer.name == "head")
    assert sum(parts) + head == pytest.approx(whole.energy_pj)
    assert parts[2] == 0


def test_models_and_layers_without_activations_are_refused(folder: Path, tmp_path: Path) -> None:
    words: Any = {"out": tmp_path / "x.safetensors", "progress": snnq.silent}
    with pytest.raises(UsageError, match="every part of this model spikes"):
        snnq.quantise_activations("digits", data="digits,limit=20", **words)
    with pytest.raises(UsageError, match=r"snn\.layer1\.0\.conv1 is given spikes, no activations"):
        snnq.quantise_activations(folder / "float.safetensors", layers="snn.layer1.*", **words)
    assert not list(tmp_path.iterdir())


def test_prices_by_hand() -> None:
    """Of 100 products: float32 4.6 pJ, whole numbers 0.3 pJ, a shift 0.124 pJ; weights: 20 pJ a bit."""
    table = read_table("horowitz-45nm")
    real = Layer("ann.a", "ann", "linear", (5, 2), 100, 100, "activations")
    whole = Layer("ann.a", "ann", "linear", (5, 2), 100, 100, "activations", 8)
    spiking = Layer("snn.a", "snn", "linear", (5, 2), 100, 100, "spikes")
    for layer, name, due in (
        (real, "float32", 460.0),
        (real, "uniform-4", 460.0),  # a real number times a stored one: a float32 product
        (whole, "uniform-4", 30.0),
        (whole, "power-of-two-4", 12.4),
        (whole, "float32", 460.0),
        (spiking, "uniform-4", 30.0),
    ):
        found = layer_energy(layer, name, table)
        assert found.compute_pj == pytest.approx(due), (layer, name)
        assert found.memory_pj == 10 * scheme(name).bits * 20
    assert branch_costs(real, "uniform-4", table) == {
        "ann_energy_pj": 460.0 + 800.0, "snn_energy_pj": 0.0, "fusion_energy_pj": 0.0,
    }  # fmt: skip
    head = Layer("head", "head", "linear", (5, 2), 10, 10, "activations")
    assert set(branch_costs(head, "uniform-4", table).values()) == {0.0}
    assert branch_costs(Layer("a", "mlp", "linear", (5, 2), 10, 10, "spikes"), "uniform-4", table) == {}
