"""What is recorded for machines is what the model was given: the adds of a dense machine are the watched additions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from firing import MODELS, firing
from plane_factors import plane_factors
from torch import nn

from snnq.assessing.recording import PADDED, REALS, recording, value_bits
from snnq.assessing.watching import watching
from snnq.hardware.dataflows import count
from snnq.hardware.machine import read_machine
from snnq.network.layers import Layer


def adds(machine, calls):
    """The weights that a machine adds if none is zero."""
    return sum(
        count(machine, one.of_group(group), np.ones_like(mask)).accumulates
        for one in calls
        for group, mask in enumerate(one.mask)
    )


@pytest.mark.parametrize(
    ("name", "extra"), MODELS, ids=[f"{name}{'-chunk' * ('chunk' in more)}" for name, more in MODELS]
)
def test_model_counts_are_the_watched_ones(name, extra):
    model, layers, products, data = firing(name, extra)
    machine, schemes = read_machine("sparten"), {layer.name: "uniform-4" for layer in layers}
    frames = data.validation.__getitems__([0])[0]
    with (
        torch.no_grad(),
        watching(model, layers, products, 4) as watch,
        recording(model, layers, schemes, 4) as record,
    ):
        model(frames)
        watch.close()
    seen = {one.name: one for one in watch.layer_activities()}
    assert {*record.operands, *record.outside} == {*seen}
    assert set(record.outside.values()) <= {REALS}
    kinds = {layer.name: layer.input for layer in layers}
    assert all(seen[layer].reals or kinds[layer] == "reals" for layer in record.outside)
    for layer, calls in record.operands.items():
        assert adds(machine, calls) == sum(seen[layer].additions)
        assert calls[0].value_bits == 4
    fired = sum(int(np.count_nonzero(one)) for some in record.outputs.values() for one in some)
    assert fired == sum(sum(one.spikes) for one in watch.neuron_activities())


class Odd(nn.Module):
    """Convolutions of every kind, on frames (T, C, H, W)."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding="valid", groups=2, bias=False)
        self.same = nn.Conv2d(2, 4, 4, padding="same", dilation=2, bias=False)
        self.line = nn.Conv1d(2, 3, 3, padding=1, stride=2, bias=False)
        self.point = nn.Conv1d(2, 3, 1, bias=False)
        self.round = nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular", bias=False)
        self.row = nn.Linear(5, 3, bias=False)

    def forward(self, frames):
        return [
            self.wide(frames),
            self.same(frames),
            self.line(frames.flatten(2)),
            self.point(frames.flatten(2)),
            self.round(frames),
            self.row(frames),
        ]


# All three steps at once, one after the other, and three images of which none belongs to a step of two.
@pytest.mark.parametrize(("steps", "single"), [(3, False), (3, True), (2, False)])
def test_products_of_windows_are_the_layers_outputs(steps, single):
    model = Odd()
    frames = torch.from_numpy(np.random.default_rng(0).integers(-2, 6, (3, 2, 6, 5)).astype(np.float32))
    layers = [Layer(name, "mlp", "", (1,), 1, 1, "integers") for name, _ in model.named_children()]
    with (
        torch.no_grad(),
        recording(model, layers, dict.fromkeys(dict(model.named_children()), "ternary"), steps) as record,
    ):
        outputs = [model(frames[step : step + 1]) for step in range(3)] if single else [model(frames)]
    made = {name: torch.cat(parts) for name, *parts in zip(dict(model.named_children()), *outputs, strict=True)}
    assert record.outside == {"round": PADDED}
    for name, calls in record.operands.items():
        images = []
        for one in calls:
            factors = plane_factors(frames.numpy() if len(calls) == 1 else frames[len(images)].numpy())
            groups = []
            for group, weights in enumerate(one.weights):
                planes = one.of_group(group).astype(np.float64)
                groups.append(np.einsum("p,ptmk,kn->tmn", factors, planes, weights))
            images.append(np.concatenate(groups, -1))
        due = made[name].numpy()
        flat = due.reshape(3, -1, 3) if name == "row" else due.reshape(3, due.shape[1], -1).swapaxes(1, 2)
        found = np.concatenate(images)
        assert np.allclose(found.reshape(flat.shape), flat, atol=1e-4)


def test_bits_of_a_stored_weight():
    found = {name: value_bits(name) for name in ("float32", "ternary", "binary", "uniform-4", "power-of-two-2")}
    assert found == {"float32": 32, "ternary": 2, "binary": 1, "uniform-4": 4, "power-of-two-2": 2}
    assert value_bits("uniform-4@0.95") == 4
