"""Short parameters: the same products of scale and multiplier, the same codes, fewer bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_samples import make_sample

from snnq.models.registry import architecture
from snnq.packed.verification import verify
from snnq.packing.shortening import OFFSET, SIGNIFICANT, shortened, significant, stepped
from snnq.schemes.scheme import scheme


def test_rounding_by_hand() -> None:
    # 8 significant bits: of 1 … 2 multiples of 1/128, of 256 … 512 of 2.
    found = significant(torch.tensor([1.0, 1.003, 1.004, -1.01, 257.5, 0.0, 2**-140]))
    assert found.tolist() == [1.0, 1.0, 1 + 1 / 128, -1 - 1 / 128, 258.0, 0.0, 2**-140]
    # The largest, 3, has 10 bits: steps of 1/256.
    assert stepped(torch.tensor([3.0, 0.001, 0.003, -0.5])).tolist() == [3.0, 0.0, 1 / 256, -0.5]
    assert stepped(torch.zeros(3)).tolist() == [0.0] * 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32, min_value=-(2.0**99), max_value=2.0**99), min_size=1, max_size=20))
def test_rounding_is_near_and_stays(values: list[float]) -> None:
    given_values = torch.tensor(values)
    found, steps = significant(given_values), stepped(given_values)
    normal = given_values.abs() >= torch.finfo(torch.float32).tiny * 2**SIGNIFICANT
    far = (found.double() - given_values.double()).abs() / given_values.double().abs()
    assert bool((far[normal] <= 2.0**-SIGNIFICANT).all())
    assert torch.equal(significant(found), found)
    largest = float(given_values.abs().max())
    if largest > 1e-30:
        assert float((steps.double() - given_values.double()).abs().max()) <= largest * 2.0**-OFFSET
    assert torch.equal(stepped(steps), steps) or float(steps.abs().max()) > largest


@pytest.mark.parametrize("layout", ["cifar10dvs", "qkformer-dvs"])
def test_products_and_codes_stay(layout: str) -> None:
    sample = make_sample(layout)
    norms = architecture(sample.plan.model.architecture).wiring(sample.plan.model.config).norms
    before = {name: value.clone() for name, value in sample.model.state_dict().items()}
    model, coded = shortened(sample.model, sample.layers, norms)
    assert all(torch.equal(value, before[name]) for name, value in sample.model.state_dict().items())
    for name, one in coded.items():
        form, old = scheme(one.scheme), sample.layers[name]
        assert torch.equal(one.codes, old.codes)
        weight = model.get_submodule(name).get_parameter("weight").flatten(1)
        assert torch.equal(weight, form.decode(one.codes, one.params))
        if name not in norms:
            torch.testing.assert_close(weight, before[f"{name}.weight"].flatten(1), rtol=2.0**-SIGNIFICANT, atol=0)
            continue
        factor = form.factor(one.params)
        assert len(factor.unique()) == 1
        assert float(torch.frexp(factor[0]).mantissa) == 0.5
        found = model.get_submodule(norms[name]).get_buffer("multiplier")[:, None] * weight
        due = before[f"{norms[name]}.multiplier"][:, None] * before[f"{name}.weight"].flatten(1)
        torch.testing.assert_close(found, due, rtol=2.0**-SIGNIFICANT, atol=1e-12)
    for name, norm in norms.items():
        if name not in coded:  # float32 layers, and what follows them
            for key in ("multiplier", "offset"):
                assert torch.equal(model.get_submodule(norm).get_buffer(key), before[f"{norm}.{key}"])


def test_again_changes_nothing_and_files_are_shorter(tmp_path: Path) -> None:
    sample = make_sample()
    norms = architecture(sample.plan.model.architecture).wiring(sample.plan.model.config).norms
    model, coded = shortened(sample.model, sample.layers, norms)
    again = shortened(model, coded, norms)[0].state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    long, short = sample.write(tmp_path / "long"), sample.write(tmp_path / "short", model=model, layers=coded)
    sizes = [verify(folder).sizes for folder in (long, short)]
    assert sizes[1].scales < sizes[0].scales / 4
    assert sizes[1].batchnorm < sizes[0].batchnorm * 0.6
    assert sizes[1].weights == sizes[0].weights


def test_a_channel_that_overflows_keeps_its_scale() -> None:
    sample = make_sample(schemes=("uniform-2",))
    norms = architecture(sample.plan.model.architecture).wiring(sample.plan.model.config).norms
    name = "block.0.attn.q"
    norm = sample.model.get_submodule(norms[name])
    norm.get_buffer("multiplier")[0] = 3e38
    sample.layers[name].params["scale"][0] *= 2**20
    model, coded = shortened(sample.model, sample.layers, norms)
    assert bool(model.get_submodule(norms[name]).get_buffer("multiplier").isfinite().all())
    assert len(coded[name].params["scale"].unique()) > 1
