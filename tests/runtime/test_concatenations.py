"""Streams side by side: spikes, sums of them, potentials, and potentials beside spikes before the head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from c_programs import c_agrees, have_gcc
from drawn_architectures import Drawn, drawn_architecture, registered
from lively import write_lively
from test_engine import MIXED, all_agree
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.models.neurons import IntegerSpikes, current, fire, lif, rest
from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.network.combining import Concat
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.operations import Neuron, Rounding
from snnq.network.streams import Stream
from snnq.network.wiring import FloatWiring, Wiring, wire

MOST = {"beside-lif": 0, "beside-counts": 3}  # the most spikes of a neuron, 0 of LIF neurons
SIDE = 40  # of a branch: no whole words of 64
# Each layer's input and outputs, where they are not dim.
WIDTHS = {"left": (0, SIDE), "right": (0, SIDE), "wide": (SIDE, 0), "thin": (0, SIDE), "last": (2 * SIDE, 0)}
LAYERS = ("stem", *WIDTHS, "out")


class Beside(nn.Module):
    """Layers that are 3×3 convolutions with norms; every kind of concatenation is read by what may read it."""

    groups = ((r"^(?!head)", "tokenizer"), (r"^head$", "head"))

    def __init__(self, config: SpikformerConfig, most: int) -> None:
        super().__init__()
        self.config, dim = config, config.dim
        for name in LAYERS:
            more, outputs = WIDTHS.get(name, (0, 0))
            taken = config.in_channels if name == "stem" else dim + more
            self.add_module(name, nn.Conv2d(taken, outputs or dim, 3, padding=1, bias=False))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(outputs or dim))
        for name in ("stem", "left", "right", "both", "last", "read"):
            self.add_module(f"{name}_lif", IntegerSpikes(most) if most else lif())
        self.head = nn.Linear(2 * dim, config.classes)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        rest(self)
        stem = self.fired(frames.transpose(0, 1), "stem")
        left, right = self.fired(stem, "left"), self.fired(stem, "right")
        both = torch.cat([self.kept(torch.cat([stem, left + right], 2), "wide"), self.kept(stem, "thin")], 2)
        last = self.fired(torch.cat([self.get_submodule("both_lif")(both), left], 2), "last")
        read = self.kept(last, "out").mean((3, 4))
        seen = torch.cat([read, self.get_submodule("read_lif")(read)], 2)
        rest(self)
        return self.head(seen.mean(0))

    def kept(self, x: Tensor, name: str) -> Tensor:
        return current(x, self.get_submodule(name), self.get_submodule(f"{name}_bn"))

    def fired(self, x: Tensor, name: str) -> Tensor:
        return fire(x, *(self.get_submodule(f"{name}{end}") for end in ("", "_bn", "_lif")))


def drawn(config: SpikformerConfig, most: int) -> Graph:
    drawing, dim = Drawing(config.frames_shape, rounds=Rounding(most) if most else None), config.dim

    def kept(x: str, name: str) -> str:
        return drawing.layer(x, name, f"{name}_bn", WIDTHS.get(name, (0, 0))[1] or dim, kernel=3)

    def fired(x: str, name: str) -> str:
        return drawing.neuron(kept(x, name), f"{name}_lif")

    stem = fired(FRAMES, "stem")
    left, right = fired(stem, "left"), fired(stem, "right")
    sums = drawing.concat(stem, drawing.add(left, right, "left + right"), "sums")
    both = drawing.neuron(drawing.concat(kept(sums, "wide"), kept(stem, "thin"), "both"), "both_lif")
    read = drawing.mean(kept(fired(drawing.concat(both, left, "spikes"), "last"), "out"))
    return drawing.finish(drawing.concat(read, drawing.neuron(read, "read_lif"), "both reads"), "head", config.classes)


def architecture(name: str) -> Drawn:
    most = MOST[name]
    return drawn_architecture(name, lambda it: Beside(it, most), lambda it: drawn(it, most))


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with registered([architecture(name) for name in MOST]):
        yield


@pytest.mark.parametrize("name", MOST)
def test_all_four_agree(name: str, tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", MIXED, name, dim=72, heads=3, steps=3, image_size=[9, 7])
    rates = all_agree(tmp_path / "packed", frames, threads=2)
    assert all(rate > 0.02 for rate in rates.values()), rates
    assert not np.array_equal(frames[0], frames[1])
    if have_gcc():
        c_agrees(tmp_path / "packed", tmp_path / "c", frames, "-fsanitize=address,undefined")


def _graph() -> Graph:
    found = architecture("beside-lif").graph_of(SpikformerConfig.published("cifar10dvs"))
    assert isinstance(found, Graph)
    return found


def test_what_each_carries() -> None:
    graph, most = _graph(), _graph().streams
    assert {name: (most[name].kind, most[name].bound) for name in ("sums", "both", "spikes", "both reads")} == {
        "sums": ("integers", 2),
        "both": ("reals", None),
        "spikes": ("spikes", 1),
        "both reads": ("reals", None),
    }
    assert most["both reads"].parts == graph.frames.pixels
    wiring = wire(graph)
    assert isinstance(wiring, Wiring)
    assert wiring.chains["both reads"] == wiring.chains["out_bn"]
    assert wiring.chains["wide_bn"] == wiring.chains["thin_bn"] == wiring.chains["both"]


def test_potentials_beside_spikes_are_the_heads_alone() -> None:
    graph = _graph()
    *before, head = graph.operations
    more = Neuron("more", ("both reads",), "more")
    found = wire(replace(graph, operations=(*before, more, replace(head, takes=("more",)))))
    assert isinstance(found, FloatWiring)
    assert found.reason == "'both reads' has potentials and spikes side by side, and not a head alone reads it"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Stream("spikes", 4, (2, 2)), "'a' and 'b', which are concatenated, differ in size"),
        (Stream("counts", 4, (1, 1), 4095), "takes spikes, sums of them or reals, but 'b' has others"),
        (Stream("integers", 4, (1, 1), 9, unit=0.25), "takes spikes, sums of them or reals, but 'b' has others"),
        (Stream("reals", 4, (1, 1), None, parts=3), "'a' and 'b', which are concatenated, are other means"),
    ],
)
def test_what_cannot_stand_side_by_side_is_named(other: Stream, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Concat(("a", "b"), "c").carries({"a": Stream("reals", 4, (1, 1), None), "b": other})
