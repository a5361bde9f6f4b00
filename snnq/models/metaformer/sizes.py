"""Sizes of a Meta-SpikeFormer and its kin, four stages of which two are convolutions: one frozen record."""

from __future__ import annotations

from dataclasses import dataclass

from snnq.base.errors import UsageError
from snnq.models import sizes
from snnq.network.operations import Rounding

V2, V2_PARTS, V3, QSD = "sdt-v2-imagenet", "sdt-v2-imagenet-repconv", "sdt-v3-imagenet", "qsd-imagenet"
V3_LARGE = "sdt-v3-large-imagenet"
LAYOUTS = (V2, V2_PARTS, V3, V3_LARGE, QSD)
_HALVINGS = 4  # of the image: two on the way to the first stage, one each to the second and third
VALUES = 4  # upstream's λ: the values of sdt-v3's attention have so many times the features


@dataclass(frozen=True)
class MetaFormerConfig(sizes.TransformerSizes):
    """Everything that fixes the structure of a ``MetaFormer``.

    ``width1``, ``width2`` and ``width3`` are the features of the first three stages and ``dim`` those of the last;
    where ``dim`` alone is given, they are a quarter of it, half of it, and it. ``depth`` are the blocks of the third
    and fourth stage together; sdt-v3-large has no fourth, and ``dim`` is its ``width3``. ``substeps`` is D, the most
    spikes of a neuron in one time step (its binary sub-steps in inference); None where neurons are LIF. ``distilled``:
    upstream's file has a second head, whose mean with the first is the head here; of sdt-v3-large the second one sees
    spikes, the first one potentials. ``mixed``: sdt-v3-large of 83 million parameters has one more layer in every
    block. Raises ``UsageError`` for sizes that no model can have.
    """

    width1: int
    width2: int
    width3: int
    substeps: int | None = None
    distilled: bool | None = None
    mixed: bool | None = None

    def __post_init__(self) -> None:
        sizes.check_sizes(self, LAYOUTS)
        for name in ("width1", "width2", "width3"):
            sizes.require_positive_int(name, getattr(self, name))
        if self.width1 % 2:
            raise UsageError(f"width1: found {self.width1}, it must be even (the first convolution has half of it)")
        if isinstance(self.heads, tuple):
            raise UsageError(f"heads: found {self.heads}, every attention has as many")
        if self.width3 % self.heads:
            raise UsageError(f"width3: found {self.width3}, it must be a multiple of heads ({self.heads})")
        if self.layout == V3_LARGE and self.width3 != self.dim:
            raise UsageError(
                f"width3: found {self.width3}, of {self.layout} it is dim ({self.dim}): no stage follows it"
            )
        if self.mixed and self.layout != V3_LARGE:
            raise UsageError(f"mixed: blocks of {self.layout} have no such layer")
        if self.substeps is None and self.integer_spikes:
            raise UsageError(f"substeps: {self.layout} has integer spikes: say D, the most of them in a time step")
        if self.substeps is not None:
            sizes.require_positive_int("substeps", self.substeps)
            if not self.integer_spikes:
                raise UsageError(f"substeps: found {self.substeps}, the neurons of {self.layout} are LIF")
        for name in ("dim", "width1", "width2", "width3"):
            if not sizes.hidden(getattr(self, name) // 2, self.mlp_ratio):
                raise UsageError(f"mlp_ratio: found {self.mlp_ratio}, {name} x mlp_ratio is below 1")

    @property
    def integer_spikes(self) -> bool:
        """Whether neurons put out 0 … D spikes a step, and hold no potential from one step to the next."""
        return self.layout in (V3, V3_LARGE, QSD)

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks of the third and fourth stage: three quarters of ``depth`` and the rest, as upstream has them."""
        if self.layout == V3_LARGE:
            return self.depth, 0
        last = max(1, self.depth // 4)
        return self.depth - last, last

    @property
    def halvings(self) -> int:
        """How often the image is halved on its way to the last stage."""
        return _HALVINGS

    def hidden(self, width: int) -> int:
        """Features inside an MLP, or a block of convolutions, of ``width``."""
        return sizes.hidden(width, self.mlp_ratio)

    @classmethod
    def published(cls, layout: str, **changes: object) -> MetaFormerConfig:
        """Return the sizes published for ``layout``, with ``changes``; a ``dim`` alone gives the other widths."""
        dim = changes.get("dim")
        if isinstance(dim, int) and not {"width1", "width2", "width3"} & changes.keys():
            changes |= {"width1": max(2, dim // 4 // 2 * 2), "width2": max(1, dim // 2), "width3": dim}
        return super().published(layout, **changes)


# Source: classification/models.py of BICLab/Spike-Driven-Transformer-V2 (metaspikformer_8_384), models.py of
# -V3/SDT_V3/Classification/Model_Base (Efficient_Spiking_Transformer_s), spikformer.py of its Model_Large
# (spikformer12_768) and models.py of bollossom/QSD-Transformer (spikformer_8_384_CAFormer).
MetaFormerConfig.PUBLISHED = (
    MetaFormerConfig(V2, 3, (224, 224), 480, 8, 8, 4.0, 1000, 4, 96, 192, 384),
    MetaFormerConfig(V2_PARTS, 3, (224, 224), 480, 8, 8, 4.0, 1000, 4, 96, 192, 384),
    MetaFormerConfig(V3, 3, (224, 224), 192, 8, 8, 4.0, 1000, 1, 32, 64, 128, substeps=4),
    MetaFormerConfig(V3_LARGE, 3, (224, 224), 768, 12, 8, 4.0, 1000, 1, 196, 384, 768, substeps=4),
    MetaFormerConfig(QSD, 3, (224, 224), 480, 8, 8, 4.0, 1000, 1, 96, 192, 384, substeps=4),
)


def rounding(config: MetaFormerConfig) -> Rounding | None:
    """Return what a layout's integer neurons do; None where they are LIF."""
    if config.substeps is None:
        return None
    # QSD rounds D·x; it and sdt-v3-large round halves upwards.
    gain = float(config.substeps) if config.layout == QSD else 1.0
    return Rounding(config.substeps, gain, config.layout in (QSD, V3_LARGE))


def attention_scale(config: MetaFormerConfig, width: int) -> float:
    """Return what multiplies the products of spikes, 0 … D each, in an attention of ``width`` features."""
    assert isinstance(config.heads, int)
    upstreams = {V3: 2.0 * (width // config.heads) ** -0.5, QSD: 0.25}.get(config.layout, 0.125)
    return upstreams / (config.substeps or 1) ** 3
