"""Sizes of a Spikformer: one frozen record, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.models import sizes

LAYOUTS = ("cifar10dvs", "cifar10", "imagenet", "spikingjelly")


@dataclass(frozen=True)
class SpikformerConfig(sizes.TransformerSizes):
    """Everything that fixes the structure of a ``Spikformer``.

    ``pooling`` says which of the four tokenizer convolutions is followed by a halving max-pool. ``chunk``: its
    attention mixes so many steps at once (``snnq graft``); None is upstream's own, step by step. Raises ``UsageError``
    for sizes that no model can have.
    """

    heads: int
    attention_scale: float
    pooling: tuple[bool, bool, bool, bool]
    chunk: int | None = None

    def __post_init__(self) -> None:
        sizes.check_sizes(self, LAYOUTS)
        sizes.check_pooling(self.pooling)
        sizes.check_positive("attention_scale", self.attention_scale)
        if self.chunk is not None:
            sizes.check_chunk(self.chunk, self.steps)

    @property
    def hidden(self) -> int:
        """Features inside the MLP: dim × mlp_ratio."""
        return sizes.hidden(self.dim, self.mlp_ratio)


_ALL, _LAST_TWO = (True, True, True, True), (False, False, True, True)
# Source: Zhou et al. 2023, code of ZK-Zhou/spikformer; ``spikformer_cifar10`` of SpikingJelly 2.
SpikformerConfig.PUBLISHED = (
    SpikformerConfig("cifar10dvs", 2, (128, 128), 256, 2, 16, 4.0, 10, 16, 0.25, _ALL),
    SpikformerConfig("cifar10", 3, (32, 32), 384, 4, 12, 4.0, 10, 4, 0.125, _LAST_TWO),
    SpikformerConfig("imagenet", 3, (224, 224), 512, 8, 8, 4.0, 1000, 4, 0.125, _ALL),
    SpikformerConfig("spikingjelly", 3, (32, 32), 384, 4, 12, 4.0, 10, 4, 0.125, _LAST_TWO),
)
