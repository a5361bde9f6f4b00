import dataclasses
import json
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from firing import MODELS, firing
from lively import write_lively
from spikingjelly.activation_based import functional, neuron
from torch import nn
from two_layers import Two, data_of, two_steps

import snnq
from snnq.assessing.measure import measure, measure_model
from snnq.base.errors import PlanError, UsageError
from snnq.checkpoints.opening import open_checkpoint
from snnq.cli.main import run
from snnq.cost.events import event_energy
from snnq.cost.table import read_table
from snnq.models.registry import attention_table
from snnq.network.layers import layer_table
from snnq.packed.loading import load_packed
from snnq.plan import Plan
from snnq.schemes.zeros import zero_shares
from snnq.structure.factored import factored


def two_layers(last=3):
    model = Two()
    layers = layer_table(model, (2, 1, 4, 4))
    return layers, measure_model(model, layers, (), data_of(two_steps(last)), "test", 1)


def test_the_two_layers_as_counted_by_hand():
    layers, found = two_layers()
    conv, out = found.layers
    assert (conv.inputs, conv.outputs, conv.largest) == (16, 32, 3.0)
    assert conv.nonzero == (4.0, 1.0)
    assert conv.rates == (0.25, 0.0625)
    assert conv.rate == 0.15625
    # Reach 4, 6, 6 and 9 of the block's pixels, 4 of the corner's, two channels each; 3 has two set bits.
    assert conv.synaptic_operations == (50.0, 8.0)
    assert conv.additions == (50.0, 16.0)
    assert (out.inputs, out.outputs, out.nonzero) == (32, 3, (8.0, 4.0))
    assert out.synaptic_operations == out.additions == (24.0, 12.0)
    (lif,) = found.neurons
    assert (lif.name, lif.neurons, lif.spikes, lif.updates) == ("lif", 32, (8.0, 4.0), 64)
    assert (found.samples, found.steps, found.arithmetic, found.split) == (1, 2, "float", "test")

    events = event_energy(layers, {"conv": "uniform-4", "out": "uniform-2"}, found, (), read_table("horowitz-45nm"))
    conv, out = events.layers
    # 66 additions of 0.1 pJ; one doubling of 32 sums at two steps, 0.13 pJ each; 18 weights of 4 bits at 20 pJ.
    assert (conv.accumulates, conv.shifts, conv.multiplications) == (66.0, 64.0, 0.0)
    assert conv.compute_pj == pytest.approx(6.6 + 8.32)
    assert conv.memory_pj == 1440.0
    assert (out.accumulates, out.shifts) == (36.0, 0.0)
    assert out.energy_pj == pytest.approx(3.6 + 96 * 2 * 20)
    # 64 updates of 2 * 3.7 + 4 * 0.9 pJ.
    assert events.neurons[0].energy_pj == pytest.approx(704.0)
    assert events.total.energy_pj == pytest.approx(6002.52)
    assert events.total.synaptic_operations == 94.0
    assert [part.name for part in events.parts] == ["tokenizer", "head", "neurons"]


def test_weights_that_are_zero_are_told_apart():
    model = Two()
    with torch.no_grad():
        model.conv.weight[1, :, :, :2] = 0.0  # of the second channel, all but the last column
        model.out.weight[0] = 0.0
    layers = layer_table(Two(), (2, 1, 4, 4))
    conv, out = measure_model(model, layers, (), data_of(two_steps(3)), "test", 1).layers
    assert conv.synaptic_operations == (50.0, 8.0)
    # The first channel as before; of the second, a pixel meets the last column where there is an output to its left.
    assert conv.effective_operations == (25.0 + 5.0, 4.0 + 2.0)
    assert conv.effective_additions == (30.0, 12.0)
    assert out.effective_operations == tuple(2 / 3 * one for one in out.synaptic_operations)
    _, whole = two_layers()
    assert all(one.effective_operations == one.synaptic_operations for one in whole.layers)


def test_a_silent_input_does_nothing():
    layers, _ = two_layers()
    found = measure_model(Two(), layers, (), data_of(0 * two_steps(1)), "test", 1)
    events = event_energy(layers, {"conv": "uniform-4", "out": "float32"}, found, (), read_table())
    assert events.total.synaptic_operations == events.total.accumulates == events.total.multiplications == 0
    assert all(one.compute_pj == 0 for one in events.layers)
    assert events.neurons[0].spikes == 0


