"""Sizes of a QKFormer or Max-Former, whose stages grow wider and coarser: one frozen record, checked when made."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import prod

from snnq.base.errors import UsageError
from snnq.models import sizes

QKFORMERS = (
    *("qkformer-dvs", "qkformer-cifar10", "qkformer-imagenet"),
    *("qkformer-spikingjelly", "qkformer-spikingjelly-channel"),
)
MAXFORMERS = ("maxformer-event", "maxformer-cifar10", "maxformer-imagenet", "maxformer-spikingjelly")
LAYOUTS = (*QKFORMERS, *MAXFORMERS)
HEAD_WIDTH = 64  # of the imagenet layouts: upstream has dim/64 heads

_WIDE_HEADS = ("qkformer-imagenet", "maxformer-imagenet", "maxformer-spikingjelly")

# By the data a layout is for: blocks of each stage but the last, how often each embedding halves the image, and the
# part of dim that the first convolution has channels.
_EARLY = {"event": (1,), "cifar10": (1, 1), "imagenet": (1, 2)}
_HALVINGS = {"event": (3, 1), "cifar10": (0, 1, 1), "imagenet": (2, 1, 1)}
_NARROWEST = {"event": 16, "cifar10": 8, "imagenet": 8}


@dataclass(frozen=True)
class StagedConfig(sizes.TransformerSizes):
    """Everything that fixes the structure of a ``QKFormer`` or a ``MaxFormer``.

    ``dim`` are the features of the last stage (each stage before has half as many as the next), ``depth`` the blocks
    of all stages together, ``heads`` those of every attention, or of every stage's. ``early``: the blocks of each stage
    but the last, where they are others than the layout's. Raises ``UsageError`` for sizes that no model can have.
    """

    early: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        sizes.check_sizes(self, LAYOUTS, _NARROWEST[self.data])
        early = self.blocks[:-1]
        if len(early) != len(_EARLY[self.data]):
            raise UsageError(f"early: found {early}, {self.layout} has {len(_EARLY[self.data])} stages before its last")
        for count in early:
            sizes.require_positive_int("early", count)
        if self.depth <= sum(early):
            raise UsageError(
                f"depth: found {self.depth}, {self.layout} has at least {sum(early) + 1} blocks, "
                f"{', '.join(map(str, early))} and then one or more in its {len(early) + 1} stages"
            )
        if len(self.stage_heads) != len(self.blocks):
            raise UsageError(
                f"heads: found {len(self.stage_heads)} numbers, {self.layout} has {len(self.blocks)} stages"
            )
        for width, heads in zip(self.attention_widths, self.stage_heads[-len(self.attention_widths) :], strict=True):
            if width % heads:
                raise UsageError(f"heads: found {heads}, it must divide the {width} features of an earlier stage too")
        first = self.widths[0]
        if not self.hidden(first):
            raise UsageError(f"mlp_ratio: found {self.mlp_ratio}, the first stage's {first} x mlp_ratio is below 1")

    @property
    def data(self) -> str:
        """What the layout is for: event, cifar10 or imagenet, as which SpikingJelly's own models are built."""
        data = self.layout.split("-")[1]
        return {"dvs": "event", "spikingjelly": "imagenet"}.get(data, data)

    @property
    def qkformer(self) -> bool:
        """True for a QKFormer, False for a Max-Former."""
        return self.layout in QKFORMERS

    @property
    def spikingjelly(self) -> bool:
        """True for SpikingJelly's own models: their embeddings have biases, their attention's projections none."""
        return self.layout.split("-")[1] == "spikingjelly"

    @property
    def stage_heads(self) -> tuple[int, ...]:
        """Heads of each stage."""
        return self.heads if isinstance(self.heads, tuple) else (self.heads,) * len(self.blocks)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        early = _EARLY[self.data] if self.early is None else self.early
        return (*early, self.depth - sum(early))

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of each stage, rounded down as upstream does."""
        last = len(_EARLY[self.data])
        return tuple(self.dim // 2 ** (last - stage) for stage in range(last + 1))

    @property
    def attention_widths(self) -> tuple[int, ...]:
        """Features of the stages that have attention: all of a QKFormer, the last of a Max-Former."""
        return self.widths if self.qkformer else self.widths[-1:]

    @property
    def halvings(self) -> int:
        """How often the image is halved on its way to the last stage."""
        return sum(_HALVINGS[self.data])

    @property
    def stage_tokens(self) -> tuple[int, ...]:
        """Tokens of each stage."""
        times = accumulate(_HALVINGS[self.data])
        return tuple(prod(sizes.halved(self.image_size, halvings)) for halvings in times)

    def hidden(self, width: int) -> int:
        """Features inside the MLP of a stage of ``width``: ⌊width × mlp_ratio⌋, as upstream rounds."""
        return int(round(width * self.mlp_ratio, 6))  # 259 is not to become 258.99999 and then 258

    @classmethod
    def published(cls, layout: str, **changes: object) -> StagedConfig:
        """Return the sizes published for ``layout``, with ``changes``; heads follow from dim where they do upstream."""
        if layout in _WIDE_HEADS and isinstance(dim := changes.get("dim"), int):
            changes.setdefault("heads", max(1, dim // HEAD_WIDTH))
        return super().published(layout, **changes)


# Source: the model and training files of zhouchenlin2096/QKFormer and bic-L/MaxFormer; of the models for ImageNet the
# smallest, whose other widths have heads of 64 features too. SpikingJelly's own are its ``qkformer_10_384`` and
# ``maxformer_10_384``.
StagedConfig.PUBLISHED = (
    StagedConfig("qkformer-dvs", 2, (128, 128), 256, 2, 16, 1.0, 10, 16),
    StagedConfig("qkformer-cifar10", 3, (32, 32), 384, 4, 8, 4.0, 10, 4),
    StagedConfig("qkformer-imagenet", 3, (224, 224), 384, 10, 6, 4.0, 1000, 4),
    StagedConfig("qkformer-spikingjelly", 3, (224, 224), 384, 10, 6, 4.0, 1000, 4),
    StagedConfig("qkformer-spikingjelly-channel", 3, (224, 224), 384, 10, 6, 4.0, 1000, 4),
    StagedConfig("maxformer-event", 2, (128, 128), 256, 2, 16, 1.0, 10, 16),
    StagedConfig("maxformer-cifar10", 3, (32, 32), 384, 4, 8, 4.0, 10, 4),
    StagedConfig("maxformer-imagenet", 3, (224, 224), 384, 10, 6, 4.0, 1000, 4),
    StagedConfig("maxformer-spikingjelly", 3, (224, 224), 384, 10, 6, 4.0, 1000, 4),
)
