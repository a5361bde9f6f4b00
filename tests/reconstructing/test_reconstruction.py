"""The engine: what it promises of every block, whatever the scheme, the target and the memory."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from sifted import slow_but
from spikingjelly.activation_based import functional
from tiny_models import CONFIG, tiny_of

from snnq.network.replay import Ran
from snnq.reconstructing.layers import BETA, WARM_UP, push
from snnq.reconstructing.norms import ChannelMoments, matched, moments, output_moments
from snnq.reconstructing.sides import BlockTarget, block_loss, normalised, store
from snnq.schemes.scheme import scheme, scheme_names
from snnq.training.loop import Position

NAMES = scheme_names()

MIXED = ("uniform-4", "power-of-two-2", "uniform-2", "float32", "power-of-two-4", "uniform-3", "power-of-two-8")


def logits(model, frames):
    functional.reset_net(model)
    with torch.no_grad():
        return model(frames)


def same_codes(one, other):
    mine, theirs = one.coded(), other.coded()
    assert mine.keys() == theirs.keys()
    return all(
        torch.equal(mine[name].codes, theirs[name].codes)
        and all(torch.equal(value, theirs[name].params[key]) for key, value in mine[name].params.items())
        for name in mine
    )


_METHODS = "quantease", "adaround", "tesseraq"
_SCHEMES = "uniform-2", "power-of-two-3", "binary", "uniform-5", "power-of-two-2", "power-of-two-8", "ternary"
_QUICK = {("quantease", "power-of-two-3"), ("adaround", "uniform-2"), ("tesseraq", "binary")}


@pytest.mark.parametrize(
    ("method", "name"),
    slow_but(_QUICK, itertools.product(_METHODS, _SCHEMES)),
)
def test_a_blocks_loss_never_rises(tiny, method, name):
    _, facts = tiny.run(name, method=method, steps=2, rounding_rate=0.1, scale_rate=0.02)
    assert all(one["loss"] <= one["loss_nearest"] for one in facts)
    assert any(one["loss"] < one["loss_nearest"] for one in facts)


@pytest.mark.parametrize("method", ["rtn", "clip", "awq"])
@pytest.mark.parametrize("name", ["uniform-2", "power-of-two-3"])
def test_without_reconstruction_weights_go_to_the_nearest_level(tiny, name, method):
    made, _ = tiny.run(name, method=method)
    for path, coded in made.coded().items():
        weight = tiny.model.get_parameter(f"{path}.weight").detach()
        assert torch.equal(coded.codes, scheme(name).encode(weight, coded.params))


@pytest.mark.parametrize("start", ["rtn", "clip", "awq"])
def test_coordinate_descent_on_any_grids(tiny, start):
    descended, facts = tiny.run("uniform-2", method="quantease", start=start)
    nearest, _ = tiny.run("uniform-2", method=start)
    assert any(layer["flipped"] > 0 for one in facts for layer in one["layers"].values())
    first = next(iter(nearest.coded()))  # what comes later sees other inputs
    ours, theirs = descended.coded()[first].params, nearest.coded()[first].params
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_no_steps_are_taken_where_nothing_is_learned(tiny):
    assert tiny.start("uniform-2", method="awq").order(0) == []
    assert tiny.start("float32").order(0) == []
    assert len(tiny.start("uniform-2", steps=3).order(0)) == 30


@pytest.mark.parametrize("norms", ["kept", "matched", "live"])
def test_what_was_reconstructed_is_what_the_codes_give(tiny, norms):
    schemes = dict(zip(tiny.groups, MIXED * 3, strict=False))
    made, _ = tiny.run(schemes, rounding_rate=0.1, scale_rate=0.05, offsets=True, norms=norms)
    model = made.apply(copy.deepcopy(tiny.model))
    for path, name in schemes.items():
        weight = model.get_parameter(f"{path}.weight")
        if name == "float32":
            assert torch.equal(weight, tiny.model.get_parameter(f"{path}.weight"))
            continue
        coded = made.coded()[path]
        assert coded.scheme == name
        assert torch.equal(weight.flatten(1), scheme(name).decode(coded.codes, coded.params))
        if "power" in name:
            exponents = coded.params["log2_scale"]
            assert torch.equal(exponents, exponents.round())
    # The engine's own quantised model, which every later block was given, is this one.
    made.side.kept = None  # from the frames
    theirs = made.side.run(made.layout.blocks[-1], 0).output
    torch.testing.assert_close(theirs, logits(model, tiny.batches[0]), rtol=1e-5, atol=1e-5)
    assert not torch.equal(theirs, logits(tiny.model, tiny.batches[0]))


def test_the_float_model_stays_as_it_is(tiny):
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    tiny.run("uniform-2", rounding_rate=0.1)
    assert all(torch.equal(value, tiny.model.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize("limit", [pytest.param(0, marks=pytest.mark.slow), 800])
def test_memory_changes_nothing(tiny, limit):
    rich, _ = tiny.run("uniform-2", rounding_rate=0.1)
    poor = tiny.start("uniform-2", rounding_rate=0.1)
    poor.budget.limit = limit
    for number in range(len(poor.layout.blocks)):
        for step, batch in enumerate(poor.order(number)):
            poor.step(Position(number, step, step), batch)
        poor.after_block(number)
    assert same_codes(rich, poor)


@pytest.mark.parametrize(
    "cut", [(2, 7), *(pytest.param(cut, marks=pytest.mark.slow) for cut in ((0, 0), (5, 10), (6, 19)))]
)
def test_a_run_that_was_cut_goes_on_to_the_same_codes(tiny, cut):
    knobs = {"steps": 2, "rounding_rate": 0.1, "scale_rate": 0.02, "offsets": True}
    whole, facts = tiny.run("uniform-2", **knobs)
    first = tiny.start("uniform-2", **knobs)
    state = None
    for number in range(cut[0] + 1):
        for step, batch in enumerate(first.order(number)):
            if (number, step) == cut:
                state = copy.deepcopy(first.state_dict())
            first.step(Position(number, step, step), batch)
        first.after_block(number)
    second, again = tiny.start("uniform-2", **knobs), []
    second.load_state_dict(state)
    for number in range(cut[0], len(second.layout.blocks)):
        for step, batch in enumerate(second.order(number)):
            if (number, step) >= cut:
                second.step(Position(number, step, step), batch)
        again.append(second.after_block(number))
    assert same_codes(whole, second)
    assert again == facts[cut[0] :]


@pytest.mark.parametrize(
    ("arm", "flips", "moves"),
    [
        ({"scales": False}, True, False),
        ({"rounding": False}, False, True),
        ({"rounding": True, "scales": True}, True, True),
    ],
)
def test_each_part_alone(tiny, arm, flips, moves):
    _, facts = tiny.run("uniform-2", rounding_rate=0.2, scale_rate=0.05, norms="kept", **arm)
    layers = [layer for one in facts for layer in one["layers"].values()]
    assert any(layer["flipped"] > 0 for layer in layers) == flips
    assert any(layer["factors"] != [1.0] * 5 for layer in layers) == moves


def test_other_architectures_and_users_models():
    for name in ("sdt-dvs", "spikformer-cifar10"):
        made, facts = tiny_of(name, CONFIG).run("uniform-3", rounding_rate=0.05)
        assert all(one["loss"] <= one["loss_nearest"] for one in facts)
        assert made.coded().keys() == set(tiny_of(name, CONFIG).groups)


def test_norms_are_matched_to_the_float_models_moments(tiny):
    made = tiny.start("uniform-2", method="clip")
    made.after_block(0)
    made._prepare(1)
    made.work.choose_nearest()
    made._match()
    norms = {path: made.side.replay.model.get_submodule(path) for path in made.layout.blocks[1].affines}
    found = output_moments(norms, lambda: made._run_all(made._run))
    for name, one in found.items():
        torch.testing.assert_close(one.mean, made.wanted[name].mean, rtol=1e-3, atol=1e-3)
        # The mean of the batches' variances, not the variance of all.
        torch.testing.assert_close(one.variance, made.wanted[name].variance, rtol=1e-2, atol=1e-3)


def test_a_silent_channel_keeps_its_multiplier():
    from snnq.network.folding import ChannelAffine

    norm = ChannelAffine(torch.tensor([2.0, -3.0]), torch.zeros(2))
    x = torch.stack([torch.full((4, 5), 7.0), torch.arange(20.0).view(4, 5)], 1)
    wanted = {"n": ChannelMoments(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 9.0]))}
    found = matched({"n": norm}, wanted, lambda: norm(x))["n"]
    assert found.multiplier[0] == 2.0
    assert found.multiplier[1] == pytest.approx(-3 / float(torch.arange(20.0).std(correction=0)))
    y = x * found.multiplier.view(-1, 1) + found.offset.view(-1, 1)
    assert moments(y, 1).mean.tolist() == pytest.approx([1.0, 2.0], abs=1e-5)


def test_the_loss_by_hand():
    output, current = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 3.0, 5.0])
    target = BlockTarget(store(output), (store(current),), torch.device("cpu"))
    ran = Ran(torch.tensor([1.0, 2.0]), [torch.tensor([1.0, 3.0, 7.0])])
    assert normalised(ran.output, output).item() == pytest.approx(0.5)
    assert block_loss(ran, target, "output").item() == pytest.approx(0.5)
    assert block_loss(ran, target, "current").item() == pytest.approx((4 / 3) / (8 / 3))
    assert block_loss(ran, target, "both").item() == pytest.approx(1.0)
    bare = BlockTarget(store(output), (), torch.device("cpu"))
    assert all(block_loss(ran, bare, kind).item() == pytest.approx(0.5) for kind in ("output", "current", "both"))


def test_adaround_pushes_the_undecided_first():
    soft = torch.tensor([0.5, 0.9], requires_grad=True)
    assert push(soft, WARM_UP / 2) == 0.0
    pushed = push(soft, WARM_UP)
    assert isinstance(pushed, torch.Tensor)
    (early,) = torch.autograd.grad(pushed, soft)
    assert early[0] == 0
    assert early[1] < 0  # towards 1
    values = [float(push(torch.tensor([0.8]), share)) for share in (0.3, 0.6, 0.99)]
    assert values == sorted(values, reverse=True)
    assert float(push(torch.tensor([0.0, 1.0]), 0.9)) == 0.0
    assert BETA == (20.0, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "float32"])
def test_every_scheme(tiny, name):
    made, facts = tiny.run(name, rounding_rate=0.1)
    assert all(one["loss"] <= one["loss_nearest"] for one in facts)
    model = made.apply(copy.deepcopy(tiny.model))
    assert bool(logits(model, tiny.batches[0]).isfinite().all())