@pytest.mark.parametrize(("name", "extra"), MODELS)
def test_rates_are_those_of_a_plain_loop(name, extra):
    model, layers, products, data = firing(name, extra)
    found = measure_model(model, layers, products, data, "test", 3)
    # Another way: every layer's inputs and every neuron's outputs of all samples kept, then counted with numpy.
    inputs, outputs, hooks = {}, {}, []
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            hooks.append(
                module.register_forward_pre_hook(lambda _, x, *, path=path: inputs.update({path: x[0].numpy()}))
            )
        if isinstance(module, neuron.BaseNode):
            hooks.append(module.register_forward_hook(lambda *a, path=path: outputs.update({path: a[2].numpy()})))
    with torch.no_grad():
        model(torch.from_numpy(data.test.frames.astype(np.float32)))
    for hook in hooks:
        hook.remove()
    assert {one.name for one in found.layers} == inputs.keys()
    for one in found.layers:
        x = inputs[one.name]
        steps = x.reshape(4 if one.name != "head" else 1, -1)
        assert one.nonzero == pytest.approx([float(np.count_nonzero(step)) / 3 for step in steps])
        assert one.inputs == steps.shape[1] / 3
        assert one.rate == pytest.approx(np.count_nonzero(x) / x.size)
        assert one.rate == pytest.approx(sum(one.rates) / len(one.rates))
        assert one.largest == x.max()
    assert {one.name for one in found.neurons} == outputs.keys()
    for one in found.neurons:
        assert one.spikes == pytest.approx((outputs[one.name].reshape(4, -1).sum(1) / 3).tolist())
    assert [mixed.name for mixed in found.attentions] == [one.name for one in products]
    for mixed, one in zip(found.attentions, products, strict=True):
        assert sum(mixed.first) > 0
        assert 0 < mixed.largest <= one.operand_largest
        if one.order == "gates":  # every spike of Q is added
            assert sum(mixed.first) == pytest.approx(np.count_nonzero(outputs[f"{one.name}.q_lif"]) / 3)
        if "mix" in vars(type(model.get_submodule(one.name))):
            assert "mix" not in vars(model.get_submodule(one.name))


def test_the_model_is_left_as_it_was():
    model, layers, products, data = firing(*MODELS[0])
    attention: Any = model.get_submodule("block.0.attn")
    mix = attention.mix
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    measure_model(model, layers, products, data, "test", 2)
    assert model.training
    assert model.get_submodule("block.0.attn") is attention
    assert attention.mix == mix
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_samples_are_spread_over_the_split():
    frames = np.concatenate([two_steps(value) for value in (1, 1, 3, 3)])
    layers, _ = two_layers()
    found = measure_model(Two(), layers, (), data_of(frames), "test", 2)
    assert found.samples == 2
    # Sample 0 has one set bit in its last pixel, sample 2 has two: the mean of 8 and 16.
    assert found.layers[0].additions == (50.0, 12.0)
    assert measure_model(Two(), layers, (), data_of(frames), "test", 9).samples == 4
    with pytest.raises(UsageError, match="at least 1"):
        measure_model(Two(), layers, (), data_of(frames), "test", 0)


class OneStepAtATime(Two):
    """The same network, its layers called once a step: what it does is the same."""

    def __init__(self):
        super().__init__()
        self.lif.step_mode = "s"

    def forward(self, frames):
        self.lif.reset()
        return sum(self.out(self.lif(self.conv(frames[:, t])).flatten(1)) for t in range(frames.shape[1]))


class SamplesFirst(Two):
    """The same network, whose layers are given (samples, steps, …)."""

    def forward(self, frames):
        functional.reset_net(self)
        currents = self.conv(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return self.out(self.lif(currents.transpose(0, 1)).transpose(0, 1).flatten(2)).mean(1)


@pytest.mark.parametrize("network", [OneStepAtATime, SamplesFirst])
def test_in_whatever_order_layers_are_called_steps_are_counted_by_step(network):
    layers, whole = two_layers()
    assert measure_model(network(), layers, (), data_of(two_steps(3)), "test", 1) == whole


class Tokens(nn.Module):
    """A linear layer on as many tokens as there are steps, (samples, tokens, features), step by step."""

    groups = ((r"^mix$", "mlp"),)

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 3, bias=False)

    def forward(self, frames):
        return sum(self.mix(frames[:, step, 0, :2]).mean(1) for step in range(frames.shape[1]))


def test_tokens_are_not_taken_for_steps():
    (layer,) = measure_model(Tokens(), layer_table(Tokens(), (2, 1, 4, 4)), (), data_of(two_steps(3)), "test", 1).layers
    assert (layer.inputs, layer.outputs, layer.nonzero) == (8, 6, (4.0, 0.0))


def test_weights_are_fetched_in_the_steps_that_a_layer_runs_in():
    model, _, _, data = firing("spikformer-cifar10dvs", {})
    name = "patch_embed.proj_conv1"
    model = factored(model, "htt", {name: 2}, switch=2)
    layers = layer_table(model, data.frames_shape)
    found = {one.name: one for one in measure_model(model, layers, (), data, "test", 1).layers}
    steps = {core: len(found[f"{name}.{core}"].nonzero) for core in ("reduce", "vertical", "horizontal", "expand")}
    assert steps == {"reduce": 4, "vertical": 2, "horizontal": 2, "expand": 4}


