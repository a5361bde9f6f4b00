"""Finetuning that begins with reconstructed codes: its first model is the packed one, its plan must be the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_checkpoints import save_tiny

import snnq
from snnq.base.errors import PlanError
from snnq.checkpoints.opening import load_model, open_checkpoint
from snnq.finalizing.encoding import encode_model
from snnq.finalizing.run import finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.finalizing.starting import begin_from
from snnq.packed.coding import read_layer
from snnq.packed.config import read_config
from snnq.packed.opening import open_tensors
from snnq.plan import Plan
from snnq.reconstructing.run import ptq as run_ptq
from snnq.reconstructing.settings import PtqSettings
from snnq.reporting.run import report
from snnq.schemes.scheme import scheme
from snnq.searching.uniform import uniform_plan
from snnq.training.quantized import quantize_model

DATA = "random,classes=4,samples=32"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    place = tmp_path_factory.mktemp("start")
    save_tiny(place, "float.safetensors", DATA, awake=True, steps=3, classes=4)
    plan = uniform_plan("uniform-2", checkpoint=place / "float.safetensors")
    plan.with_schemes({"block.0.attn.q": "power-of-two-2", "head": "float32"}).write(place / "plan.json")
    settings = PtqSettings(method="tesseraq", samples=16, batch_size=8, steps=1, rounding_rate=0.1, batchnorm="off")
    run_ptq(plan=place / "plan.json", settings=settings, out=place / "ptq", data=DATA)
    return place


def begun(start, folder="ptq"):
    plan = Plan.read(start / "plan.json")
    model = quantize_model(load_model(open_checkpoint(start / "float.safetensors")), plan.schemes())
    return begin_from(model, start / folder, plan), plan


def test_it_begins_with_the_very_codes(start):
    model, plan = begun(start)
    config = read_config(start / "ptq")
    file = open_tensors(start / "ptq", config)
    for name, one in encode_model(model, plan.schemes()).items():
        stored = read_layer(name, config.layers[name], file)
        assert np.array_equal(one.codes.numpy(), stored.codes), name
        assert int(one.codes.max()) <= 3
        # Packing left one scale to all channels; here each has its own again, near the float weights.
        form = scheme(one.scheme)
        assert len(form.factor(one.params).unique()) > 1
        floating = load_model(open_checkpoint(start / "float.safetensors")).get_parameter(f"{name}.weight").flatten(1)
        level = form.decode(one.codes, one.params)
        nearest = (floating * level).sum(1) / level.square().sum(1)
        if form.family == "uniform":
            torch.testing.assert_close(nearest, torch.ones_like(nearest), rtol=1e-4, atol=1e-4)
        else:
            assert bool(((nearest > 0.7) & (nearest < 1.5)).all())


def test_in_evaluation_mode_it_is_the_packed_model(start):
    model, _ = begun(start)
    frames = torch.poisson(torch.rand(6, 3, 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 2)
    with torch.no_grad():
        found = model.eval()(frames)
    torch.testing.assert_close(found, snnq.load_packed(start / "ptq", "float")(frames), rtol=1e-4, atol=1e-4)
    # Finetuning moves what stays in float32, too: the head, and its bias.
    finalize(start / "plan.json", data=DATA, settings=FinalizeSettings(epochs=1, batch_size=8), out=start / "tuned")
    with torch.no_grad():
        again = begun(start, "tuned")[0].eval()(frames)
    assert float(found.abs().max()) > 0.05 < float((again - found).abs().max())
    torch.testing.assert_close(again, snnq.load_packed(start / "tuned", "float")(frames), rtol=1e-4, atol=1e-4)


def test_weights_whose_code_is_the_nearest_stay_as_they_were(start):
    model, _ = begun(start)
    floating = load_model(open_checkpoint(start / "float.safetensors"))
    changed = []
    for name, one in encode_model(begun(start)[0], Plan.read(start / "plan.json").schemes()).items():
        latent, weight = (
            model.get_parameter(f"{name}.parametrizations.weight.original"),
            floating.get_parameter(f"{name}.weight"),
        )
        nearest = scheme(one.scheme).encode(weight, one.params) == one.codes
        assert torch.equal(latent.flatten(1) == weight.flatten(1), nearest)
        changed.append(float((~nearest).float().mean()))
    assert 0 < sum(changed) / len(changed) < 0.5


def test_finalize_takes_it_and_refuses_another_plan(start):
    settings = FinalizeSettings(epochs=1, batch_size=8)
    one = finalize(
        start / "plan.json",
        data="random,classes=4,samples=32",
        start=start / "ptq",
        out=start / "one",
        settings=settings,
    )
    other = finalize(start / "plan.json", data="random,classes=4,samples=32", out=start / "other", settings=settings)
    assert one.results.fingerprint != other.results.fingerprint
    said, sha256 = report(start / "one"), read_config(start / "ptq").sha256["model.safetensors"]
    assert any(f"--start {start / 'ptq'} " in line for line in said.commands)
    assert any(f"Finetuning began with {start / 'ptq'} ({sha256})" in note for note in said.notes)
    assert not any("--start" in line for line in report(start / "other").commands)
    Plan.read(start / "plan.json").with_schemes({"head": "uniform-4"}).write(start / "changed.json")
    with pytest.raises(PlanError, match=r"layer head: float32 in .*ptq, uniform-4 in the plan"):
        finalize(start / "changed.json", data="random,classes=4,samples=32", start=start / "ptq", out=start / "third")


def test_rates_may_differ_where_grids_are_the_same(start, caplog):
    plan = uniform_plan("uniform-3@1.5", checkpoint=start / "float.safetensors")
    plan.write(start / "rated.json")
    settings = PtqSettings(samples=16, batch_size=8, batchnorm="off")
    run_ptq(plan=start / "rated.json", settings=settings, out=start / "few", data="random,classes=4,samples=32")
    came_to = {layer.scheme for layer in read_config(start / "few").layers.values()}
    assert came_to != {"uniform-3@1.5"}
    assert "bits a weight, the plan asks for 1.5: no rate was trained" in caplog.text
    model = quantize_model(load_model(open_checkpoint(start / "float.safetensors")), plan.schemes())
    begin_from(model, start / "few", plan)
    file = open_tensors(start / "few", read_config(start / "few"))
    for name, one in encode_model(model, plan.schemes()).items():
        assert np.array_equal(one.codes.numpy(), read_layer(name, read_config(start / "few").layers[name], file).codes)
