"""Sizes of a Spikingformer: one frozen record, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.models import sizes

LAYOUTS = ("spikingformer-dvs", "spikingformer-cifar10", "spikingformer-imagenet")


@dataclass(frozen=True)
class SpikingformerConfig(sizes.TransformerSizes):
    """Everything that fixes the structure of a ``Spikingformer``.

    ``pooling`` says which of the first four tokenizer convolutions is halved. Raises ``UsageError`` for sizes that no
    model can have.
    """

    heads: int
    pooling: tuple[bool, bool, bool, bool]

    def __post_init__(self) -> None:
        sizes.check_sizes(self, LAYOUTS)
        sizes.check_pooling(self.pooling)

    @property
    def tau(self) -> float:
        """The neurons' time constant in steps: upstream's code for event data has another."""
        return 1.5 if self.layout == "spikingformer-dvs" else 2.0

    @property
    def hidden(self) -> int:
        """Features inside the MLP: dim × mlp_ratio."""
        return sizes.hidden(self.dim, self.mlp_ratio)


_ALL, _LAST_TWO = (True, True, True, True), (False, False, True, True)
# Source: code of zhouchenlin2096/Spikingformer.
SpikingformerConfig.PUBLISHED = (
    SpikingformerConfig("spikingformer-dvs", 2, (128, 128), 256, 2, 16, 4.0, 10, 16, _ALL),
    SpikingformerConfig("spikingformer-cifar10", 3, (32, 32), 384, 4, 12, 4.0, 10, 4, _LAST_TWO),
    SpikingformerConfig("spikingformer-imagenet", 3, (224, 224), 512, 8, 8, 4.0, 1000, 4, _ALL),
)