@pytest.mark.parametrize("layout", ["cifar10dvs", "cifar10", "imagenet"])
def test_a_packed_folder_in_whole_numbers(tmp_path, layout):
    schemes = ["uniform-4", "power-of-two-2", "float32", "uniform-2", "power-of-two-8"]
    frames = write_lively(tmp_path / "packed", schemes, layout)
    plan = Plan.read(tmp_path / "packed" / "plan.json")
    products = attention_table(plan.model.architecture, plan.model.config)
    model = load_packed(tmp_path / "packed")
    found = measure_model(model, plan.layer_table(), products, data_of(frames), "test", 2)
    assert found.arithmetic == "integer"
    assert {one.name for one in found.layers} == plan.schemes().keys()
    first = found.layers[0]
    assert first.largest == 4095  # counts above it are cut off
    # The fan-out of the head, which is no layer of torch here, is its classes.
    head = next(one for one in found.layers if one.name == "head")
    assert head.synaptic_operations == (pytest.approx(5 * head.nonzero[0]),)
    events = event_energy(plan.layer_table(), plan.schemes(), found, products, read_table())
    assert events.total.energy_pj > 0
    for one in events.layers:
        expected = one.input == "reals" or (one.scheme == "float32" and one.input != "spikes")
        assert (one.multiplications > 0) == expected
    assert all(one.multiplications == one.shifts == 0 for one in events.attentions)  # c is in the threshold
    table = read_table()
    for one, seen in product(events.neurons[:1], found.neurons[:1]):
        assert one.energy_pj == pytest.approx(seen.updates * (2 * 0.13 + 3 * 0.1))
        assert one.energy_pj == pytest.approx(seen.updates * table.neuron_pj("integer"))


def test_a_float_checkpoint_a_plan_and_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    floats = measure("digits", samples=2)
    assert floats.kind == "float"
    assert floats.simulated
    assert {one.scheme for one in floats.events.layers} == {"float32"}
    snnq.uniform_plan("uniform-2", checkpoint="digits").write("plan.json")
    plan = measure("plan.json", samples=2, cost_table="jouppi-7nm", weight_reuse="step")
    assert plan.kind == "plan"
    assert plan.activity == floats.activity
    assert (plan.events.node, plan.events.weight_reuse) == ("7 nm", "step")
    # A plan is priced with the neurons of its packed form, which counts in whole numbers.
    assert (floats.events.arithmetic, plan.events.arithmetic) == ("float", "integer")
    sparse, plain = (measure("plan.json", samples=2, cost_table=f"horowitz-45nm{end}") for end in ("-sparse", ""))
    weights = open_checkpoint("digits").state_dict
    for one, whole in zip(sparse.events.layers, plain.events.layers, strict=True):
        share = 1 - zero_shares(weights[f"{one.name}.weight"])["uniform-2"]
        assert one.accumulates == pytest.approx(share * whole.accumulates)
    capsys.readouterr()
    assert run(["cost", "measure", "digits", "--samples", "2", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["events"]["total"]["energy_pj"] == floats.events.total.energy_pj
    assert shown["activity"] == floats.activity.model_dump(mode="json")
    assert shown["products"][0]["operand_bits"] == 5
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["cost", "measure", "digits", "--samples", "2"]) == 0
    text = capsys.readouterr()
    assert "event model, per inference (T = 4) and sample" in text.out
    assert "simulated" in text.err
    assert max(map(len, text.out.splitlines())) <= 80
    with pytest.raises(UsageError, match="weight-reuse is 'never'"):
        measure("digits", samples=1, weight_reuse="never")
    with pytest.raises(UsageError, match="there is train, validation and test"):
        measure("digits", split="tests")


def test_a_plan_of_no_checkpoint_has_nothing_to_run(tmp_path):
    snnq.uniform_plan("uniform-2", architecture="spikformer-cifar10").write(tmp_path / "plan.json")
    with pytest.raises(PlanError, match="names no float checkpoint"):
        measure(tmp_path / "plan.json")


def test_json_keys_are_stable():
    layers, found = two_layers()
    events = event_energy(layers, {"conv": "float32", "out": "float32"}, found, (), read_table())
    data = json.loads(json.dumps(dataclasses.asdict(events)))
    assert set(data) == {
        "cost_table", "node", "weight_reuse", "weight_reuse_equation", "skips_zeros", "data", "split", "samples",
        "steps", "arithmetic", "layers", "neurons", "attentions", "parts", "total",
    }  # fmt: skip
    assert set(data["layers"][0]) == {
        "name", "group", "input", "scheme", "firing_rate", "firing_rates", "synaptic_operations", "accumulates",
        "multiplications", "shifts", "weight_bits_fetched", "compute_pj", "memory_pj", "energy_pj",
    }  # fmt: skip
