"""What every neuron of SpikingJelly puts out, found by its class and by what is seen, and what that costs."""

from __future__ import annotations

import neuron_networks
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from snnq.assessing.measure import measure_model
from snnq.base.errors import UsageError
from snnq.cost.events import event_energy
from snnq.cost.table import read_table
from snnq.data.dataset import DataSet, Frames
from snnq.models.neurons import IntegerSpikes
from snnq.network.layers import layer_table
from snnq.network.neurons import CLASSES, neuron_classes, stream_of

SHAPE = (3, 2, 8, 8)
# These need a population, an encoder's noise, a table of their own, or online learning's loop over steps; their kind
# is that of their source.
NOT_BUILT = {
    *("ILCIFNode", "ILCLIFNode", "ILCCUBALIFNode", "NoisyCUBALIFNode", "NoisyILCCUBALIFNode", "NoisyNonSpikingIFNode"),
    *("FewSpikeNode", "HGNode", "OutlierAwareThresholdNode", "OTTTLIFNode", "SLTTLIFNode"),
}
# They put out whatever the user's part of them does.
OPEN = ("FlexSN", "LIAFNode")
# Bases of the others, which compute nothing themselves.
ABSTRACT = (
    *("BaseNode", "AdaptBaseNode", "SimpleBaseNode", "MPBNBaseNode", "ILCBaseNode", "NonSpikingBaseNode"),
    *("NoisyBaseNode", "NoisyILCBaseNode", "NoisyNonSpikingBaseNode"),
)
EVERY = [(name, kind) for kind, names in CLASSES.items() for name in names if name not in NOT_BUILT]


