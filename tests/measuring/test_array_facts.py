"""What layers can be given, found without data: the largest whole numbers, and whether any are below zero."""

from __future__ import annotations

import pytest
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from snnq.assessing.arrays import array_facts
from snnq.hardware.crossbars.mapped import map_model
from snnq.network.layers import layer_table

SHAPE = (2, 2, 6, 6)


class Joined(nn.Module):
    """Neurons behind two convolutions; the third is given the first's spikes and ``sign`` times the second's."""

    groups = ((r"^head$", "head"), (r"", "mlp"))

    def __init__(self, kind: type[nn.Module], sign: int) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(2, 2, 3, padding=1, bias=False) for _ in range(3))
        self.fires, self.also, self.ends = (kind(step_mode="m") for _ in range(3))
        self.head, self.sign = nn.Linear(2, 3), sign

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, 3) of frames (B, T, 2, H, W)."""
        functional.reset_net(self)
        x = frames.transpose(0, 1)
        first = self.fires(self.one(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
        second = self.also(self.two(first.flatten(0, 1)).unflatten(0, x.shape[:2]))
        joined = self.ends(self.three((first + self.sign * second).flatten(0, 1)).unflatten(0, x.shape[:2]))
        return self.head(joined.mean((0, 3, 4)))


@pytest.mark.parametrize(
    ("kind", "sign", "alone", "joined"),
    [
        (neuron.LIFNode, 1, (1, False), (2, False)),
        (neuron.LIFNode, -1, (1, False), (1, True)),  # a difference of spikes
        (neuron.TernaryLIFNode, 1, (1, True), (2, True)),
        (neuron.TernaryLIFNode, -1, (1, True), (2, True)),
    ],
)
def test_largest_inputs_and_those_below_zero(kind, sign, alone, joined):
    model = Joined(kind, sign)
    layers = layer_table(model, SHAPE)
    facts = array_facts(model, layers, (), SHAPE)
    found = {one.name: (one.largest, one.signed) for one in facts.layers}
    assert (found["two"], found["three"]) == (alone, joined)
    operands = {
        one.operand.name: one.operand for one in map_model(facts, layers, dict.fromkeys(found, "binary")).layers
    }
    # A plane for each bit, and as many again for what is below zero.
    assert operands["three"].planes == joined[0].bit_length() * (2 if joined[1] else 1)
    assert (operands["one"].positions, operands["one"].steps) == (36, 2)
    assert {one.name: one.neurons for one in facts.neurons} == dict.fromkeys(("fires", "also", "ends"), 72)
