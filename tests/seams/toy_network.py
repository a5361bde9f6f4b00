"""A small spiking network that snnq does not know, and the record that hands it over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from snnq.models import sizes
from snnq.models.architecture import Architecture
from snnq.models.attention import join_heads, mix_keys_first, split_heads
from snnq.models.neurons import current, fire, halve, lif, rest
from snnq.network.drawing import FRAMES, Drawing
from snnq.network.graph import Graph
from snnq.network.products import Products

PLAIN, OWN = "toy-plain", "toy-own"
OWN_REASON = "its attention sums nothing, and the integer engine multiplies matrices"


@dataclass(frozen=True)
class ToySizes:
    """Sizes of a toy: both layouts have the same."""

    layout: str = PLAIN
    in_channels: int = 2
    image_size: tuple[int, int] = (8, 8)
    dim: int = 16
    heads: int = 2
    classes: int = 3
    steps: int = 2

    @property
    def tokens(self) -> int:
        height, width = sizes.halved(self.image_size, 1)
        return height * width

    @property
    def frames_shape(self) -> tuple[int, int, int, int]:
        return (self.steps, self.in_channels, *self.image_size)

    def to_dict(self) -> dict[str, Any]:
        return sizes.to_json(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ToySizes:
        return sizes.from_json(cls, lambda layout, **changes: cls(layout, **changes), values)


class Mixer(nn.Module):
    """A ``SpikingAttention``: Spikformer's, or its own without sums over tokens."""

    def __init__(self, config: ToySizes) -> None:
        super().__init__()
        self.heads, self.scale, self.own = config.heads, 0.25, config.layout == OWN
        for name in ("q", "k", "v", "out"):
            self.add_module(name, nn.Conv1d(config.dim, config.dim, 1))
            self.add_module(f"{name}_bn", nn.BatchNorm1d(config.dim))
            self.add_module(f"{name}_lif", lif())
        self.mixed_lif = lif(threshold=0.5)

    def parts(self, name: str) -> list[nn.Module]:
        return [self.get_submodule(f"{name}{end}") for end in ("", "_bn", "_lif")]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(fire(x, *self.parts(name)), self.heads) for name in "qkv")
        return fire(self.mixed_lif(join_heads(self.mix(q, k, v))), *self.parts("out"))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return q * (k + v) * 0.5 if self.own else mix_keys_first(q, k, v, self.scale)


class Toy(nn.Module):
    """Convolution, pooling, attention and a layer, with spikes between and sums of spikes as residuals."""

    groups = ((r"^stem$", "tokenizer"), (r"^mixer\.", "attention"), (r"^tail", "mlp"), (r"^readout$", "head"))

    def __init__(self, config: ToySizes) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.stem, self.stem_bn, self.stem_lif = nn.Conv2d(2, dim, 3, padding=1), nn.BatchNorm2d(dim), lif()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.mixer = Mixer(config)
        self.tail, self.tail_bn, self.tail_lif = nn.Conv1d(dim, 2 * dim, 1), nn.BatchNorm1d(2 * dim), lif()
        self.tail2, self.tail2_bn, self.tail2_lif = nn.Conv1d(2 * dim, dim, 1), nn.BatchNorm1d(dim), lif()
        self.readout = nn.Linear(dim, config.classes)

    def forward(self, frames: Tensor) -> Tensor:
        rest(self)
        spikes = self.stem_lif(current(frames.transpose(0, 1), self.stem, self.stem_bn))
        x = halve(spikes, self.pool).flatten(3)
        x = x + self.mixer(x)
        hidden = fire(x, self.tail, self.tail_bn, self.tail_lif)
        x = x + fire(hidden, self.tail2, self.tail2_bn, self.tail2_lif)
        rest(self)
        return self.readout(x.mean(3).mean(0))


def graph(config: ToySizes) -> Graph | str:
    """The operations of ``Toy.forward``, or why they are not known."""
    if config.layout == OWN:
        return OWN_REASON
    drawing, dim = Drawing(config.frames_shape), config.dim

    def fire(x: str, layer: str, outputs: int, kernel: int = 1) -> str:
        return drawing.fire(x, (layer, f"{layer}_bn", f"{layer}_lif"), outputs, kernel=kernel)

    x = drawing.pool(fire(FRAMES, "stem", dim, 3))
    mixed = drawing.attention("mixer", (fire(x, f"mixer.{name}", dim) for name in "qkv"), config.heads, 0.25)
    x = drawing.add(x, fire(drawing.neuron(mixed, "mixer.mixed_lif", 0.5), "mixer.out", dim), "mixer")
    x = drawing.add(x, fire(fire(x, "tail", 2 * dim), "tail2", dim), "tail+")
    return drawing.finish(drawing.mean(x), "readout", config.classes)


def products(config: ToySizes) -> tuple[Products, ...]:
    """What the plain attention multiplies; the other one's order is none of those known."""
    if config.layout == OWN:
        return ()
    width = config.dim // config.heads
    return (Products("mixer", "keys", config.heads, config.tokens, width, config.steps, scale=0.25, scaled="end"),)


ROWS = tuple(Architecture(name, name, ToySizes.from_dict, Toy, graph, products) for name in (PLAIN, OWN))