class Called(nn.Module):
    """A network of steps first, called as ours are: samples first, at rest."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.layer_groups = {"network.0": "tokenizer", "network.3": "tokenizer", "network.8": "head"}

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        functional.reset_net(self.network)
        return self.network(frames.transpose(0, 1)).mean(0)


def network(kind: str, **given) -> Called:
    torch.manual_seed(0)
    return Called(neuron_networks.build(kind, **given)).eval()


def test_every_class_of_the_installed_library_is_decided() -> None:
    decided = {*(name for names in CLASSES.values() for name in names), *OPEN, *ABSTRACT}
    assert decided == {one.__name__ for one in neuron_classes()}


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_a_class_puts_out_what_the_table_says(name: str, kind: str) -> None:
    node = neuron_networks.make(name, 6).eval()
    currents = torch.randn(3, 2, 6, 4, 4, generator=torch.Generator().manual_seed(0)) * 4
    with torch.no_grad():
        found = node(currents)
    seen = stream_of(found)
    if kind == "reals":
        assert len(found.unique()) > 2 or float(found.max()) not in (0.0, 1.0)
    else:
        assert seen == kind
        assert bool((found != 0).any())


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_a_layer_is_given_what_its_neurons_put_out(name: str, kind: str) -> None:
    layers = layer_table(network(name), SHAPE)
    assert [one.input for one in layers] == ["counts", kind, "reals"]


def test_what_is_seen_counts_beside_the_class() -> None:
    assert layer_table(network("LIFNode", soft=True), SHAPE)[1].input == "reals"
    assert layer_table(network("Squashed"), SHAPE)[1].input == "spikes"


def test_sums_of_neurons_outputs_are_integers() -> None:
    class Residual(nn.Module):
        groups = ((".", "mlp"),)

        def __init__(self, kind: str) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.a, self.b = neuron_networks.make(kind), neuron_networks.make(kind)

        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            functional.reset_net(self)
            x = self.a(self.one(frames.transpose(0, 1).flatten(2)))
            return self.three(x + self.b(self.two(x)))

    for kind, alone in (("LIFNode", "spikes"), ("TernaryLIFNode", "ternary"), ("ILIFNode", "multispikes")):
        found = layer_table(Residual(kind), (3, 2, 2, 2))
        assert [one.input for one in found] == ["counts", alone, "integers"]


def test_a_neuron_that_cannot_be_told_is_refused_by_path_and_class() -> None:
    class Dead(neuron.LIFNode):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    model = network("LIFNode")
    model.network.register_module("2", Dead(step_mode="m"))
    with pytest.raises(UsageError, match=r"neurons 'network.2' are Dead, whose output is not known"):
        layer_table(model, SHAPE)


class Wire(nn.Module):
    """Frames go to the neurons as they are, and their outputs to one linear layer, so that events can be counted."""

    groups = (("out", "mlp"), ("head", "head"))

    def __init__(self, node: nn.Module) -> None:
        super().__init__()
        self.first, self.node = nn.Linear(4, 4, bias=False), node
        self.out, self.head = nn.Linear(4, 5, bias=False), nn.Linear(5, 2)
        self.groups = (("first", "tokenizer"), *self.groups)
        self.first.weight.data.copy_(torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0])))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        functional.reset_net(self)
        return self.head(self.out(self.node(self.first(frames.transpose(0, 1).flatten(2)))).mean(0))


def events_of(node: nn.Module, frames: list[list[int]], scheme: str = "uniform-4"):
    model = Wire(node).eval()
    shape = (len(frames), 1, 2, 2)
    split = Frames(np.array(frames, np.uint8).reshape(1, *shape), np.zeros(1, np.int64))
    data = DataSet("by hand", "0" * 64, ("a", "b"), False, split, split, split)
    layers = layer_table(model, shape)
    activity = measure_model(model, layers, (), data, "test", 1)
    found = event_energy(layers, dict.fromkeys((one.name for one in layers), scheme), activity, (), read_table())
    return {one.name: one for one in found.layers}["out"], found.neurons[0]


FRAMES = [[3, 2, 0, 9], [1, 0, 0, 0]]


@pytest.mark.parametrize("scheme", ["uniform-4", "float32"])
def test_an_integer_spike_is_as_many_binary_ones(scheme: str) -> None:
    # h = v/4 + x, D = 4: step 1 puts out 3, 0 (−2 is below zero), 0 and 4 (of 9; 5 is left, and −2). Step 2 has
    # h = 1, −0.5, 0 and 1.25: 1, 0, 0, 1. Spikes: 7 + 2, to five outputs each.
    out, node = events_of(neuron.ILIFNode(step_mode="m"), FRAMES, scheme)
    assert out.input == "multispikes"
    assert out.synaptic_operations == (2 + 2) * 5
    assert (out.accumulates, out.multiplications, out.shifts) == ((7 + 2) * 5, 0, 0)
    assert out.compute_pj == pytest.approx(45 * read_table().accumulate_pj(scheme.partition("-")[0]))
    assert (node.spikes, node.updates, node.unpriced) == (4, 8, None)
    assert node.firing_rate == 0.5


def test_integer_spikes_without_a_potential_are_counted_and_billed_by_hand() -> None:
    # D = 4: 3, 0, 0 and 4 (of 9), then 1, 0, 0, 0. The layer behind them has 4·5 weights, and runs in 4 sub-steps.
    out, node = events_of(IntegerSpikes(4), FRAMES)
    assert (out.input, out.synaptic_operations) == ("multispikes", (2 + 1) * 5)
    assert (out.accumulates, out.multiplications, out.shifts) == ((7 + 1) * 5, 0, 0)
    assert (node.spikes, node.updates, node.unpriced) == (3, 8, None)
    for neurons, times in (
        (IntegerSpikes(4), 4),
        (neuron.ILIFNode(step_mode="m"), 4),
        (neuron.IFNode(step_mode="m"), 1),
    ):
        table = {one.name: one for one in layer_table(Wire(neurons), (2, 1, 2, 2))}
        assert (table["out"].multiplications, table["out"].macs) == (4 * 5 * times, 4 * 5)
        assert table["first"].multiplications == 4 * 4


def test_a_negative_spike_is_a_subtraction() -> None:
    # Currents 3, −2, 0 and 9 at a threshold of 1 (no leak): 1, −1, 0, 1; all are reset to 0. Then 1, 0, 0, 0: one.
    out, node = events_of(neuron.TernaryIFNode(step_mode="m"), FRAMES)
    assert out.input == "ternary"
    assert (out.synaptic_operations, out.accumulates) == (4 * 5, 4 * 5)
    assert (out.multiplications, out.shifts, node.spikes) == (0, 0, 4)


def test_a_real_output_is_multiplied() -> None:
    # A soft threshold never gives exactly zero: four values at two steps go to five outputs each.
    out, _ = events_of(neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False), step_mode="m"), FRAMES)
    assert (out.input, out.accumulates, out.multiplications) == ("reals", 0, 40)


def test_updates_without_a_price_are_named() -> None:
    out, node = events_of(neuron.PSN(2), FRAMES)
    assert (out.input, out.multiplications, node.unpriced, node.energy_pj) == ("spikes", 0, "PSN", 0.0)


def test_binary_spikes_are_priced_as_ever() -> None:
    # IF at 1 with reset to 0: 1, 0, 0, 1, then 1, 0, 0, 0.
    out, node = events_of(neuron.IFNode(step_mode="m"), FRAMES)
    assert (out.input, out.accumulates, out.multiplications) == ("spikes", 15, 0)
    assert node.energy_pj == pytest.approx(8 * read_table().neuron_pj("float"))


def test_an_old_plan_that_calls_them_spikes_is_priced_by_what_is_seen() -> None:
    model = Wire(neuron.ILIFNode(step_mode="m")).eval()
    split = Frames(np.array(FRAMES, np.uint8).reshape(1, 2, 1, 2, 2), np.zeros(1, np.int64))
    data = DataSet("by hand", "0" * 64, ("a", "b"), False, split, split, split)
    layers = [type(one)(**{**vars(one), "input": "spikes"}) for one in layer_table(model, (2, 1, 2, 2))]
    found = measure_model(model, layers, (), data, "test", 1)
    assert sum({one.name: one for one in found.layers}["out"].additions) == 45
