"""Graphs that no architecture of snnq has, but a user's may: the engines agree on them, call after call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_architectures import Drawn, drawn_architecture, registered
from lively import write_lively
from test_engine import MIXED, all_agree
from torch import Tensor, nn

from snnq.base.errors import UsageError
from snnq.exporting.c_source import c_source
from snnq.models.attention import join_heads, mix_keys_first, split_heads
from snnq.models.neurons import IntegerSpikes, current, fire, halve, lif, rest
from snnq.models.spikformer.sizes import SpikformerConfig
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.operations import Rounding
from snnq.packed.arrays import open_arrays
from snnq.runtime import Engine

MOST = {"other-lif": 0, "other-counts": 3}  # the most spikes of a neuron, 0 of LIF neurons


class Other(nn.Module):
    """Max-pools before neurons, a padding, a depth-wise layer, and an attention whose values are twice as wide."""

    groups = ((r"^stem", "tokenizer"), (r"^mixer\.", "attention"), (r"^head$", "head"))

    def __init__(self, config: SpikformerConfig, most: int) -> None:
        super().__init__()
        self.config, dim = config, config.dim
        for name, taken, each in (("stem", config.in_channels, 1), ("stem2", dim, 1), ("stem3", dim, dim)):
            self.add_module(name, nn.Conv2d(taken, dim, 3, padding=1, groups=each))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(dim))
            self.add_module(f"{name}_lif", node(most))
        self.pool, self.mixer, self.head = nn.MaxPool2d(3, 2, 1), Mixer(config, most), nn.Linear(dim, config.classes)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        rest(self)
        x = frames.transpose(0, 1)
        for name in ("stem", "stem2", "stem3"):
            layer, norm, fires = (self.get_submodule(f"{name}{end}") for end in ("", "_bn", "_lif"))
            x = nn.functional.pad(x, (1, 1, 1, 1)) if name == "stem2" else x
            x = fires(halve(current(x, layer, norm), self.pool))
        x = self.mixer(x.flatten(3))
        rest(self)
        return self.head(x.mean(3).mean(0))


class Mixer(nn.Module):
    """A ``SpikingAttention``."""

    def __init__(self, config: SpikformerConfig, most: int) -> None:
        super().__init__()
        self.heads, self.scale, dim = config.heads, 0.25, config.dim
        for name, taken, given in (("q", dim, dim), ("k", dim, dim), ("v", dim, 2 * dim), ("out", 2 * dim, dim)):
            self.add_module(name, nn.Conv1d(taken, given, 1))
            self.add_module(f"{name}_bn", nn.BatchNorm1d(given))
            self.add_module(f"{name}_lif", node(most))
        self.mixed_lif = node(most, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the spikes of the attention's projection, (T, B, C, N)."""
        q, k, v = (split_heads(fire(x, *self.parts(name)), self.heads) for name in "qkv")
        return fire(self.mixed_lif(join_heads(self.mix(q, k, v))), *self.parts("out"))

    def parts(self, name: str) -> list[nn.Module]:
        """Return layer, norm and neuron."""
        return [self.get_submodule(f"{name}{end}") for end in ("", "_bn", "_lif")]

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the product."""
        return mix_keys_first(q, k, v, self.scale)


def node(most: int, threshold: float = 1.0) -> nn.Module:
    return IntegerSpikes(most) if most else lif(threshold)


def graph(config: SpikformerConfig, most: int) -> Graph:
    drawing, dim = Drawing(config.frames_shape, rounds=Rounding(most) if most else None), config.dim
    x = FRAMES
    for name in ("stem", "stem2", "stem3"):
        x = drawing.pad(x) if name == "stem2" else x
        x = drawing.layer(x, name, f"{name}_bn", dim, kernel=3, depthwise=name == "stem3")
        x = drawing.neuron(drawing.pool(x), f"{name}_lif")

    def fired(x: str, name: str, outputs: int) -> str:
        return drawing.fire(x, (f"mixer.{name}", f"mixer.{name}_bn", f"mixer.{name}_lif"), outputs)

    parts = (fired(x, name, width) for name, width in (("q", dim), ("k", dim), ("v", 2 * dim)))
    mixed = drawing.neuron(drawing.attention("mixer", parts, config.heads, 0.25), "mixer.mixed_lif", 0.5)
    return drawing.finish(drawing.mean(fired(mixed, "out", dim)), "head", config.classes)


def architecture(name: str) -> Drawn:
    most = MOST[name]
    return drawn_architecture(name, lambda it: Other(it, most), lambda it: graph(it, most))


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    with registered([architecture(name) for name in MOST]):
        yield


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", MOST)
def test_they_agree_call_after_call(name: str, threads: int, tmp_path: Path) -> None:
    frames = write_lively(tmp_path / "packed", MIXED, name, dim=72, heads=3, image_size=[21, 17])
    rates = all_agree(tmp_path / "packed", frames, threads)
    assert all(rate > 0.02 for rate in rates.values()), rates
    mine, other = Engine(tmp_path / "packed", threads), np.roll(frames, 7, -1)[::-1].copy()
    first, due = mine(frames), Engine(tmp_path / "packed", threads)(other)
    assert not np.array_equal(first, due)
    assert np.array_equal(mine(other), due)
    assert np.array_equal(mine(frames), first)
    with pytest.raises(UsageError, match="not padded as others are"):
        c_source(open_arrays(tmp_path / "packed"), "a")
