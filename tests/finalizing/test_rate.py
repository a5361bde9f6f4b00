"""Finetuning for few coded bits: the price in the loss, budgets that are kept, and the same bytes when cut off."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_checkpoints import save_tiny
from torch import nn

import snnq
from snnq.base.errors import BudgetError, InterruptedRun, OutputExistsError, PlanError, UsageError
from snnq.cost.quantities import EVENT_ENERGY
from snnq.finalizing.aiming import aim_of
from snnq.finalizing.budget import limits_of, parse_budget
from snnq.finalizing.encoding import encode_model
from snnq.finalizing.run import finalize
from snnq.finalizing.settings import FinalizeSettings
from snnq.finalizing.trimming import trim
from snnq.packed.numbers import coded_bits
from snnq.plan import Plan
from snnq.reporting.run import report
from snnq.schemes.rated import entropy
from snnq.schemes.scheme import scheme
from snnq.searching.uniform import uniform_plan
from snnq.training.code_bits import code_bits, layer_bits
from snnq.training.quantized import parameter_groups, quantize_model, quantized_layers
from snnq.training.rate import MEASURINGS, Aim, Coder, Rate

SHORT = FinalizeSettings(epochs=2, batch_size=8)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rate")
    checkpoint = save_tiny(folder)
    uniform_plan("uniform-4@1", checkpoint=checkpoint).with_schemes({"head": "uniform-4"}).write(folder / "rated.json")
    uniform_plan("uniform-3", checkpoint=checkpoint).write(folder / "plain.json")
    return folder


def rated_layer(rate: float = 1.0, coder: Coder | None = None) -> tuple[nn.Module, Rate]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32))
    name = f"uniform-4@{rate:g}"
    model = quantize_model(model, {"0": name}, lambda _, weight: scheme(name).fit(weight))
    return model, Rate(model, Aim({"0": scheme(name)}, weights=2048, target=rate * 2048, coder=coder))


def weight_of(model: nn.Module) -> torch.Tensor:
    """The weight of its only layer, as it is quantised."""
    layer = model.get_submodule("0")
    assert isinstance(layer, nn.Linear)
    return layer.weight


def test_the_loss_pays_for_the_lengths_of_codes():
    model, rate = rated_layer()
    _, chain, latent = rate.layers[0]
    with torch.no_grad():
        latent.copy_(weight_of(model))  # on levels, the length between two codes is that of one
    smooth, bits = layer_bits(chain, latent)
    assert smooth.item() == pytest.approx(bits.item(), rel=0.01)
    # Towards the more frequent level, which is zero, a weight becomes cheaper.
    with torch.no_grad():
        latent.copy_(weight_of(model) * 0.9 + 0.3 * torch.sign(latent) * chain.params()["scale"])
    smooth, _ = layer_bits(chain, latent)
    smooth.backward()
    apart = latent.abs() > 0.3 * chain.params()["scale"]
    assert latent.grad is not None
    assert bool((latent.grad * torch.sign(latent))[apart].min() >= 0)


def bits_and_gradients(layers, bits_of):
    learned = [part for _, chain, latent in layers for part in (latent, first_shift(chain))]
    for part in learned:
        part.grad = None
    total, each = bits_of()
    total.backward()
    return total.detach(), each, [part.grad for part in learned]


def first_shift(chain):
    return chain.get_parameter(f"{chain.scheme.parameters[0]}_shift")


@pytest.mark.parametrize(
    "names", [("uniform-4@1", "uniform-4@0.4", "uniform-3@1.5"), ("power-of-two-4@1", "ternary@0.9")]
)
def test_all_layers_at_once_take_what_each_takes_alone(names):
    torch.manual_seed(1)
    model = nn.Sequential(*(nn.Linear(24 + 8 * i, 16) for i in range(2 * len(names))))
    schemes = {str(i): names[i % len(names)] for i in range(2 * len(names))}
    quantize_model(model, schemes, lambda name, weight: scheme(schemes[name]).fit(weight))
    layers = list(quantized_layers(model))
    with torch.no_grad():
        for _, chain, latent in layers:
            first_shift(chain).normal_(0, 0.1)
            latent[0, :2] = torch.tensor([900.0, -900.0])  # clipped

    def one_by_one():
        parts = [layer_bits(chain, latent) for _, chain, latent in layers]
        return torch.stack([part for part, _ in parts]).sum(), torch.stack([part for _, part in parts])

    found, wanted = bits_and_gradients(layers, lambda: code_bits(layers)), bits_and_gradients(layers, one_by_one)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert all(part is not None and part[0, 0] == 0 for part in found[2][::2])  # nothing pulls at a clipped weight


def test_a_weight_that_is_not_finite_is_in_the_loss():
    _, rate = rated_layer()
    with torch.no_grad():
        rate.layers[0][2][3, 3] = math.nan
    assert rate.loss(0.5)[0].isnan()


def test_rated_scales_learn_faster_and_zero_points_stay():
    model, _ = rated_layer()
    groups: list[dict[str, Any]] = parameter_groups(model, 0.01)
    assert [group.get("pace", 1) for group in groups] == [1, 1, 10]
    assert sum(one.requires_grad for one in groups[2]["params"]) == 1


@pytest.mark.parametrize("share", [0.999, 0.8, 0.4])
def test_trimming_keeps_a_budget_and_little_more(share):
    model, rate = rated_layer()
    before = weight_of(model).detach().clone()
    bits = math.fsum(rate.bits().values())
    rate.target = share * bits
    found = trim(rate)
    after = math.fsum(rate.bits().values())
    assert found > 0
    assert share * bits * 0.95 <= after <= share * bits
    assert entropy(encode_model(model, {"0": "uniform-4@1"})["0"].codes.long()) * 2048 == pytest.approx(after, abs=12)
    # (A weight midway between two levels is counted as either.) What was exchanged became smaller, or at most as large.
    assert bool((weight_of(model).abs() <= before.abs() + 1e-6).all())


def test_trimming_keeps_what_the_coder_takes():
    model, rate = rated_layer(coder=coded_bits)
    own = {"0": "uniform-4@1"}
    before = weight_of(model).detach().clone()
    rate.target = 0.9 * rate.total()
    assert trim(rate) > 0
    assert 0.995 * rate.target <= rate.total() <= rate.target
    assert bool((weight_of(model).abs() <= before.abs() + 1e-6).all())
    assert rate.total() == coded_bits(encode_model(model, own)["0"].codes.numpy(), 1)


def test_the_price_follows_what_the_coder_takes_and_asks_it_seldom():
    asked = []

    def half(codes, taps):
        asked.append(codes.shape)
        return 512.0

    _, rate = rated_layer(coder=half)
    _, bits = rate.loss(0.0)
    assert rate.gain.item() == pytest.approx(512 / (2048 * bits.item()))
    first = rate.steered()  # at half of its target the price falls
    for step in range(1, 100):
        rate.loss(step / 100)
    assert rate.steered() < first
    assert asked == [(32, 64)] * MEASURINGS


def test_nothing_is_trimmed_below_a_budget():
    _, rate = rated_layer()
    rate.target = rate.total()
    assert trim(rate) == 0


def test_the_rates_of_a_plan_are_kept_and_the_plan_says_what_became_of_them(place):
    found = finalize(place / "rated.json", settings=SHORT, out=place / "rated", measure=4)
    plan = Plan.read(place / "rated" / "plan.json")
    mine = [layer for layer in plan.layers if layer.name != "head"]
    weights = sum(math.prod(layer.shape) for layer in mine)
    assert 0.7 * weights <= sum(layer.bits for layer in mine) <= weights * 1.0001
    assert plan.schemes()["head"] == "uniform-4"
    assert len({layer.scheme for layer in mine}) > 3  # the bits have found their own layers
    snnq.verify(place / "rated")
    history = found.results.made()["history"]
    assert all(0 < line["coded_bits"] < 1.5 and line["price"] > 0 for line in history)


def test_layers_that_are_held_to_their_rates_move_no_bits_between_them(place):
    """Neither while they are trained nor when, after one epoch, most is trimmed in the end."""
    asked = Plan.read(place / "rated.json").with_schemes({"block.0.attn.q": "uniform-4@1.5"})
    asked.write(place / "held.json")
    settings = replace(SHORT, epochs=1, hold_rates=True)
    finalize(place / "held.json", settings=settings, out=place / "held", measure=0)
    found = Plan.read(place / "held" / "plan.json").schemes()
    for name, due in asked.schemes().items():
        rate, taken = scheme(due).rate, scheme(found[name]).rate
        assert (rate is None) == (taken is None), name
        assert rate is None or taken is None or 0.5 * rate < taken <= rate * 1.0001, name
    said = report(place / "held")
    assert any(line.startswith("snnq finalize") and " --hold-rates " in line for line in said.commands)
    assert any("The plan that was asked for makes this model again" in note for note in said.notes)


def test_a_budget_trains_any_plan(place):
    limits = parse_budget(["avg-bits=1.5"])
    finalize(place / "plain.json", settings=FinalizeSettings(epochs=1, batch_size=8, budget=limits), out=place / "kept")
    plan = Plan.read(place / "kept" / "plan.json")
    assert plan.totals.avg_bits <= 1.5
    assert all(layer.scheme.startswith("uniform-3@") for layer in plan.layers)


def test_a_budget_above_two_bits_begins_with_grids_as_fine(place):
    plan = uniform_plan("uniform-4", checkpoint=place / "tiny.safetensors")
    words = FinalizeSettings(budget={"avg_bits": 3.0})
    aim = aim_of(plan, words, len)
    weight = torch.randn(64, 64)
    params = aim.begin("head", weight)
    assert params is not None
    taken = coded_bits(scheme("uniform-4").encode(weight, params).numpy(), 1) / weight.numel()
    assert 2.9 < taken < 3.5


def test_a_file_keeps_its_size(place):
    limits = parse_budget(["file-kib=2.5"])
    settings = FinalizeSettings(epochs=1, batch_size=8, budget=limits)
    finalize(place / "plain.json", settings=settings, out=place / "small")
    assert 0.9 * 2.5 * 1024 < (place / "small" / "model.safetensors").stat().st_size <= 2.5 * 1024
    with pytest.raises(BudgetError, match="more than it allows"):
        finalize(
            place / "plain.json", settings=replace(settings, budget={"file_kib": 0.3}), out=place / "none", force=True
        )


def test_a_price_trains_any_plan_too(place):
    settings = FinalizeSettings(epochs=1, batch_size=8, rate=3.0)
    finalize(place / "plain.json", settings=settings, out=place / "priced")
    assert Plan.read(place / "priced" / "plan.json").totals.avg_bits < 2.2


@pytest.mark.slow
def test_cut_off_it_gives_the_same_bytes(place, tmp_path):
    def progress(stage, done, total, /, **facts):
        if stage == "finetuning" and done == 9:
            raise InterruptedRun("here", "go on")

    whole = finalize(place / "rated.json", settings=SHORT, out=tmp_path / "whole")
    with pytest.raises(InterruptedRun):
        finalize(place / "rated.json", settings=SHORT, out=tmp_path / "cut", progress=progress)
    cut = finalize(place / "rated.json", settings=SHORT, out=tmp_path / "cut")
    for name in ("model.safetensors", "plan.json"):
        assert (whole.folder / name).read_bytes() == (cut.folder / name).read_bytes(), name


def test_what_cannot_be_kept_is_refused_before_training(place, tmp_path):
    plan = Plan.read(place / "plain.json")
    floats = plan.with_schemes(dict.fromkeys(plan.schemes(), "float32"))
    with pytest.raises(PlanError, match="no rate to train"):
        aim_of(floats, FinalizeSettings(rate=0.2), len)
    one = next(iter(plan.schemes()))
    heavy = plan.with_schemes({name: "float32" for name in plan.schemes() if name != one})
    with pytest.raises(BudgetError, match="bits a weight more than it allows"):
        aim_of(heavy, FinalizeSettings(budget={"avg_bits": 1.0}), len)
    with pytest.raises(UsageError, match="give one of them"):
        FinalizeSettings(rate=0.2, budget={"avg_bits": 1.0})
    with pytest.raises(UsageError, match="--hold-rates keeps the rates of the plan"):
        FinalizeSettings(rate=0.2, hold_rates=True)
    with pytest.raises(PlanError, match="--hold-rates: no layer's scheme names a rate"):
        aim_of(plan, FinalizeSettings(hold_rates=True), len)
    rated = plan.with_schemes(dict.fromkeys(plan.schemes(), "uniform-4@0.5"))
    assert [aim_of(rated, FinalizeSettings(hold_rates=held), len).each for held in (False, True)] == [False, True]
    with pytest.raises(UsageError, match="must be a positive price"):
        FinalizeSettings(rate=-1.0)


@pytest.mark.parametrize("word", ["avg-bits", "avg-bits=", "avg-bits=-1", "avg-bits=nan", "avg-bit=1", "energy=3"])
def test_budgets_that_are_none(word):
    with pytest.raises(UsageError, match="--budget"):
        parse_budget([word])


def test_event_energy_is_kept_by_rates(place):
    limits = parse_budget(["event-energy=5%"])
    settings = FinalizeSettings(epochs=1, batch_size=8, budget=limits)
    finalize(place / "plain.json", settings=settings, out=place / "events", measure=4)
    assert finalize(place / "plain.json", settings=settings, out=place / "events").folder == place / "events"
    with pytest.raises(OutputExistsError, match="firing rates of 4 validation samples"):
        finalize(place / "plain.json", settings=settings, out=place / "events", measure=3)
    plan = Plan.read(place / "events" / "plan.json")
    assert 0.04 < getattr(plan.totals, EVENT_ENERGY.fraction) <= 0.05
    assert all(scheme(layer.scheme).rate is not None for layer in plan.layers)
    assert "The budget of" in report(place / "events").event_energy.sentence
    with pytest.raises(BudgetError, match="no codes keep an event energy of"):
        limits_of(plan, {EVENT_ENERGY.fraction: 1e-3}, plan.schemes())


def test_budgets_as_they_are_typed():
    assert parse_budget(["event-energy=8%"]) == {EVENT_ENERGY.fraction: pytest.approx(0.08)}
    assert parse_budget(["event-energy-nj=7"]) == {EVENT_ENERGY.key: 7000.0}
    with pytest.raises(UsageError, match="such as event-energy=8%"):
        parse_budget(["event-energy=8"])
    assert parse_budget(["avg-bits=1.5,file-kib=36"]) == {"avg_bits": 1.5, "file_kib": 36.0}
    with pytest.raises(UsageError, match="twice"):
        parse_budget(["avg-bits=1", "avg_bits=2"])
