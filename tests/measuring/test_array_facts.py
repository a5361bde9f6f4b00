"""What layers can be given, found without data: the largest whole numbers, any below zero, and how often they run."""

from __future__ import annotations

import pytest
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from snnq.assessing.arrays import array_facts
from snnq.base.errors import UsageError
from snnq.hardware.crossbars.mapped import at_steps, map_model
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


class Encoded(nn.Module):
    """An encoder that fires once a sample, whose spikes are held for all steps, or for ``steps`` of its own."""

    groups = ((r"^head$", "head"), (r"", "mlp"))

    def __init__(self, steps: int | None = None) -> None:
        super().__init__()
        self.still, self.moving = (nn.Conv2d(2, 2, 3, padding=1, bias=False) for _ in range(2))
        self.encodes, self.fires = neuron.IFNode(step_mode="s"), neuron.IFNode(step_mode="m")
        self.each, self.head, self.steps = nn.Linear(2, 2), nn.Linear(2, 3), steps

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, 3) of frames (B, T, 2, H, W)."""
        functional.reset_net(self)
        spikes = self.encodes(self.still(frames[:, 0]))
        held = spikes.expand(self.steps or frames.shape[1], *spikes.shape)
        fired = self.fires(self.moving(held.flatten(0, 1)).unflatten(0, held.shape[:2]))
        return self.head(self.each(fired.amax((3, 4))).mean(0))


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_at_other_steps_what_runs_once_a_sample_runs_once(steps):
    """The facts scaled to other steps are those of the model that is run for so many."""
    model, found = Encoded(), {}
    for t in (steps, 8):
        layers = layer_table(model, (t, *SHAPE[1:]))
        found[t] = array_facts(model, layers, (), (t, *SHAPE[1:]))
    facts = found[steps]
    assert {one.name: (one.vectors, one.once) for one in facts.layers} == {
        "still": (36, 36),
        "moving": (steps * 36, 0),
        "each": (steps, 0),
        "head": (1, 1),
    }
    assert {one.name: (one.neurons, one.updates, one.once) for one in facts.neurons} == {
        "encodes": (72, 72, 72),
        "fires": (72, steps * 72, 0),
    }
    assert at_steps(facts, 8) == found[8]
    schemes = {one.name: "binary" for one in layers}
    due = map_model(at_steps(facts, 8), layers, schemes)
    # Six by six windows of counts in eight bits, once; of spikes at every step; the linear layer's single vector.
    assert [one.counts.vectors for one in due.layers] == [36 * 8, 36 * 8, 8]
    assert [(one.operand.positions, one.operand.steps) for one in due.layers] == [(36, 1), (36, 8), (1, 8)]
    assert due.neurons == 144


def test_a_model_that_runs_for_its_own_steps_alone_cannot_be_scaled():
    model = Encoded(steps=4)
    layers = layer_table(model, (4, *SHAPE[1:]))
    facts = array_facts(model, layers, (), (4, *SHAPE[1:]))
    assert not facts.scales
    assert at_steps(facts, 4) == facts
    with pytest.raises(UsageError, match="it was counted at 4 alone"):
        at_steps(facts, 8)
    old = {name: one for name, one in facts.model_dump().items() if name != "layers"}
    bounds = [{"name": one.name, "largest": one.largest} for one in facts.layers]  # as files of early versions have it
    again = type(facts).model_validate(old | {"layers": bounds})
    schemes = {one.name: "binary" for one in layers}
    due = {one.operand.name: one.counts for one in map_model(facts, layers, schemes).layers}
    assert {one.operand.name: one.counts for one in map_model(again, layers, schemes).layers} == due
    with pytest.raises(UsageError, match="counted at 4 alone"):
        at_steps(again, 8)
