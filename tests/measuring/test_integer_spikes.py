"""A network of integer neurons, its operations and energies counted by hand, and by SpikingJelly in sub-steps.

It is that of ``two_layers`` with c = round(clamp(x, 0, 4)) in place of LIF, halves to even. Of the 3×3 neighbourhoods
of step 1, four hold 4 ones, four hold 2, one holds 1. Channel 1 (0.75 each) has 3, 1.5 and 0.75: 3, 2 and 1 spikes.
Channel 2 (0.5) has 2, 1 and 0.5: 2, 1 and none. Step 2, a pixel of 3 in four neighbourhoods: 2.25 and 1.5, 2 spikes.

======  =========================  ===================  ======  ========
step    channel 1                  channel 2            spikes  not zero
======  =========================  ===================  ======  ========
1       4 · 3 + 4 · 2 + 1 = 21     4 · 2 + 4 · 1 = 12   33      9 + 8
2       4 · 2 = 8                  4 · 2 = 8            16      4 + 4
======  =========================  ===================  ======  ========
"""

import pytest
import torch
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter
from two_layers import Two, data_of, two_steps

from snnq.assessing.measure import measure_model
from snnq.cost.energy import paper_costs
from snnq.cost.events import event_energy
from snnq.cost.table import read_table
from snnq.models.neurons import IntegerSpikes
from snnq.network.layers import layer_table

SCHEMES = {"conv": "uniform-4", "out": "uniform-4"}


class Integers(Two):
    def __init__(self):
        super().__init__()
        self.lif = IntegerSpikes(4)


def measured():
    model = Integers()
    layers = layer_table(model, (2, 1, 4, 4))
    return model, layers, measure_model(model, layers, (), data_of(two_steps(3)), "test", 1)


def test_events_by_hand():
    _, layers, activity = measured()
    table = read_table("horowitz-45nm")
    found = event_energy(layers, SCHEMES, activity, (), table, "inference")
    conv, out = found.layers
    assert out.input == "multispikes"
    assert (out.synaptic_operations, out.accumulates) == (3 * 25, 3 * 49)
    assert (out.multiplications, out.shifts) == (0, 0)
    # Counts: 25 positions of step 1, 4 of step 2 by both bits of 3; every sum doubled once for the second bit.
    assert (conv.accumulates, conv.shifts) == (2 * (25 + 4 * 2), 2 * 32)
    assert [one.updates for one in found.neurons] == [64]
    assert [one.firing_rate for one in found.neurons] == [25 / 64]  # neurons that put out anything
    pj = {"add": 0.1, "shift": 0.024, "bit": 20.0}  # of int32, 8 bits, DRAM
    assert table.accumulate_pj("uniform") == pytest.approx(pj["add"])
    assert out.energy_pj == pytest.approx(147 * pj["add"] + 96 * 4 * pj["bit"])
    shift = table.whole_pj("shift")
    assert conv.energy_pj == pytest.approx(66 * pj["add"] + 64 * shift + 18 * 4 * pj["bit"])
    neurons = 64 * table.neuron_pj(activity.arithmetic)
    assert found.total.energy_pj == pytest.approx(out.energy_pj + conv.energy_pj + neurons)


def test_the_papers_model_bills_every_sub_step():
    _, layers, _ = measured()
    conv, out = layers
    assert (conv.multiplications, out.multiplications) == (9 * 2 * 16, 4 * 32 * 3)  # a step; this head runs at each
    table = read_table("horowitz-45nm")
    costs = paper_costs(out, "uniform-4", table)
    assert costs["energy_pj"] == pytest.approx(4 * 96 * table.operation_pj("uniform") + 96 * 4 * 20.0)


def test_spikingjelly_counts_the_same_in_binary_sub_steps():
    model, _, _ = measured()
    seen = []
    model.lif.register_forward_hook(lambda module, given, spikes: seen.append(spikes.flatten(2).flatten(0, 1)))
    with torch.no_grad():
        model(torch.from_numpy(two_steps(3)).float())
    (spikes,) = seen
    sub_steps = torch.stack([(spikes > step).float() for step in range(4)])
    assert torch.equal(sub_steps.sum(0), spikes)
    count = SynOpCounter()
    with torch.no_grad(), DispatchCounterMode([count]):
        model.out(sub_steps.flatten(0, 1))
    assert sum(count.get_counts()["Global"].values()) == 3 * 49
