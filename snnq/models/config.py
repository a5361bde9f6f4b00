"""Sizes of a Spikformer: one frozen record, checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from snnq.errors import UsageError, nearest

LAYOUTS = ("cifar10dvs", "cifar10", "imagenet")


@dataclass(frozen=True)
class SpikformerConfig:
    """Everything that fixes the structure of a ``Spikformer``.

    ``layout`` says which upstream code is reproduced, ``image_size`` is (height, width) in pixels, ``steps`` the
    number of time steps T, and ``pooling`` which of the four tokenizer convolutions is followed by a halving
    max-pool. Raises ``UsageError`` for sizes that no model can have.
    """

    layout: str
    in_channels: int
    image_size: tuple[int, int]
    dim: int
    depth: int
    heads: int
    mlp_ratio: float
    classes: int
    steps: int
    attention_scale: float
    pooling: tuple[bool, bool, bool, bool]

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UsageError(
                f"layout: found '{self.layout}', allowed are {', '.join(LAYOUTS)}{nearest(self.layout, LAYOUTS)}"
            )
        for name in ("in_channels", "dim", "depth", "heads", "classes", "steps"):
            _require_positive_int(name, getattr(self, name))
        if len(self.image_size) != 2:
            raise UsageError(f"image_size: found {self.image_size}, it must be two numbers, height and width in pixels")
        for side in self.image_size:
            _require_positive_int("image_size", side)
        if len(self.pooling) != 4 or not all(isinstance(pool, bool) for pool in self.pooling):
            raise UsageError(
                f"pooling: found {self.pooling}, it must be four booleans, one for each tokenizer convolution"
            )
        if self.dim < 8:
            raise UsageError(f"dim: found {self.dim}, it must be at least 8 (the first convolution has dim/8 channels)")
        if self.dim % self.heads:
            raise UsageError(f"dim: found {self.dim}, it must be a multiple of heads ({self.heads})")
        if not self.mlp_ratio > 0 or self.hidden < 1:
            raise UsageError(f"mlp_ratio: found {self.mlp_ratio}, dim x mlp_ratio must be at least 1")
        if not self.attention_scale > 0:
            raise UsageError(f"attention_scale: found {self.attention_scale}, it must be greater than 0")

    @property
    def hidden(self) -> int:
        """Features inside the MLP: dim × mlp_ratio."""
        return round(self.dim * self.mlp_ratio)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens: each pooling (kernel 3, stride 2, padding 1) halves a side, rounding up."""
        height, width = self.image_size
        for _ in range(sum(self.pooling)):
            height, width = -(-height // 2), -(-width // 2)
        return height, width

    @property
    def tokens(self) -> int:
        """Tokens the encoder blocks see: rows × columns of ``grid``."""
        return self.grid[0] * self.grid[1]

    @property
    def frames_shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of one sample."""
        return (self.steps, self.in_channels, *self.image_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values (tuples become lists)."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SpikformerConfig:
        """Return the config ``values`` describes; a field left out takes its layout's published size.

        Raises ``UsageError`` for an unknown field, a missing or unknown layout, or a size no model can have.
        """
        names = [field.name for field in fields(cls)]
        for key in values:
            if key not in names:
                raise UsageError(
                    f"model config: unknown key '{key}'{nearest(key, names)}; allowed are {', '.join(names)}"
                )
        changes = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return published(str(changes.pop("layout", "")), **changes)


def _require_positive_int(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name}: found {value!r}, it must be a whole number of at least 1")


_ALL, _LAST_TWO = (True, True, True, True), (False, False, True, True)
_PUBLISHED = {
    config.layout: config
    for config in (
        SpikformerConfig("cifar10dvs", 2, (128, 128), 256, 2, 16, 4.0, 10, 16, 0.25, _ALL),
        SpikformerConfig("cifar10", 3, (32, 32), 384, 4, 12, 4.0, 10, 4, 0.125, _LAST_TWO),
        SpikformerConfig("imagenet", 3, (224, 224), 512, 8, 8, 4.0, 1000, 4, 0.125, _ALL),
    )
}


def published(layout: str, **changes: Any) -> SpikformerConfig:
    """Return the sizes published for ``layout`` (Zhou et al. 2023, code of ZK-Zhou/spikformer), with ``changes``."""
    if layout not in _PUBLISHED:
        raise UsageError(f"layout: found '{layout}', allowed are {', '.join(LAYOUTS)}{nearest(layout, LAYOUTS)}")
    return replace(_PUBLISHED[layout], **changes)
