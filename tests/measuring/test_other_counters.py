"""Our synaptic operations beside those of SpikingJelly and NeuroBench, on the network that is counted by hand.

What all three agree on is what is counted: an input that is not zero and an output it reaches, the edges of an image
exactly, no biases. They differ in these:

==========================  ============================  =====================================  =======================
what                        snnq                          SpikingJelly 2.0, SynOpCounter         NeuroBench 2.3
==========================  ============================  =====================================  =======================
input that is no spike      additions by its set bits,    the whole call counts 0 (MACCounter    one MAC (not AC) for
(a count of 3)              synaptic operations as ever   counts it densely)                     every one of the call
weights that are zero       counted: they are fetched     counted                                not counted
weights that are 0 or 1     as any                        only pairs of ones are counted         as any
(Q Kᵀ) V, V's spikes        entries that are not zero     all N entries for every spike          not counted: no layer
the head's mean             a real: multiplies            0                                      MACs
==========================  ============================  =====================================  =======================

NeuroBench's numbers are golden values: ``single_layer_MACs`` of neurobench 2.3.0 (metrics/utils/layers/macs.py), which
its SynapticOperations metric sums, was run once on these very inputs; its package wants torch and tonic of other
versions. ``neurobench_macs`` is its counting, written again after that file.
"""

import pytest
import torch
from firing import MODELS, firing
from spikingjelly.activation_based.op_counter import BaseCounter, DispatchCounterMode, MACCounter, SynOpCounter
from torch import nn
from two_layers import Two, data_of, two_steps

from snnq.assessing.measure import measure_model
from snnq.network.layers import layer_table


def ours(last):
    model = Two()
    found = measure_model(model, layer_table(model, (2, 1, 4, 4)), (), data_of(two_steps(last)), "test", 1)
    return {one.name: sum(one.synaptic_operations) for one in found.layers}


def spikingjelly(model, frames, counter: type[BaseCounter] = SynOpCounter):
    count = counter()
    with torch.no_grad(), DispatchCounterMode([count]):
        model(frames)
    return {scope: sum(by_operation.values()) for scope, by_operation in count.get_counts().items()}


def neurobench_macs(layer, x):
    """Operations of one layer and whether they are of spikes: ones for all inputs and weights that are not zero."""
    same = nn.Conv2d(1, 2, 3, padding=1, bias=False) if isinstance(layer, nn.Conv2d) else nn.Linear(32, 3, bias=False)
    with torch.no_grad():
        same.weight.copy_((layer.weight != 0).float())
        return int(same((x != 0).float()).sum()), bool(((x == 0) | (x.abs() == 1)).all())


def test_with_spikingjelly_on_spikes():
    frames = torch.from_numpy(two_steps(1)).float()
    theirs = spikingjelly(Two(), frames)
    # 25 + 4 positions reached, two channels; 8 spikes to three outputs.
    assert ours(1) == {"conv": 58.0, "out": 24.0}
    assert {name: theirs[f"Two.{name}"] for name in ("conv", "out")} == ours(1)


def test_with_spikingjelly_on_counts():
    frames = torch.from_numpy(two_steps(3)).float()
    theirs = spikingjelly(Two(), frames)
    assert ours(3) == {"conv": 58.0, "out": 36.0}
    assert theirs["Two.out"] == 36
    assert theirs.get("Two.conv", 0) == 0  # because one pixel of one step holds a 3
    # Densely: 32 outputs of 9 weights at two steps.
    assert spikingjelly(Two(), frames, MACCounter)["Two.conv"] == 2 * 32 * 9


def test_with_neurobench():
    model, seen = Two(), {}
    for name in ("conv", "out"):
        model.get_submodule(name).register_forward_pre_hook(lambda _, x, *, name=name: seen.update({name: x[0]}))
    for last, golden in ((1, {"conv": (58, True), "out": (24, True)}), (3, {"conv": (58, False), "out": (36, True)})):
        with torch.no_grad():
            model(torch.from_numpy(two_steps(last)).float())
        assert {name: neurobench_macs(model.get_submodule(name), x) for name, x in seen.items()} == golden
        assert {name: float(count) for name, (count, _) in golden.items()} == ours(last)


def test_neurobench_leaves_zero_weights_out_and_we_do_not():
    layer, x = nn.Linear(32, 3), torch.ones(1, 32)
    with torch.no_grad():
        layer.weight[0, :16] = 0.0
    assert neurobench_macs(layer, x) == (80, True)
    model = Two()
    with torch.no_grad():
        model.out.weight[0, :16] = 0.0
    found = measure_model(model, layer_table(model, (2, 1, 4, 4)), (), data_of(two_steps(1)), "test", 1)
    assert sum(found.layers[1].synaptic_operations) == 24.0


@pytest.mark.parametrize(("name", "extra"), MODELS)
def test_layers_of_transformers_that_see_spikes_count_as_in_spikingjelly(name, extra):
    model, layers, products, data = firing(name, extra)
    one = data_of(data.test.frames[:1])
    found = {x.name: x for x in measure_model(model, layers, products, one, "test", 1).layers}
    theirs = spikingjelly(model, torch.from_numpy(one.test.frames).float())
    compared = 0
    for layer in layers:
        if layer.input == "spikes":
            scope = f"{type(model).__name__}.{layer.name}"
            assert theirs.get(scope, 0) == sum(found[layer.name].synaptic_operations)
            compared += 1
    assert compared >= 5


def test_inside_attention_spikingjelly_adds_zero_scores_too():
    model, layers, products, data = firing(*MODELS[0])
    one = data_of(data.test.frames[:1])
    found = measure_model(model, layers, products, one, "test", 1)
    theirs = spikingjelly(model, torch.from_numpy(one.test.frames).float())
    scope = "Spikformer.block.0.attn"
    inside = theirs[scope] - sum(count for name, count in theirs.items() if name.count(".") == 4 and scope in name)
    (mixed,) = found.attentions
    v = next(x for x in found.neurons if x.name == "block.0.attn.v_lif")
    # Q Kᵀ: pairs of spikes, as ours. (Q Kᵀ) V: all N scores for every spike of V; ours are those that are not zero.
    assert inside == sum(mixed.first) + sum(v.spikes) * products[0].tokens
    assert 0 < sum(mixed.second) <= sum(v.spikes) * products[0].tokens
