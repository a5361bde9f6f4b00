"""The sizes of every ReSpike model, and of the models it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from snnq.base.errors import UsageError
from snnq.models.sizes import TransformerSizes, check_sizes, halved, require_positive_int

LAYOUTS = ("respike-cross", "respike-pooled", "respike-concat", "respike-key", "respike-residual", "respike-dense")
# Blocks of the four stages of a ResNet by its number of layers. 10 is one block a stage, for small images.
RESNETS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
# Of the spiking ResNet's neurons, upstream's.
TAU = 1 / (1 - 0.25)
BOTTLENECK = 50  # from here on blocks have three convolutions and four times the features


@dataclass(frozen=True)
class ReSpikeSizes(TransformerSizes):
    """The sizes of a model for clips of ``steps`` frames.

    ``key_stride`` S: each segment of S frames begins with a key frame; it divides ``steps``, and is None where there
    are no segments (``respike-dense``). ``dim`` is the width of the spiking ResNet's last stage, whose stages have
    dim/8, dim/4, dim/2 and dim channels in ``blocks`` blocks each; ``depth`` the layers of the key frames' ResNet,
    whose first stage has ``ann_width`` channels; ``heads`` those of the cross-attention behind the last stage, whose
    heads are dim/heads wide behind all stages; ``mlp_ratio`` is that of the MLP behind it.
    """

    PUBLISHED: ClassVar[tuple[ReSpikeSizes, ...]]

    key_stride: int | None = 4
    ann_width: int = 64
    blocks: int = 2

    def __post_init__(self) -> None:
        check_sizes(self, LAYOUTS)
        for name in ("ann_width", "blocks"):
            require_positive_int(name, getattr(self, name))
        if self.depth not in RESNETS:
            allowed = ", ".join(map(str, RESNETS))
            raise UsageError(f"depth: found {self.depth}, it is the layers of the key frames' ResNet: {allowed}")
        if self.dim % 8:
            raise UsageError(f"dim: found {self.dim}, it must be a multiple of 8 (the first stage has dim/8 channels)")
        if not isinstance(self.heads, int):
            raise UsageError(f"heads: found {self.heads}, it must be one number")
        if self.layout == "respike-pooled" and any(side % 16 for side in self.image_size):
            raise UsageError(f"image_size: found {self.image_size}, respike-pooled takes multiples of 16 pixels")
        self._check_stride()

    def _check_stride(self) -> None:
        stride = self.key_stride
        if not self.segmented:
            if stride is not None:
                raise UsageError(f"key_stride: found {stride}, {self.layout} has no key frames")
            return
        least = 1 if self.layout == "respike-key" else 2
        if not isinstance(stride, int) or isinstance(stride, bool) or stride < least or self.steps % stride:
            fitting = [str(one) for one in range(least, min(self.steps, 10_000) + 1) if self.steps % one == 0]
            raise UsageError(
                f"key_stride: found {stride}, it must divide the {self.steps} frames evenly: {', '.join(fitting)}"
            )

    @property
    def segmented(self) -> bool:
        """Whether frames are told apart into key frames and residual ones."""
        return self.layout != "respike-dense"

    @property
    def segments(self) -> int:
        """Segments of a clip; all of it is one where there are no key frames."""
        return self.steps // (self.key_stride or self.steps)

    @property
    def spiking_steps(self) -> int:
        """Time steps of the spiking ResNet in each segment: the residual frames, or all frames."""
        if self.layout == "respike-key":
            return 0
        return self.steps if self.key_stride is None else self.key_stride - 1

    @property
    def runs(self) -> int:
        """How often the spiking ResNet runs for one clip: its time steps in all segments."""
        return self.segments * self.spiking_steps

    @property
    def has_ann(self) -> bool:
        """Whether key frames go through a ResNet."""
        return self.layout not in ("respike-residual", "respike-dense")

    @property
    def fused(self) -> tuple[int, ...]:
        """The stages behind which cross-attention stands, counted from 1."""
        return {"respike-cross": (2, 3, 4), "respike-pooled": (1, 2, 3, 4)}.get(self.layout, ())

    def width(self, stage: int) -> int:
        """Return the channels of a stage of the spiking ResNet, counted from 1."""
        return self.dim * 2**stage // 16

    def head_width(self, stage: int) -> int:
        """Return the features of a head of the cross-attention behind a stage: dim/heads, or as many as there are."""
        assert isinstance(self.heads, int)
        return min(self.dim // self.heads, self.width(stage))

    def context(self, stage: int) -> int:
        """Return the channels of a stage of the key frames' ResNet."""
        return self.ann_width * 2 ** (stage - 1) * (4 if self.depth >= BOTTLENECK else 1)

    @property
    def features(self) -> int:
        """What the head is given."""
        return (self.context(4) if self.has_ann else 0) + (self.dim if self.spiking_steps else 0)

    def pooled(self, stage: int) -> int:
        """Return how much a stage is pooled before its cross-attention: 4 and 2 in ``respike-pooled``, else 1."""
        return {1: 4, 2: 2}.get(stage, 1) if self.layout == "respike-pooled" else 1

    def grid_of(self, stage: int) -> tuple[int, int]:
        """Return (rows, columns) of tokens that the cross-attention of a stage sees."""
        height, width = halved(self.image_size, stage + 1)
        return height // self.pooled(stage), width // self.pooled(stage)


def _published(layout: str) -> ReSpikeSizes:
    stride = None if layout == "respike-dense" else 4
    return ReSpikeSizes(layout, 3, (224, 224), 512, 18, 16, 4.0, 51, 16, stride)


ReSpikeSizes.PUBLISHED = tuple(map(_published, LAYOUTS))
